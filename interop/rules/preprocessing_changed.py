"""B's inputs are prepared in another way than A's.

What
    Size, crop, colour, interpolation, mean or standard deviation differ.

Why
    Where the service prepares the input as A wants it, B is fed something that it was not trained
    on: it answers, a few points worse.

Example
    mean (0.485, 0.456, 0.406) -> (0.5, 0.5, 0.5)

Fix
    Deploy B with its own preprocessing, or train it with A's.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("preprocessing-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.preprocessing, case.b.preprocessing
    if old is None or new is None or old == new:
        return
    fields = ("color", "resize", "crop", "interpolation", "mean", "std")
    differ = [f for f in fields if getattr(old, f) != getattr(new, f)]
    yield finding(
        RULE,
        ", ".join(f"{f} {getattr(old, f)} -> {getattr(new, f)}" for f in differ),
        facts={f: [getattr(old, f), getattr(new, f)] for f in differ},
    )
