"""The comment, as a renderer of CommonMark shows it: names stay text, whatever is in them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from markdown_it import MarkdownIt

from interop.facts import Answer, Finding, Input, Level, Report
from interop.facts.sections.finetune import BestEpoch, FinetuneSection, TrainingFigure
from interop.report import render
from interop.report.markdown import MOST_CHARACTERS, MOST_EPOCHS, MOST_ROWS, code, text
from interop.report.wording import headline, one_line

from .golden import HOSTILE, REPORTS
from .test_curves import report as trained

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = {
    "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "b",
}  # fmt: skip


class Shown(HTMLParser):
    """Tags, and the text outside and inside of code."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[Any] = []
        self.text = self.code = ""
        self.depth = 0
        self.feed(RENDERER.render(source))
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.depth += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.code += data
        else:
            self.text += data


def words(source: str) -> str:
    return " ".join(source.replace("\u200b", "").split())


@pytest.mark.parametrize("name", REPORTS)
def test_the_first_line_is_the_verdict_and_nothing_is_markup_but_ours(name: str) -> None:
    source = render(REPORTS[name], "markdown")
    shown = Shown(source)
    assert shown.tags <= (OURS | {"h2", "h3"} if name == "assess" else OURS)
    assert shown.attributes == []
    first = words(Shown(source.splitlines()[0]).text)
    assert first == words(headline(REPORTS[name]))


def test_hostile_names_stay_text() -> None:
    report = REPORTS["hostile"]
    shown = Shown(render(report, "markdown"))
    said = words(one_line(HOSTILE))
    assert said in words(shown.text)  # not a character of it is lost
    assert said in words(shown.code)
    # What GitHub looks for in the text that is shown: people, issues. In code it does not look.
    assert "@octocat" not in shown.text and "@\u200boctocat" in shown.text
    assert "#12" not in shown.text and "#\u200b12" in shown.text
    # Where links are made of bare addresses, that is done from the source.
    source = render(report, "markdown")
    assert "https://" not in source and "http://" not in source and "www." not in source


@pytest.mark.parametrize(
    "name",
    [
        "a|b", "`", "``a``", "a`", "\\", "a\\|b", "\\`", "<b>", "&amp;", " a ", "", "\n", "]]>",
        "</code>", "fc.weight", "*", "a\u2028b", "日本", "$x$", "@octocat", "a\tb", "b c.pth",
    ],
)  # fmt: skip
def test_a_name_is_itself_as_text_and_as_code_in_a_line_and_a_cell(name: str) -> None:
    for made in (text, code):
        for source in (f"«{made(name)}»", f"| h |\n| --- |\n| «{made(name)}» |"):
            shown = Shown(source)
            assert shown.tags <= OURS
            inner = shown.text.partition("«")[2].partition("»")[0]
            assert words(inner if made is text else shown.code) == words(one_line(name))


def test_unescaped_names_would_be_markup() -> None:
    assert not Shown(HOSTILE).tags <= OURS
    assert Shown("| h |\n| --- |\n| a|b |").text != Shown(f"| h |\n| --- |\n| {text('a|b')} |").text


def test_a_finding_is_a_fold_with_its_fix_and_its_place() -> None:
    source = render(REPORTS["check"], "markdown")
    shown = words(Shown(source).text)
    assert "Fix: give them" in shown and "Breaks: reload" in shown
    assert "interop explain key-missing" in Shown(source).code
    # There is no rule of a failed proof to be explained.
    assert "explain proof-" not in render(REPORTS["gate-fails"], "markdown")
    assert "Waived: until the pruned one is trained" in render(REPORTS["gate-fails"], "markdown")


def test_a_training_has_a_small_table_a_phase_with_the_first_the_best_and_the_last() -> None:
    report = trained(200)
    best = BestEpoch("full", 77, 0.9, 0.1)
    report = replace(report, details=replace(report.details, best=best))
    blocks = render(report, "markdown").strip().split("\n\n")
    first, _, second, left = (b for b in blocks if "epochs" in b or b.startswith(("| p", "| f")))
    assert first.startswith("| pretrain | loss | validation | variance explained | rate | s |")
    _, _, *rows = second.splitlines()
    epochs = [words(row.split("|")[1]) for row in rows]
    assert (
        len(rows) == MOST_EPOCHS
        and left == f"… and {200 - MOST_EPOCHS} more epochs of full, in the JSON report"
    )
    assert epochs[0] == "1" and epochs[-1] == "200" and "last" in rows[-1]
    assert [r for r in rows if "**" in r] == [rows[epochs.index("**77**")]]
    steps = [int(e) for e in epochs if e.isdecimal()]
    assert max(b - a for a, b in pairwise(steps)) <= 21  # evenly
    shown = Shown(render(report, "markdown"))
    assert shown.tags <= OURS and "best, written" in shown.text
    few = render(trained(3), "markdown")
    assert "more epochs" not in few and "| **2** |" in few and "| 3 |" in few


def test_a_trainings_names_and_notes_stay_text() -> None:
    report = trained()
    section = report.section(FinetuneSection)
    rows = tuple(replace(r, phase=HOSTILE) for r in section.curves or ())
    figure = TrainingFigure(HOSTILE, "share", 1)
    details = replace(section, curves=rows, figure=figure, notes=(HOSTILE,))
    shown = Shown(render(replace(report, details=details), "markdown"))
    assert shown.tags <= OURS and shown.attributes == []
    assert words(shown.text).count(words(one_line(HOSTILE))) == 3


def test_a_comment_is_never_longer_than_github_takes() -> None:
    one = Finding("key-missing", Level.ERROR, (), Answer.NO, "<" * 5000, hint=">" * 5000)
    report = Report("gate", Answer.NO, "many", findings=(one,) * 300)
    source = render(report, "markdown")
    assert len(source) <= MOST_CHARACTERS + 100
    assert source.splitlines()[0] == "**FAIL** many"
    assert "more, in the JSON report" in source.splitlines()[-1]
    many = replace(report, findings=(), inputs=(Input("file", "a.pth", ""),) * (MOST_ROWS + 7))
    assert "… and 7 more, in the JSON report" in render(many, "markdown")
