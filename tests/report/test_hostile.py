"""Whatever text a file's author put in it, every format stays valid and writable."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.facts import Answer, Finding, Input, Intent, Level, Proof, Report, Skipped, Verdict
from interop.facts.sections.gate import GateSection, WaivedFinding
from interop.report import FORMATS, render
from interop.report.json import from_json, to_json

from .test_github import commands
from .test_junit import SCHEMA
from .test_markdown import OURS, Shown
from .test_sarif import VALIDATOR

# What means something to one of the formats, and any other character, half pairs among them.
TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["|", "`", "``", "\\", "<b>", "</code>", "<!--", "-->", "]]>", "&lt;", "&#64;", "@a",
             "#1", "[x](y)", "::", "%0A", "\n", "\r\n", "\n\n", " ", "{0}", "{{", "*", "_", "~~",
             "$", "www.", "s3://", "https://[", "](", "/", "..", "C:", "#", "- ", "1. ", "    ",
             "\t", "===", "---", "\u2028", "a"]
        ),
        st.text(st.characters(exclude_categories=()), max_size=3),
    ),
    max_size=12,
).map("".join)  # fmt: skip


def report(t: Any) -> Report:
    """A report of as many texts as are drawn by `t`."""
    return Report(
        command="gate",
        outcome=Answer.NO,
        summary=t(),
        inputs=(Input(t(), t(), t(), {"place": t()}), Input("candidate", t(), t())),
        verdicts=(Verdict(Intent.REPLACE, Answer.NO, t()),),
        findings=(
            Finding("key-missing", Level.ERROR, (), Answer.NO, t(), t(), t(), {"tensors": [t()]}),
            Finding("labels-unknown", Level.NOTE, (), Answer.UNKNOWN, t(), facts={"files": [t()]}),
        ),
        proofs=(Proof(t(), False, t()),),
        skipped=(Skipped("key-missing", t()),),
        environment={"interop": t()},
        details=GateSection(
            policy=t(), waived=(WaivedFinding(rule="size-over-budget", reason=t()),)
        ),
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_format_stays_what_it_is(data: st.DataObject) -> None:
    made = report(lambda: data.draw(TEXT))
    said = {form: render(made, form) for form in FORMATS}
    for form, text in said.items():
        assert text.encode("utf-8") and text.endswith("\n"), form
    assert from_json(json.loads(said["json"])).summary is not None
    VALIDATOR.validate(json.loads(said["sarif"]))
    SCHEMA.validate(said["junit"])
    kinds = [c.kind for c in commands(said["github"])]
    assert len(kinds) in (4, 5) and set(kinds) <= {"error", "warning", "notice"}
    shown = Shown(said["markdown"])
    assert shown.tags <= OURS and shown.attributes == []


@pytest.mark.parametrize("path", ["\udcff.pth", "caf\udce9/b.pth"])
def test_a_name_of_other_bytes_comes_back_from_json(path: str) -> None:
    made = Report("check", Answer.YES, "", (Input("B", path, ""),))
    again = from_json(json.loads(render(made, "json")))
    assert again.inputs[0].path == path and to_json(again) == to_json(made)
