"""The JUnit file: what Jenkins takes, what a parser reads, and red only where the command is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped

from interop.facts import Answer, Report
from interop.report import render

from .golden import REPORTS
from .test_formats import REPORT

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))
EVERY = {**REPORTS, "formats": REPORT}


def suite(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(render(report, "junit"))[0]


def read(report: Report) -> Any:
    """The suite as junitparser has it."""
    return next(iter(JUnitXml.fromstring(render(report, "junit").encode())))


def ended(report: Report) -> Mapping[str, list[type]]:
    return {case.name: [type(r) for r in case.result] for case in read(report)}


@pytest.mark.parametrize("name", EVERY)
def test_a_file_is_valid(name: str) -> None:
    SCHEMA.validate(render(EVERY[name], "junit"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (' name="outcome"', ""),
        ('time="0.000"', 'time="soon"'),
        ("<failure", '<failure place="fc"'),
        (' errors="', ' mistakes="'),
        ("system-out", "system-log"),
    ],
)
def test_a_file_that_is_not_valid_is_refused(old: str, new: str) -> None:
    text = render(REPORTS["gate-fails"], "junit")
    assert old in text
    with pytest.raises(xmlschema.XMLSchemaException):
        SCHEMA.validate(text.replace(old, new))


@pytest.mark.parametrize("name", EVERY)
def test_junitparser_counts_what_the_suite_says(name: str) -> None:
    found = read(EVERY[name])
    told = (found.tests, found.failures, found.errors, found.skipped)
    found.update_statistics()
    assert told == (found.tests, found.failures, found.errors, found.skipped)
    assert found.tests > 0


@pytest.mark.parametrize("outcome", [Answer.YES, Answer.NO, Answer.UNKNOWN])
@pytest.mark.parametrize("name", EVERY)
def test_a_suite_is_red_if_and_only_if_the_command_is(name: str, outcome: Answer) -> None:
    report = replace(EVERY[name], outcome=outcome)
    found = read(report)
    assert bool(found.failures or found.errors) is bool(report.exit_code)


def test_what_decides_fails_and_what_is_unknown_errs() -> None:
    said = ended(REPORTS["gate-fails"])
    assert said["label-count-mismatch"] == [Failure]
    assert said["labels-unknown"] == [Error]
    assert said["tensor-dtype-narrowed"] == [] and said["loaded fraction"] == []
    assert said["parity"] == [Failure]
    assert said["size-over-budget"] == [Skipped]
    # An intent that was not asked for does not count, whatever its answer is.
    said = ended(REPORTS["check"])
    assert (said["reload"], said["transfer"]) == ([Failure], [Skipped])


def test_names_that_xml_cannot_hold_are_escaped() -> None:
    found = suite(REPORT).find("testcase[@name='container-changed']/system-out")
    assert found is not None and found.text == r"note: a \x00 b"
    text = render(REPORTS["hostile"], "junit")
    assert text.encode("utf-8").decode("utf-8") == text
    assert "<script" not in text and "￾" not in text
