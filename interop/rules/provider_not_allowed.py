"""A node ran on an execution provider that the policy does not allow.

What
    The bench report names an execution provider that took some or all of the candidate's graph and
    is not among the policy's `evidence.providers`.

Why
    Where nodes fall back to another provider, the figures are not those of the one that is
    deployed.

Example
    CPUExecutionProvider took 3 nodes, Resize_12 for one; allowed: CUDAExecutionProvider

Fix
    Measure with the provider that is deployed, or add the other to `evidence.providers` knowingly.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("provider-not-allowed", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    for m in case.measurements:
        if m.name == "providers not allowed" and m.value:
            how = m.conditions
            yield finding(
                RULE,
                f"{'; '.join(how.get('took', ()))}; allowed: {', '.join(how.get('allowed', ()))}",
                facts={"took": how.get("took"), "allowed": how.get("allowed")},
            )
