"""The candidate gets too many samples wrong that the baseline gets right.

What
    The share of samples that were right and are wrong now lies above the policy's
    `negative-flips`, in percent.

Why
    Two models of equal accuracy can fail on different inputs. Users notice what used to work.

Example
    4.1 % of the samples, 2 allowed

Fix
    Look at the flipped samples in the HTML report of `bench`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("negative-flips", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    allowed = case.budgets.get("negative-flips")
    for m in case.measurements:
        if m.name != "negative flips" or m.conditions.get("between") != "models":
            continue
        if m.value is None or allowed is None:
            continue
        if 100 * m.value > allowed:
            yield finding(
                RULE,
                f"{100 * m.value:.2f} % of the samples were right and are wrong now, "
                f"{allowed:g} allowed",
                facts={"percent": 100 * m.value, "allowed": allowed},
            )
