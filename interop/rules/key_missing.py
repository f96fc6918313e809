"""B lacks tensors that A has.

What
    After wrapper prefixes are taken off, names of A have no counterpart in B.

Why
    `load_state_dict(strict=True)` refuses B. `strict=False` accepts it and leaves what is missing
    at its random start, without a word.

Example
    layer4.1.conv2.weight of A is not in B.

Fix
    Save B's whole state dict; or, if the architectures differ on purpose, ask for another intent.
    Where only the names differ, the finding's hint is the command that changes them. What torch
    fills itself counts as there: the counters of batch normalisation in a file that states no
    version of it, the names of the old weight norm in the parametrised one.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed
from interop.rules._shared import port, under_prefix

RULE = Rule("key-missing", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.b is not None and case.pairing is not None
    if not (names := case.pairing.lacking):
        return
    # torch fills in counters only for a file that states no version, or one below 2.
    versions = case.b.state.versions if case.b.state is not None else {}
    counters = all(n.endswith("num_batches_tracked") for n in names)
    because = "; B's _metadata states a version of batch normalisation that keeps them"
    yield finding(
        RULE,
        f"{len(names)} of A's tensors are not in B: {listed(names)}"
        + because * bool(counters and versions),
        hint=port(case) or under_prefix(case),
        facts={"tensors": names},
    )
