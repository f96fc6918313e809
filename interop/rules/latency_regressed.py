"""The candidate is slower than the budget allows.

What
    The ratio of the candidate's median latency to the baseline's, with its whole 95 % interval,
    lies above the policy's `latency-ratio`.

Why
    A model that is a point better and twice as slow may need twice the machines.

Example
    batch 1: 1.8 times the baseline's latency (1.7 to 1.9), 1.2 allowed

Fix
    A smaller backbone, or another execution provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("latency-regressed", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    allowed = case.budgets.get("latency-ratio")
    for m in case.measurements:
        if m.name != "latency ratio" or m.conditions.get("between") != "models":
            continue
        if m.value is None or allowed is None:
            continue
        low, high = m.interval or (m.value, m.value)
        if low > allowed:
            yield finding(
                RULE,
                f"batch {m.conditions.get('batch')}: {m.value:.2f} times the baseline's latency "
                f"({low:.2f} to {high:.2f}), {allowed:g} allowed",
                facts={"ratio": m.value, "interval": [low, high], "allowed": allowed},
            )
