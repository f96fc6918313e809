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
    Where only the names differ, the finding's hint is the command that changes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed
from interop.rules._shared import port

RULE = Rule("key-missing", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.pairing is not None
    # torch fills in the counters that files from before version 2 of batch normalisation lack.
    if names := [t.name for t in case.pairing.missing if not t.is_counter]:
        yield finding(
            RULE,
            f"{len(names)} of A's tensors are not in B: {listed(names)}",
            hint=port(case),
            facts={"tensors": names},
        )
