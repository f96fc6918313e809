"""Learning curves for a terminal and for a page."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from xml.etree import ElementTree

from interop.facts import Answer, Report
from interop.facts.sections.finetune import FinetuneSection
from interop.report import render
from interop.report.curves import MOST_ROWS, learning_table
from interop.report.html.training import figures
from interop.report.json import decode


def report(epochs: int = 3) -> Report:
    rows = [
        {"phase": phase, "epoch": e + 1, "train_loss": 2.0 / (e + 1), "validation_loss": 1.5,
         "figure": 0.1 * e, "rate": 1e-3, "seconds": 0.5, "cpu_seconds": 0.4}
        for phase in ("pretrain", "full") for e in range(epochs)
    ]  # fmt: skip
    details = {
        "curves": rows, "figure": {"name": "top-1", "unit": "share", "better": 1},
        "best": {"phase": "full", "epoch": 2, "figure": 0.1, "validation_loss": 1.5},
        "out": "m.pth",
    }  # fmt: skip
    section = decode(FinetuneSection, details)
    return Report("finetune", Answer.YES, "top-1", details=section)


def test_a_table_a_phase_with_the_written_epoch() -> None:
    first, second = learning_table(report())
    assert "variance explained" in first[0] and "top-1" in second[0]
    assert "written" in second[2] and "10.00 %" in second[2] and "last" in second[3]
    assert not any("written" in line for line in first)


def test_long_trainings_are_thinned_but_for_what_counts() -> None:
    _, second = learning_table(report(200))
    assert len(second) <= MOST_ROWS + 3 and "more epochs" in second[-1]
    assert any("written" in line for line in second) and any("last" in line for line in second)
    assert max(map(len, render(report(200), "text").splitlines())) <= 80


def test_drawings_are_well_formed_and_hold_both_losses() -> None:
    made = figures(report())
    assert [f.title for f in made] == [
        "pretrain: loss", "pretrain: variance explained", "full: loss", "full: top-1",
    ]  # fmt: skip
    for one in made:
        ElementTree.fromstring(one.svg)
    assert "training: from 2 to 0.6667" in made[0].svg and made[0].svg.count("trend") == 2
    page = render(report(), "html")
    assert page.count("<svg") == 4 and "trained" in page


def test_curves_that_hold_no_numbers_are_left_out() -> None:
    section = report().section(FinetuneSection)
    rows = tuple(replace(r, figure=nan, train_loss=nan) for r in section.curves or ())
    page = Report("finetune", Answer.YES, "", details=replace(section, curves=rows))
    assert [f.title for f in figures(page)] == ["pretrain: loss", "full: loss"]
    assert "-" in render(page, "text")
    assert figures(Report("bench", Answer.YES, "")) == []
