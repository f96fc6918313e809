"""Every format is a pure function of the Report; JSON comes back as the Report that it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from interop.errors import ConfigError
from interop.facts import (
    Answer,
    Finding,
    Input,
    Intent,
    Level,
    Measurement,
    Proof,
    Report,
    Skipped,
    TaskName,
    Unit,
    Verdict,
)
from interop.facts.sections import SECTIONS, sections_of
from interop.facts.sections.bench import BenchSection, Pace
from interop.facts.sections.check import CheckSection
from interop.report import FORMATS, render, schema
from interop.report.json import SCHEMA_FILE, from_json, read_report, to_json
from interop.report.table import table
from interop.report.units import quantity

from . import golden
from .golden import REPORTS
from .test_html import bench

REPORT = Report(
    command="gate",
    outcome=Answer.NO,
    summary="label-order-changed: 9 of 10 outputs mean another class",
    inputs=(Input("baseline", "prod.pth", "torchvision/resnet18"), Input("candidate", "b.pth", "")),
    verdicts=(
        Verdict(Intent.RELOAD, Answer.UNKNOWN, "not asked"),
        Verdict(Intent.REPLACE, Answer.NO, "9 of 10 outputs mean another class"),
    ),
    findings=(
        Finding("label-order-changed", Level.ERROR, (Intent.REPLACE,), Answer.NO, "9 of 10 moved"),
        Finding("labels-unknown", Level.NOTE, (Intent.REPLACE,), Answer.UNKNOWN, "who knows"),
        Finding("container-changed", Level.NOTE, (), Answer.NO, "a \x00 b", hint="nothing"),
    ),
    proofs=(Proof("parity", False, "batch 7 departs", {"batch": 7}, 0.5),),
    measurements=(
        Measurement(
            "latency ratio", "ratio", 1.8, (1.7, 1.9), (1.0, 2.0),
            {"group": "latency ratio", "of": "B / A", "batch": 1, "between": "models"},
        ),
        Measurement("top-1", "share", float("nan"), None, (), {"group": "accuracy", "of": "A"}),
    ),
    skipped=(Skipped("tensor-not-finite", "needs the tensors' values (--values)"),),
    details=CheckSection(intent=Intent.REPLACE),
)  # fmt: skip


def test_json_comes_back_and_fits_the_schema(tmp_path: Path) -> None:
    document = json.loads(render(REPORT, "json"))
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    assert document["measurements"][1]["value"] is None, "JSON has no NaN"
    file = tmp_path / "report.json"
    file.write_text(render(REPORT, "json"))
    again = read_report(file)
    assert to_json(again) == document
    assert again.findings == REPORT.findings and again.verdicts == REPORT.verdicts
    assert again.measurements[0] == REPORT.measurements[0]


@pytest.mark.parametrize("name", REPORTS)
def test_every_stored_report_fits_the_schema(name: str) -> None:
    # The hostile one holds halves of surrogate pairs, which are text in JSON as an escape alone.
    text = render(REPORTS[name], "json")
    assert text.encode("utf-8").decode("utf-8") == text
    document = json.loads(text)
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    assert document == to_json(REPORTS[name])


def test_a_report_as_bench_makes_it_fits_the_schema() -> None:
    report = bench()
    of = {"of": "A pytorch", "model": "A", "runtime": "pytorch", "batch": 8, "windows": 5}
    more = Measurement("throughput", "per second", 433.0, (420.0, 440.0), (430.0, 436.0), of)
    section = replace(
        report.section(BenchSection), device="cuda:0", task=TaskName.TEXT_CLASSIFICATION,
        notes=("A: as it is",), prepared={"A": {"longest": 128}},
        pace={"A": Pace(0.1, {"pytorch": 2.0}, 0.05)},
    )  # fmt: skip
    report = replace(report, measurements=(*report.measurements, more), details=section)
    document = json.loads(render(report, "json"))
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    assert to_json(from_json(document)) == document
    for form in FORMATS:
        assert render(report, form), form


@pytest.mark.parametrize("unit", Unit)
def test_the_schema_knows_the_units_of_bench(unit: Unit) -> None:
    measured = Measurement("throughput", unit, 433.0, (420.0, 440.0), (430.0, 436.0), {"batch": 8})
    report = replace(REPORT, command="bench", measurements=(measured,), details=BenchSection())
    document = to_json(report)
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    document["measurements"][0]["unit"] = "furlongs"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))


@pytest.mark.parametrize("name", REPORTS)
def test_a_stored_report_is_read_and_written_as_it_was(name: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(golden.file(name, "json").read_bytes())
    read = read_report(file)
    assert render(read, "json") == file.read_text("utf-8") and read.file == str(file)
    assert type(read.details) in sections_of(read.command)


def test_the_stored_schema_is_that_of_the_records() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == schema.text(), "python -m interop.report.schema"
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    assert list(SECTIONS) == schema.schema()["properties"]["command"]["enum"]


def damages() -> Iterator[tuple[str, str, Any]]:
    """A report's name, and a key of its details with a value that is none of its type."""
    for name, report in REPORTS.items():
        for key, value in to_json(report.details).items():
            wrong = [["x"]] if isinstance(value, (str, int, float)) else 3
            yield name, key, wrong
            if isinstance(value, list) and value:
                yield name, key, [*value, {"x": 1}]
            if isinstance(value, list) and value and isinstance(value[0], dict):
                yield name, key, [{k: v for k, v in value[0].items() if k != next(iter(value[0]))}]


