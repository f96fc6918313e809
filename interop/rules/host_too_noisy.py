"""The machine could not tell the two apart.

What
    In the same run, one runtime measured against itself differed by more than the difference that
    was to be judged.

Why
    A ratio that changes from run to run decides nothing.

Example
    batch 1: PyTorch against itself 0.81 to 1.14

Fix
    Close other work, pin the clock, measure longer.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule(
    "host-too-noisy", Level.WARN, (Intent.REPLACE,), needs=("measurements",), answer=Answer.UNKNOWN
)


def check(case: Case) -> Iterator[Finding]:
    # How much a comparison must be able to tell: bench's own bound, or the policy's budget.
    limit = case.budgets.get("noise", case.budgets.get("latency-ratio"))
    for m in case.measurements:
        if m.name != "latency noise" or m.interval is None:
            continue
        low, high = m.interval
        if limit is not None and max(high, 1 / max(low, 1e-9)) > max(limit, 1.0):
            yield finding(
                RULE,
                f"batch {m.conditions.get('batch')}: the same runtime against itself "
                f"{low:.2f} to {high:.2f}",
                facts={"interval": [low, high]},
            )
