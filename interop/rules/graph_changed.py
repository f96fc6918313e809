"""The graph computes something else with its weights.

What
    Two ONNX graphs hold weights of the same names and shapes, and their operators, attributes,
    small constants or wiring differ on the way from the inputs to the outputs. What that does to
    the answers no file says, so the answer is unknown.

Why
    The weights are half of a model. A division by 255 that was put in front, a Gelu for a Relu, a
    softmax over another axis or outputs in another order leave every weight as it was.

Example
    B's graph differs: Relu 12 -> 0, Gelu 0 -> 12

Fix
    Export both with the same version of the same exporter and the same options. Where they are
    meant to differ, compare their answers on real inputs and waive this finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Graph, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("graph-changed", Level.WARN, (Intent.REPLACE,), needs=("pair",), answer=Answer.UNKNOWN)
_SHOWN = 4


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None and case.pairing is not None
    a, b = case.a.manifest.graph, case.b.manifest.graph
    if a is None or b is None or not a.computation or a.computation == b.computation:
        return
    p = case.pairing
    if not all(t.is_small for t in [*p.missing, *p.extra, *(pair.a for pair in p.reshaped)]):
        return  # other weights: another graph is no news
    if any(pair.a.dtype != pair.b.dtype for pair in p.matched):
        return
    changes = _changes(a, b)
    hint = "compare the outputs on real inputs: the weights do not show what this changes"
    what = f"B's graph differs: {', '.join(changes)}"
    yield finding(RULE, what, hint=hint, facts={"operators": changes})


def _changes(a: Graph, b: Graph) -> list[str]:
    """ "Relu 12 -> 0" """
    names = sorted({*a.operators, *b.operators} - {"Constant"})
    counts = [(n, a.operators.get(n, 0), b.operators.get(n, 0)) for n in names]
    if not (changes := [f"{n} {old} -> {new}" for n, old, new in counts if old != new]):
        return ["attributes, constants or wiring"]
    more = [f"{len(changes) - _SHOWN} more operators"] if len(changes) > _SHOWN else []
    return changes[:_SHOWN] + more
