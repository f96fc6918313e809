"""The candidate is slower than the budget allows.

What
    The ratio of the candidate's median latency to the baseline's, with its whole 95 % interval,
    lies above the policy's `latency-ratio`; or that of their 99th percentiles above its
    `p99-ratio`.

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
from interop.rules._shared import judged

RULE = Rule("latency-regressed", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    for name, budget, what in (
        ("latency ratio", "latency-ratio", "latency"),
        ("p99 ratio", "p99-ratio", "99th percentile of latency"),
    ):
        for m, ratio, allowed in judged(case, name, budget):
            if m.interval is None and budget == "p99-ratio":
                continue  # too few runs: evidence-weak says so
            low, high = m.interval or (ratio, ratio)
            if low > allowed:
                yield finding(
                    RULE,
                    f"batch {m.conditions.get('batch')}: {ratio:.2f} times the baseline's {what} "
                    f"({low:.2f} to {high:.2f}), {allowed:g} allowed",
                    facts={"ratio": ratio, "interval": [low, high], "allowed": allowed},
                )
