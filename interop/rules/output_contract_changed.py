"""The graph gives other outputs.

What
    Two ONNX graphs differ in the names, types or shapes of their outputs.

Why
    A caller of ONNX Runtime passes arrays by name and of a type: one that changed is an error in
    production, not in a test.

Example
    image float32 (batch, 3, 224, 224) -> pixel_values float32 (1, 3, 224, 224)

Fix
    Export with the names and axes of the model that is served.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import contract

RULE = Rule("output-contract-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    yield from contract(RULE, case, "outputs")
