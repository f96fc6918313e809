"""The file names tensors whose values it does not hold in full.

What
    A tensor was saved on the meta device, or is sparse, so that no run of bytes in the file is its
    values.

Why
    Names and shapes are all there, and so every comparison of names and shapes passes; there is
    nothing to load, or nothing that a dense parameter takes.

Example
    fc.weight has no values in candidate.pth

Fix
    Save the state dict from a model whose weights are in memory and dense.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("tensor-without-values", Level.ERROR, tuple(Intent))


def check(case: Case) -> Iterator[Finding]:
    if case.b is None or case.b.manifest.container == "onnx":
        return
    if names := [t.name for t in case.b.tensors if not t.has_values]:
        verb = "has" if len(names) == 1 else "have"
        yield finding(
            RULE,
            f"{listed(names)} {verb} no dense values in the file",
            place=case.b.manifest.path,
            hint="save the state dict from a model whose weights are in memory",
            facts={"tensors": names},
        )
