"""The graph is of an ONNX opset that the policy does not allow.

What
    The opset of the candidate's graph, or of the one that it was exported to, lies outside of the
    policy's `opset-min` and `opset-max`.

Why
    A runtime refuses a graph of an opset that is newer than itself.

Example
    opset 20, at most 17 allowed

Fix
    Export again for the opset that is asked for, or raise the budget with the runtime.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("opset-unsupported", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    low, high = case.budgets.get("opset-min"), case.budgets.get("opset-max")
    for m in case.measurements:
        if m.name != "opset" or m.value is None:
            continue
        if low is not None and m.value < low:
            bound = f"at least {low:g} asked for"
        elif high is not None and m.value > high:
            bound = f"at most {high:g} allowed"
        else:
            continue
        facts = {"opset": m.value, "min": low, "max": high}
        yield finding(RULE, f"opset {m.value:g}, {bound}", facts=facts)
