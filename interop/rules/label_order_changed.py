"""The same labels stand in another order.

What
    A and B name the same classes, but an output means another class in B.

Why
    Shapes, dtypes and accuracy measured by name are all as before, and every caller that reads
    the answer by its index is wrong. Class folders sorted by name are the usual cause.

Example
    output 0 was "zero" and is "eight"

Fix
    Permute the head's rows back, or train with A's order of classes.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("label-order-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.labels.names, case.b.labels.names
    if old is None or new is None or old == new or sorted(old) != sorted(new):
        return
    moved = [i for i in range(len(old)) if old[i] != new[i]]
    first = moved[0]
    yield finding(
        RULE,
        f"{len(moved)} of {len(old)} outputs mean another class: "
        f"output {first} was {old[first]!r}, is {new[first]!r}",
        hint="permute the head's rows, or train with A's order of classes",
        facts={"a": list(old), "b": list(new), "moved": moved},
    )