@pytest.mark.parametrize(("name", "key", "value"), damages())
def test_a_damaged_section_is_said_and_does_not_fit(
    name: str, key: str, value: Any, tmp_path: Path
) -> None:
    document: Any = to_json(REPORTS[name])
    document["details"][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    file = tmp_path / "report.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="a damaged report"):
        read_report(file)


def test_what_a_newer_version_adds_is_let_be(tmp_path: Path) -> None:
    document: Any = to_json(REPORTS["gate-fails"])
    document["details"]["news"] = {"x": 1}
    document["details"]["waived"][0]["news"] = 1
    file = tmp_path / "report.json"
    file.write_text(json.dumps(document))
    assert to_json(read_report(file)) == to_json(REPORTS["gate-fails"])


def test_the_schema_refuses_what_is_no_report() -> None:
    document = to_json(REPORT)
    document["outcome"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    with pytest.raises(ValueError, match="maybe"):
        from_json(document)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": 1, "command": "bench"}', '{"schema": 2}']
)
def test_what_is_no_report_ends_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="report"):
        read_report(file)


def test_text_says_the_verdict_first_and_fits_80_columns() -> None:
    text = render(REPORT, "text")
    assert text.startswith("FAIL  label-order-changed")
    assert max(map(len, text.splitlines())) <= 80
    for word in ("FAILS", "batch 7 departs", "1.800", "1.700 to 1.900", "who knows"):
        assert word in text


def test_every_format_ends_with_a_newline_and_is_the_same_twice() -> None:
    for form in FORMATS:
        assert render(REPORT, form).endswith("\n"), form
        assert render(REPORT, form) == render(REPORT, form), form
    with pytest.raises(ConfigError, match="unknown format 'pdf'"):
        render(REPORT, "pdf")


def test_a_table_wraps_its_last_column() -> None:
    lines = table([["a", "b" * 5, "word " * 30], ["aaa", "b", "x"]])
    assert max(map(len, lines)) <= 80 and len(lines) > 2
    assert lines[1].startswith(" " * 12 + "word")
    assert table([]) == []


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.9906, "share", "99.06 %"),
        (-0.0125, "points", "-1.25 points"),
        (1.5e6, "bytes", "1.5 MB"),
        (2, "count", "2"),
        (0.3931, "ratio", "0.393"),
        (0.00412, "p", "0.00412"),
        (5.128, "ms", "5.13 ms"),
        (4.31e-6, "abs", "4.3e-06"),
    ],
)
def test_quantities_have_their_units(value: float, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


DAMAGED: dict[str, Any] = {
    "value": ("measurements", "abc", "value is 'abc', no number"),
    "interval": ("measurements", [1.0], "no two numbers"),
    "interval ": ("measurements", "12", "no two numbers"),
    "interval  ": ("measurements", [1.0, "b"], "interval is 'b', no number"),
    "samples": ("measurements", ["a"], "samples is 'a', no number"),
    "samples ": ("measurements", None, "no list"),
    "conditions": ("measurements", [], "conditions is [], no object"),
    "conditions ": ("measurements", {"mcnemar_p": "low"}, "mcnemar_p is 'low', no number"),
    "conditions  ": ("measurements", {"runtime": ["x"]}, "no plain value"),
    "value ": ("measurements", 10**400, "too large"),
    "holds": ("proofs", "false", "neither true nor false"),
    "rule": ("findings", ["x"], "rule is ['x'], no text"),
    "breaks": ("findings", None, "breaks is None, no list"),
    "facts": ("inputs", None, "facts is None, no object"),
}


@pytest.mark.parametrize("key", DAMAGED)
def test_a_damaged_value_is_said_with_its_file(tmp_path: Path, key: str) -> None:
    part, value, said = DAMAGED[key]
    made = {
        "inputs": Input("A", "a.pth", ""),
        "findings": Finding("key-missing", Level.ERROR, (), Answer.NO, "w"),
        "proofs": Proof("parity", True, "w"),
        "measurements": Measurement("agreement", "share", 0.5, (0.4, 0.6), (1.0,)),
    }[part]
    report = Report("bench", Answer.YES, "", **{part: (made,)})
    file = tmp_path / "report.json"
    document: Any = to_json(report)
    file.write_text(json.dumps(document))
    assert read_report(file) == report
    document[part][0][key.strip()] = value
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as caught:
        read_report(file)
    assert said in caught.value.what and caught.value.where == str(file) and caught.value.fix


@pytest.mark.parametrize("key", ["inputs", "measurements", "environment", "details", "summary"])
@pytest.mark.parametrize("value", [3, [3]])
def test_a_report_of_another_shape_is_said(tmp_path: Path, key: str, value: Any) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps({**to_json(Report("bench", Answer.YES, "")), key: value}))
    with pytest.raises(ConfigError, match=f"a damaged report .{key} is"):
        read_report(file)
    file.write_text("[" * 200_000)
    with pytest.raises(ConfigError, match="not JSON"):
        read_report(file)


def test_a_figure_without_a_value_is_read_as_what_it_is(tmp_path: Path) -> None:
    nan, file = float("nan"), tmp_path / "report.json"
    file.write_text(
        render(
            Report(
                "bench",
                Answer.YES,
                "",
                measurements=(Measurement("agreement", "share", nan, (nan, 1.0), (nan, 2.0)),),
            ),
            "json",
        )
    )
    (read,) = read_report(file).measurements
    assert read.value is None and read.interval is not None and read.interval[0] != read.interval[0]
    assert read.interval[1] == 1.0 and read.samples[0] != read.samples[0]
