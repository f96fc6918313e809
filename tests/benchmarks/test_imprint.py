"""The study of running statistics: its goals hold in the stored result, and the code follows it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import readme
from benchmarks.imprint_judge import HALF, QUESTIONS, counts, least_ratio, page
from benchmarks.imprint_networks import KINDS
from benchmarks.process import RESULTS
from interop.imprint.answers import FLOOR

FOUND: dict[str, Any] = json.loads((RESULTS / "imprint.json").read_text("utf-8"))
BY_INPUTS = ("own", "same fields", "32", "16")


def of(question: str, half: str = "reported", condition: str = "own") -> Counter[str]:
    return Counter(FOUND["questions"][question][f"{half}, {condition}"])


def share(count: Counter[str]) -> float:
    return count["right"] / count.total()


def test_the_page_has_the_stored_tables() -> None:
    block = readme.REMEMBERED.search(readme.REMEMBERED_PAGE.read_text("utf-8"))
    assert block is not None
    assert block.group(0).splitlines()[2:-2] == page(FOUND)


def test_the_study_is_as_wide_as_it_says() -> None:
    settled = Counter(
        row["kind"] for row in FOUND["networks"].values() if row["regime"] == "settled"
    )
    assert sum(count >= 6 for count in settled.values()) >= 16
    assert {row["regime"] for row in FOUND["networks"].values()} > {"untrained", "frozen", "few"}
    assert set(HALF.values()) == {"chosen", "reported"} and set(HALF) == set(KINDS)


def test_the_code_has_the_ratios_that_were_judged_and_they_were_chosen_on_one_half() -> None:
    assert FOUND["floor"] == FLOOR
    for question in QUESTIONS:
        one = FOUND["questions"][question.name]
        assert one["ratio"] == question.ratio >= one["least"], question.name


@pytest.mark.parametrize("question", [q.name for q in QUESTIONS])
def test_no_statement_is_wrong(question: str) -> None:
    for half in ("chosen", "reported"):
        for condition in BY_INPUTS:
            assert of(question, half, condition)["wrong"] == 0, condition


def test_the_goals_are_met_on_the_half_that_was_held_back() -> None:
    goals = {"scale": 0.8, "mean and std": 0.8, "activation": 0.75, "order of colours": 0.6}
    assert {q: share(of(q)) >= goal for q, goal in goals.items()} == dict.fromkeys(goals, True)
    files = Counter(FOUND["file"]["range, reported"])
    assert files["wrong"] == 0 and share(files) >= 0.8


def test_controls_are_silent() -> None:
    for name in ("untrained", "shuffled", "noise", "foreign", "frozen", "few"):
        control = FOUND["controls"][name]
        assert control["wrong"] == 0 and control["speaking"] == 0, name
    for name in ("untrained", "frozen", "few"):
        assert set(FOUND["file"][f"range, {name}"]) == {"silent"}


def test_a_wrong_statement_would_be_counted_and_would_raise_the_ratio() -> None:
    rows = [
        {"conditions": {"own": {"divergence": 0.01, "answers": {
            "size": {"right": right, "ratio": ratio, "spoken": True}}}}}
        for right, ratio in ((True, 9.0), (False, 1.2), (True, 1.4))
    ]  # fmt: skip
    size = next(q for q in QUESTIONS if q.name == "size")
    assert counts(rows, replace(size, ratio=1.1), "own") == {"right": 2, "wrong": 1}
    assert counts(rows, replace(size, ratio=1.3), "own") == {"right": 2, "undecided": 1}
    assert counts(rows, replace(size, ratio=2.0), "own") == {"right": 1, "undecided": 2}
    assert least_ratio(rows, size) == 1.3
