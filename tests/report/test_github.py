"""The workflow commands, read back by the rules that GitHub documents for them."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest

from interop.facts import Answer, Finding, Input, Intent, Level, Report
from interop.facts.sections.check import CheckSection
from interop.report import render
from interop.report.sanitize import plain

from .golden import HOSTILE, REPORTS


class Command(NamedTuple):
    kind: str
    properties: dict[str, str]
    message: str


def commands(text: str) -> list[Command]:
    """What a runner makes of the lines: `::name key=value,key=value::message`, codes undone."""
    return [command(line) for line in text.split("\n") if line]


def command(line: str) -> Command:
    found = re.fullmatch(r"::([a-z]+)(?: (.*?))?::(.*)", line)
    assert found, line
    pairs = [pair.partition("=") for pair in (found[2] or "").split(",") if pair]
    return Command(found[1], {k: undone(v) for k, _, v in pairs}, undone(found[3]))


def undone(text: str) -> str:
    for code, what in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, what)
    return text


def annotations(report: Report) -> list[Command]:
    return commands(render(report, "github"))


def test_the_parser_of_these_tests_reads_what_github_documents() -> None:
    read = command("::error file=app.js,line=1,title=a%3A b%2C c::Missing%0Asemicolon 5 %25")
    assert read == (
        "error",
        {"file": "app.js", "line": "1", "title": "a: b, c"},
        "Missing\nsemicolon 5 %",
    )
    with pytest.raises(AssertionError):
        command("error: missing semicolon")


@pytest.mark.parametrize("name", REPORTS)
def test_the_verdict_comes_first_and_is_an_error_where_the_exit_code_is(name: str) -> None:
    first = annotations(REPORTS[name])[0]
    assert first.kind == ("error" if REPORTS[name].exit_code else "notice")
    assert "file" not in first.properties


def test_a_finding_is_an_annotation_at_its_file() -> None:
    found = annotations(REPORTS["gate-fails"])
    assert found[1] == (
        "error",
        {"file": "models/b c.pth", "title": "label-count-mismatch"},
        "10 outputs became 7\nFix: train the head anew for A's classes",
    )
    kinds = {c.properties["title"]: c.kind for c in found[1:]}
    assert kinds["tensor-dtype-narrowed"] == "warning"
    assert kinds["labels-unknown"] == "notice"
    assert kinds["proof-parity"] == "error"
    assert kinds["size-over-budget"] == "notice"  # waived: it must not look like a fault
    assert [c.properties["file"] for c in found if c.properties["title"] == "labels-unknown"] == [
        "models/prod.pth"
    ]


def test_hostile_text_neither_ends_a_command_nor_begins_one() -> None:
    text = render(REPORTS["hostile"], "github")
    assert all(line.startswith("::") for line in text.splitlines())
    found = commands(text)
    # The verdict, two findings, a proof and what is waived: no command that a name has made.
    assert [c.kind for c in found] == ["error", "error", "notice", "error", "notice"]
    said = undone(plain(HOSTILE.replace("%", "%25").replace("\n", "%0A")))
    assert found[1].message == f"{said}\nFix: {said}"
    assert not set(text) & set("\x00\x1b\r\ud800")


@pytest.mark.parametrize("path", ["a,title=x::y.pth", "a%0A.pth", "a\n::error::b.pth", "日本.pth"])
def test_a_file_keeps_its_name(path: str) -> None:
    found = Finding("key-missing", Level.ERROR, (), Answer.NO, "gone")
    report = Report("gate", Answer.NO, "", (Input("candidate", path, ""),), findings=(found,))
    assert annotations(report)[1].properties == {"file": path, "title": "key-missing"}


def test_a_file_elsewhere_is_no_file_of_the_repository() -> None:
    found = annotations(REPORTS["check"])
    assert all("file" not in c.properties for c in found)
    assert "secret" not in render(REPORTS["check"], "github")


@pytest.mark.parametrize(("asked", "kind"), [("reload", "error"), ("replace", "notice")])
def test_what_breaks_another_question_alone_is_no_error(asked: str, kind: str) -> None:
    found = Finding("key-missing", Level.ERROR, (Intent.RELOAD,), Answer.NO, "gone")
    outcome = Answer.NO if asked == "reload" else Answer.YES
    report = Report(
        "check", outcome, "", findings=(found,), details=CheckSection(intent=Intent(asked))
    )
    assert [c.kind for c in annotations(report)] == [kind, kind]
    level = json.loads(render(report, "sarif"))["runs"][0]["results"][0]["level"]
    assert level == {"error": "error", "notice": "note"}[kind]
