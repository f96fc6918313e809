"""An axis that was asked for is not open at every size.

What
    `--input` names an axis, or the model has one, and the exported graph is the model at some sizes
    of it alone: a range, a multiple, never equal to another axis, or one size.

Why
    ONNX writes an axis down as open or as a number, and nothing between. A graph that is right at
    224 and wrong at 96 loads and runs at both.

Example
    height: restricted: 20 or more (20 to 65 tried)

Fix
    Feed the sizes that the bundle states. To have more, write the branch on the size with
    operators, or export once for each range.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import AxisDomain, AxisState, Case, Finding, Level, Rule
from interop.rules import finding

RULE = Rule("axis-restricted", Level.WARN, (), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    for proof in case.proofs:
        asked = proof.facts.get("asked", ())
        seen: set[str] = set()
        for stated in proof.facts.get("domain", ()):
            axis = AxisDomain.from_json(stated)
            if axis.name not in asked or axis.name in seen or axis.state is AxisState.OPEN:
                continue
            seen.add(axis.name)
            what = f"{axis.name}: {axis.words()}{f'; {axis.why}' if axis.why else ''}"
            facts = {"axis": axis.name, "state": str(axis.state)}
            yield finding(RULE, what, place=axis.input, facts=facts)
