"""A report is older than the policy allows, or does not say when it was made.

What
    The policy has `evidence.max-age`, and the report's environment tells a time before that, in the
    future, or none.

Why
    Figures of a machine that has had other drivers since then say little of today's.

Example
    bench: made 31 days ago, 14 days allowed

Fix
    Make the report again.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, GapKind, Intent, Level, Rule
from interop.rules import finding

RULE = Rule(
    "evidence-stale", Level.WARN, (Intent.REPLACE,), needs=("evidence",), answer=Answer.UNKNOWN
)


def check(case: Case) -> Iterator[Finding]:
    for what, gap in case.lacking.items():
        if gap.kind is GapKind.STALE:
            yield finding(RULE, f"{what}: {gap.why}", facts={"evidence": what})
