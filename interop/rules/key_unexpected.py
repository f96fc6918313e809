"""B has tensors that A does not.

What
    After wrapper prefixes are taken off, names of B have no counterpart in A. Keys that hold no
    tensor ("epoch") and the count of an averaged model ("n_averaged") are such names too.

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
from interop.rules._shared import mend, port

RULE = Rule("key-unexpected", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.pairing is not None
    names, keys = case.pairing.unexpected, case.pairing.refused
    if not names:
        return
    if len(names) > len(keys):
        what = f"{len(names) - len(keys)} of B's tensors are not in A: {listed(names)}"
    else:
        what = f"B's state dict has keys that A's has not: {listed(names)}"
    # Where A's tensors are missing too, that finding has the hint.
    hint = "" if case.pairing.lacking else mend(case) or port(case)
    yield finding(RULE, what, hint=hint, facts={"tensors": names})
