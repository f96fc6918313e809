"""The candidate's file is larger than the budget allows.

What
    Its weights take more megabytes than the policy's `size-mb`.

Why
    Devices and images have room for so much.

Example
    97.8 MB, 50 allowed

Fix
    A smaller backbone, or a narrower type.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("size-over-budget", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    allowed = case.budgets.get("size-mb")
    for m in case.measurements:
        if m.name != "file size" or m.value is None or allowed is None:
            continue
        if m.value > allowed * 1e6:
            what = f"{m.value / 1e6:.1f} MB, {allowed:g} allowed"
            yield finding(RULE, what, facts={"bytes": m.value, "allowed": allowed * 1e6})
