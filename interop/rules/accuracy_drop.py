"""The candidate is less accurate than the budget allows.

What
    On the same samples the candidate's accuracy lies further below the baseline's than the policy's
    `accuracy-drop`, in percentage points, and not by chance: the whole 95 % interval of the drop
    lies beyond what is allowed, or McNemar's exact test of the change has p < 0.05. A drop that may
    be chance is `evidence-weak`.

Why
    This is what the gate is for.

Example
    top-1 97.2 % -> 93.9 %: 3.3 points, 1 allowed

Fix
    Train longer, on better data, or raise the budget knowingly.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import beyond_chance, judged

RULE = Rule("accuracy-drop", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    for m, change, allowed in judged(case, "accuracy change", "accuracy-drop"):
        drop = -100 * change
        rule = beyond_chance(m, allowed)
        if drop > allowed and rule:
            yield finding(
                RULE,
                f"{m.conditions.get('figure', 'top-1')} fell by {drop:.2f} points, {allowed:g} "
                f"allowed ({rule})",
                facts={
                    "points": drop,
                    "allowed": allowed,
                    "mcnemar_p": m.conditions.get("mcnemar_p"),
                    "by": rule,
                },
            )
