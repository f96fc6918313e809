"""A report was made of another file.

What
    The content hash in the report is not the candidate's, or not the baseline's.

Why
    Figures of last week's model say nothing of this week's.

Example
    bench.json measured 3f2a91…, the candidate is 77b0c4…

Fix
    Measure the file that is to be deployed.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, GapKind, Intent, Level, Rule
from interop.rules import finding

RULE = Rule(
    "evidence-foreign", Level.WARN, (Intent.REPLACE,), needs=("evidence",), answer=Answer.UNKNOWN
)


def check(case: Case) -> Iterator[Finding]:
    for what, gap in case.lacking.items():
        if gap.kind is GapKind.FOREIGN:
            yield finding(RULE, f"{what}: {gap.why}", facts={"evidence": what})
