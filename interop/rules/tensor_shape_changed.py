"""A tensor outside the head has another shape in B.

What
    The name is in both files, its shape differs, and it does not belong to the head.

Why
    The module that A's code builds has no room for it; torch refuses it even with `strict=False`.

Example
    conv1.weight (64, 3, 7, 7) -> (64, 1, 7, 7): B takes grey pictures.

Fix
    Build B with A's configuration, or serve it with its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("tensor-shape-changed", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.pairing is not None
    head = set(case.a.head.tensors) if case.a.head else set()
    allowed = head | case.pairing.resized
    if changed := [p for p in case.pairing.reshaped if p.a.name not in allowed]:
        yield finding(
            RULE,
            f"{len(changed)} changed: "
            + listed([f"{p.a.name} {p.a.shape} -> {p.b.shape}" for p in changed], 2),
            facts={"tensors": [[p.a.name, list(p.a.shape), list(p.b.shape)] for p in changed]},
        )
