"""Every weight of B is A's, bit by bit.

What
    All of B's tensors hold the very values of A's; only counters may differ.

Why
    A fine-tuning that changed nothing did not train: a frozen optimizer, a saved start instead of
    the best epoch, or the wrong file. Deploying it changes nothing either.

Example
    all 102 tensors are the same as in base.pth.

Fix
    Give the checkpoint that was saved after training. Where the two are meant to be equal, this is
    the proof.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding

RULE = Rule("weights-unchanged-from-base", Level.WARN, (), needs=("pair", "values"))


def check(case: Case) -> Iterator[Finding]:
    pairing = case.pairing
    assert case.a is not None and pairing is not None
    weights = [p for p in pairing.matched if not p.a.is_counter]
    alone = [t for t in (*pairing.missing, *pairing.extra) if not t.is_counter]
    same = [p for p in weights if p.difference is not None and p.difference.equal]
    if weights and len(same) == len(weights) and not alone and not pairing.reshaped:
        name = case.a.manifest.path.rpartition("/")[2]
        # In another container or wrapper they were converted, and are meant to be the same.
        sides = [(i.manifest.container, i.place) for i in (case.a, case.b) if i is not None]
        yield finding(
            RULE,
            f"all {len(same)} tensors are the same as in {name}, bit by bit",
            hint="give the checkpoint that was saved after training, if there was any",
            level=Level.WARN if sides[0] == sides[1] else Level.NOTE,
        )
