"""The candidate answers fewer samples a second than the budget allows.

What
    The ratio of the candidate's throughput to the baseline's, with its whole interval, lies below
    the policy's `throughput-ratio`.

Why
    Offline work that took a night takes two.

Example
    batch 32: 0.61 times the baseline's throughput (0.58 to 0.64), at least 0.9 asked for

Fix
    A smaller backbone, another execution provider, or a larger batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import judged

RULE = Rule("throughput-regressed", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    for m, ratio, wanted in judged(case, "throughput ratio", "throughput-ratio"):
        low, high = m.interval or (ratio, ratio)
        if high < wanted:
            yield finding(
                RULE,
                f"batch {m.conditions.get('batch')}: {ratio:.2f} times the baseline's throughput "
                f"({low:.2f} to {high:.2f}), at least {wanted:g} asked for",
                facts={"ratio": ratio, "interval": [low, high], "wanted": wanted},
            )
