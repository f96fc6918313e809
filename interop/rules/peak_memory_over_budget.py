"""The candidate's process takes more memory than the budget allows.

What
    At its peak a process that runs the candidate alone held more megabytes than the policy's
    `peak-memory-mb`, in one of the runtimes that were measured.

Why
    A container with less memory than that is killed, under load first.

Example
    B onnxruntime: 912 MB at its peak, 512 allowed

Fix
    A smaller backbone or input, a narrower type, or bench with the runtime that is deployed alone
    (`--runtime`).
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("peak-memory-over-budget", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    allowed = case.budgets.get("peak-memory-mb")
    for m in case.measurements:
        if m.name != "peak memory" or m.value is None or allowed is None:
            continue
        if m.conditions.get("model") == "B" and m.value > allowed * 1e6:
            yield finding(
                RULE,
                f"{m.conditions.get('of')}: {m.value / 1e6:.0f} MB at its peak, "
                f"{allowed:g} allowed",
                facts={"bytes": m.value, "allowed": allowed * 1e6},
            )
