"""The head's tensors have other shapes in B.

What
    The last layer takes or gives another number of features than A's.

Why
    A's code builds a head of A's size; strict loading refuses B, and so does `strict=False`.

Example
    fc.weight (10, 512) -> (7, 512), fc.bias (10,) -> (7,)

Fix
    Build the model with B's number of classes.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("head-width-changed", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.pairing is not None
    head = set(case.a.head.tensors) if case.a.head else set()
    changed = [p for p in case.pairing.reshaped if p.a.name in head - case.pairing.resized]
    if changed:
        yield finding(
            RULE,
            listed([f"{p.a.name} {p.a.shape} -> {p.b.shape}" for p in changed]),
            hint="build the model with B's number of classes",
            facts={"tensors": [[p.a.name, list(p.a.shape), list(p.b.shape)] for p in changed]},
        )
