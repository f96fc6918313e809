"""B has tensors that A does not.

What
    After wrapper prefixes are taken off, names of B have no counterpart in A.

Why
    `load_state_dict(strict=True)` refuses B; `strict=False` drops what A's code has no place for.

Example
    fc.3.weight of B is not in A.

Fix
    Load B with the code that it was trained with, or remove what is not the model's (a loss with
    weights, a teacher) before saving.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed
from interop.rules._shared import port

RULE = Rule("key-unexpected", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.pairing is not None
    # A counter that A's file lacks has its place in A's module all the same.
    if names := [t.name for t in case.pairing.extra if not t.is_counter]:
        # Where A's tensors are missing too, that finding has the hint.
        alone = all(t.is_counter for t in case.pairing.missing)
        yield finding(
            RULE,
            f"{len(names)} of B's tensors are not in A: {listed(names)}",
            hint=port(case) if alone else "",
            facts={"tensors": names},
        )
