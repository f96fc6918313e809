"""The policy asks for evidence that nobody gave.

What
    The policy requires an export or a bench report and none was handed in, nor could one be made.

Why
    A gate that passes because nobody looked is no gate.

Example
    bench: the policy judges accuracy-drop, and there is no report

Fix
    Run the command and hand its JSON in with `--evidence`, or let the policy run it.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, GapKind, Intent, Level, Rule
from interop.rules import finding

RULE = Rule(
    "evidence-missing", Level.WARN, (Intent.REPLACE,), needs=("evidence",), answer=Answer.UNKNOWN
)


def check(case: Case) -> Iterator[Finding]:
    for what, gap in case.lacking.items():
        if gap.kind is GapKind.MISSING:
            yield finding(RULE, f"{what}: {gap.why}", facts={"evidence": what})
