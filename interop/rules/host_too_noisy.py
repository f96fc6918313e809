"""The machine could not tell the two apart.

What
    In the same run, one runtime measured against itself differed by more than the difference that
    was to be judged, or a tenth of its runs took over three times their median.

Why
    A ratio that changes from run to run decides nothing.

Example
    batch 1: PyTorch against itself 0.81 to 1.14

Fix
    Close other work, pin the clock, measure longer.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Json, Level, Rule
from interop.rules import finding

RULE = Rule(
    "host-too-noisy", Level.WARN, (Intent.REPLACE,), needs=("measurements",), answer=Answer.UNKNOWN
)


# Runs of a calm host lie close together; where a tenth takes several times the median, something
# else was running, and it may have hit both runners of the comparison alike.
_SPREAD = 3.0
_SHOWN = 2


def check(case: Case) -> Iterator[Finding]:
    # How much a comparison must be able to tell: bench's own bound, or the policy's budget.
    bounds = [case.budgets[b] for b in ("noise", "latency-ratio", "p99-ratio") if b in case.budgets]
    limit = bounds[0] if bounds else _inverse(case.budgets.get("throughput-ratio"))
    if limit is None:
        return
    reasons: dict[Json, list[str]] = {}
    facts: dict[Json, dict[str, Json]] = {}
    for m in case.measurements:
        batch = m.conditions.get("batch")
        if m.name == "latency noise" and m.interval is not None:
            low, high = m.interval
            if max(high, 1 / max(low, 1e-9)) > max(limit, 1.0):
                noise = f"the same runtime against itself {low:.2f} to {high:.2f}"
                reasons.setdefault(batch, []).insert(0, noise)
                facts.setdefault(batch, {})["interval"] = [low, high]
        elif m.name == "latency" and m.value and (m.conditions.get("p90") or 0) > _SPREAD * m.value:
            times = m.conditions["p90"] / m.value
            of = str(m.conditions.get("of"))
            tail = f"a tenth of {of}'s runs took over {times:.1f} times their median"
            reasons.setdefault(batch, []).append(tail)
            facts.setdefault(batch, {})[of] = {"p90": m.conditions["p90"], "p50": m.value}
    for batch, why in reasons.items():
        more = f"; and {len(why) - _SHOWN} more like it" if len(why) > _SHOWN else ""
        what = f"batch {batch}: {'; '.join(why[:_SHOWN])}{more}"
        yield finding(RULE, what, facts={"batch": batch, **facts[batch]})


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None
