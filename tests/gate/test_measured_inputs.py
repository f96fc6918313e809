"""Two reports of inspect --data: a measured contradiction is an error, agreement is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from interop.facts import Answer, Fed, FedAnswer, Input, Json, Level, Report, Standing
from interop.facts.sections.check import InspectSection
from interop.gate import gate
from interop.policy.policy import Policy, Waiver
from tests.gate.test_gate import hashes

RULE = "preprocessing-contradicts-statistics"
NOW = 1_900_000_000.0
HOW: dict[str, Json] = {"color": "RGB", "resize": [64, 64], "mean": [0.31] * 3, "std": [0.38] * 3}
IMAGENET = {**HOW, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def inspected(
    of: Input, how: dict[str, Json] | None = None, *, wide: bool = False, color: bool = True,
    standing: Standing = Standing.MEASURED, stated: float | None = None, **parts: Any,
) -> Report:  # fmt: skip
    """The report of inspect --data of one file."""
    words = "0 to 255" if wide else "not 0 to 255"
    colors = Standing.MEASURED if color else Standing.NOT_ASKED
    answers = (
        FedAnswer("scale", standing, words, (), 9.0, 1.02),
        FedAnswer("order of colours", colors, "RGB", (), 9.0, 1.3),
    )
    fed = Fed("pictures", 64, 64, 0.02, answers=answers, preprocess=how, stated=stated)
    given = Input("file", of.path, "", {k: of.facts[k] for k in ("content_sha256", "place")})
    section = InspectSection(fed=fed)
    return Report("inspect", Answer.YES, "", inputs=(given,), details=section, file="fed.json",
                  **parts)  # fmt: skip


def judged(good: Report, a: Report, b: Report, policy: Policy | None = None) -> Report:
    return gate(policy or Policy(), [good, a, b], now=NOW)


def test_agreement_is_shown_and_removes_nothing(good: Report) -> None:
    a, b = good.inputs
    made = judged(good, inspected(a, HOW), inspected(b, {**HOW, "mean": [0.3] * 3}))
    assert made.outcome is Answer.YES and not made.findings
    assert made.details.evidence["inspect"].endswith("what was measured of both agrees")
    warned = replace(good, findings=gate(Policy(), [good]).findings)
    assert "inspect" not in gate(Policy(), [warned]).details.evidence


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (IMAGENET, "scale, mean and std"),
        ({**HOW, "mean": [0.0] * 3, "std": [1.0] * 3, "scale": 1.0}, "scale, mean and std"),
        # 1 - x in place of x
        ({**HOW, "mean": [0.69] * 3, "std": [-0.38] * 3}, "scale, mean and std"),
        ({**HOW, "color": "BGR"}, "order of colours"),
    ],
)
def test_measured_preparations_that_differ_are_an_error(
    good: Report, other: dict[str, Json], said: str
) -> None:
    a, b = good.inputs
    near = {"stated": 0.001}  # what the files state fits; only the two differ
    made = judged(good, inspected(a, HOW, **near), inspected(b, other, **near))
    assert made.outcome is Answer.NO and made.summary.startswith(f"{RULE}: trained on inputs of")
    assert f"of other {said}:" in made.summary
    assert made.details.evidence["inspect"].endswith("what was measured contradicts")


def test_an_order_of_colours_that_was_not_asked_does_not_count(good: Report) -> None:
    a, b = good.inputs
    made = judged(good, inspected(a, HOW), inspected(b, {**HOW, "color": "BGR"}, color=False))
    assert made.outcome is Answer.YES


def test_scales_that_differ_are_an_error_only_if_both_are_measured(good: Report) -> None:
    a, b = good.inputs
    silent = replace(good, inputs=tuple(replace(i, facts={**i.facts, "preprocessing": None})
                                        for i in good.inputs))  # fmt: skip
    made = judged(silent, inspected(a), inspected(b, wide=True))
    assert made.outcome is Answer.NO and "trained on other inputs" in made.summary
    for standing in (Standing.UNDECIDED, Standing.FOREIGN, Standing.NOT_ASKED):
        made = judged(silent, inspected(a), inspected(b, wide=True, standing=standing))
        assert made.outcome is Answer.YES
        assert made.details.evidence["inspect"].endswith("not all is measured")


def test_what_a_file_states_against_what_was_measured(good: Report) -> None:
    b = good.inputs[1]
    made = gate(Policy(), [good, inspected(b, IMAGENET, stated=0.9)], now=NOW)
    assert made.outcome is Answer.NO and "it states RGB 64x64 mean 0.31" in made.summary
    # Stated numbers below the floor fit what the weights remember, too.
    assert gate(Policy(), [good, inspected(b, IMAGENET, stated=0.01)]).outcome is Answer.YES
    made = gate(Policy(), [good, inspected(b, wide=True)], now=NOW)
    assert made.outcome is Answer.NO and "was trained on 0 to 255" in made.summary


def test_levels_and_waivers_of_the_policy_hold(good: Report) -> None:
    a, b = good.inputs
    pair = inspected(a, HOW, stated=0.0), inspected(b, IMAGENET, stated=0.0)
    for level, shown in ((Level.WARN, "warn"), (Level.OFF, "note")):
        made = judged(good, *pair, Policy(levels={RULE: level}))
        assert made.outcome is Answer.UNKNOWN and [f.level for f in made.findings] == [shown]
    waiver = Waiver(RULE, "the loader rescales", date(2040, 1, 1))
    assert judged(good, *pair, Policy(waivers=(waiver,))).outcome is Answer.YES


def test_reports_of_other_files_and_old_ones_do_not_count(good: Report) -> None:
    a, b = good.inputs
    other = replace(b, facts={**b.facts, "content_sha256": "0" * 64})
    made = judged(good, inspected(a, HOW), inspected(other, wide=True))
    assert made.outcome is Answer.YES
    assert "foreign: the report is of neither" in made.details.evidence["inspect"]
    elsewhere = replace(b, facts={**b.facts, "place": "ema"})
    assert judged(good, inspected(a, HOW), inspected(elsewhere, wide=True)).outcome is Answer.YES
    old = inspected(b, wide=True, environment={"unix_time": NOW - 9e6})
    made = judged(good, inspected(a, HOW), old, Policy(max_age=86400.0))
    assert (
        made.outcome is Answer.YES
        and "stale: made 104 days ago" in (made.details.evidence["inspect"])
    )
    assert hashes(good)[0] != hashes(good)[1]
