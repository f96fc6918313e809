"""The same labels stand in another order.

What
    A and B name the same classes, but an output means another class in B. Where no file names its
    labels, the rows of the two heads may give it away: that is a suspicion, and said to be one.

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

from interop.facts import Answer, Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("label-order-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.labels.names, case.b.labels.names
    if old is None or new is None:
        yield from _suspected(case)
        return
    if old == new or sorted(old) != sorted(new):
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


def _suspected(case: Case) -> Iterator[Finding]:
    """Rows of B's head that are like other rows of A's: evidence, no proof."""
    rows = case.pairing.rows if case.pairing is not None else None
    if rows is None or not rows.moved:
        return
    shown = ", ".join(f"A's {i} is B's {rows.order[i]}" for i in rows.moved[:3])
    more = ", …" if len(rows.moved) > 3 else ""
    yield finding(
        RULE,
        f"suspected: {len(rows.moved)} of {len(rows.order)} rows of the head have changed places "
        f"({shown}{more}); mean cosine {rows.matched:.2f} so, {rows.in_place:.2f} in place",
        hint="name the labels of both with --labels, or permute the head's rows",
        facts={"order": list(rows.order), "moved": list(rows.moved)},
        answer=Answer.UNKNOWN,
    )
