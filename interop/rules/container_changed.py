"""B is stored in another file format than A.

What
    One is a zip checkpoint, the other a legacy one, safetensors or ONNX.

Why
    The weights may be the same; the call that loads them is not.

Example
    A is read by torch.load, B by safetensors.

Fix
    Nothing, where the loading code knows both; else save B in A's format.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding

RULE = Rule("container-changed", Level.NOTE, (), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.manifest.container, case.b.manifest.container
    if old != new:
        yield finding(RULE, f"{old} became {new}", facts={"a": old, "b": new})
