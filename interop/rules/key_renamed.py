"""B holds A's backbone under other names, or in another layout.

What
    Each weight of A's backbone can be made of B's, and none of B's is left over: names differ by a
    prefix or a known rename, or layers pair by their structure (shapes, roles, definition order).

Why
    Weights of one architecture from two libraries can be carried across. A map by structure alone
    is a guess, if a good one: two layers of one shape may be exchanged, an epsilon or an activation
    may differ. Until both models have answered the same on the same input, it is unproved.

Example
    all 150 backbone tensors pair by structure; unproved: interop port b.pth --like a.pth --prove

Fix
    `interop port B --like A --prove -o OUT` proves the map and writes B's weights under A's names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import command

RULE = Rule("key-renamed", Level.NOTE, (Intent.TRANSFER,), needs=("pair",), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.pairing is not None
    mapped, basis = case.pairing.mapped, case.pairing.basis
    if not mapped:
        return
    backbone = case.a.tensors if case.a.backbone is None else case.a.backbone
    whole = sum(not t.is_counter for t in backbone)
    steps = Counter(m.step for m in mapped)
    what = f"all {whole} backbone tensors pair by {' and '.join(steps)}"
    yield finding(
        RULE,
        f"{what}; {basis}" if basis else f"{what}; unproved: {command(case, '--prove')}",
        facts={"tensors": whole, "steps": dict(steps), "basis": basis},
        breaks=() if basis else RULE.breaks,
    )
