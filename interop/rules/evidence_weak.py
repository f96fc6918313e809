"""The samples are too few to show that the budget holds.

What
    The measured change lies within the policy's budget, but the bad end of its 95 % interval lies
    beyond it; or a drop lies beyond the budget and may be chance; or the runs are too few to bound
    a percentile of latency.

Why
    On two pictures every model is as good as every other: a gate that passes on them has not
    looked.

Example
    negative flips 0.00 %, at most 65.76 %: 2 allowed

Fix
    Measure on more samples, or switch this rule off knowingly.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import beyond_chance, judged

RULE = Rule(
    "evidence-weak", Level.WARN, (Intent.REPLACE,), needs=("measurements",), answer=Answer.UNKNOWN
)


def check(case: Case) -> Iterator[Finding]:
    for m, change, allowed in judged(case, "accuracy change", "accuracy-drop"):
        low = m.interval[0] if m.interval else change
        figure = m.conditions.get("figure", "top-1")
        if -100 * change <= allowed < -100 * low:
            what = f"but may have fallen by {-100 * low:.2f}"
        elif -100 * change > allowed and not beyond_chance(m, allowed):
            what = "which may be chance"
        else:
            continue
        yield finding(
            RULE,
            f"{figure} changed by {100 * change:+.2f} points, {what}; {allowed:g} allowed",
            facts={"points": -100 * low, "allowed": allowed},
        )
    for m, share, allowed in judged(case, "negative flips", "negative-flips"):
        high = m.interval[1] if m.interval else share
        if 100 * share <= allowed < 100 * high:
            yield finding(
                RULE,
                f"negative flips {100 * share:.2f} %, but may be {100 * high:.2f} %; "
                f"{allowed:g} allowed",
                facts={"percent": 100 * high, "allowed": allowed},
            )
    for m, share, wanted in judged(case, "agreement", "agreement"):
        low = m.interval[0] if m.interval else share
        if 100 * low < wanted <= 100 * share:
            yield finding(
                RULE,
                f"the two agree on {100 * share:.2f} %, but may on {100 * low:.2f} %; "
                f"at least {wanted:g} asked for",
                facts={"percent": 100 * low, "wanted": wanted},
            )
    for m, ratio, allowed in judged(case, "p99 ratio", "p99-ratio"):
        if m.interval is None:
            runs = m.conditions.get("runs")
            yield finding(
                RULE,
                f"batch {m.conditions.get('batch')}: {runs} runs are too few to bound a 99th "
                f"percentile ({ratio:.2f} times the baseline's so far); {allowed:g} allowed",
                facts={"ratio": ratio, "allowed": allowed, "runs": runs},
            )
