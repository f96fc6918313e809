"""The SARIF log: valid, read by others, and with fingerprints that outlast a run and a machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attr
import jsonschema
import pytest
import sarif_om
from sarif.loader import load_sarif_file
from sarif_pydantic import Sarif

from interop.facts import Answer, Finding, Input, Intent, Level, Report, Skipped
from interop.report import render
from interop.report.sarif import MOST_PLACES, uri_of
from interop.rules import all_rules

from .golden import HOSTILE, REPORTS

SCHEMA = json.loads(Path(__file__).with_name("sarif.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def log(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render(report, "sarif"))
    return document


def run(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = log(report)["runs"][0]
    return found


def fingerprints(report: Report) -> list[str]:
    return [r["partialFingerprints"]["interop/v1"] for r in run(report)["results"]]


def one(found: Finding, *inputs: Input, **parts: Any) -> dict[str, Any]:
    """The result that a finding becomes."""
    report = Report("gate", Answer.NO, "no", inputs=inputs, findings=(found,), **parts)
    made: dict[str, Any] = run(report)["results"][0]
    return made


def lacking(**parts: Any) -> Finding:
    return Finding("key-missing", Level.ERROR, (Intent.RELOAD,), Answer.NO, "gone", **parts)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


# ---------------------------------------------------------------- valid


@pytest.mark.parametrize("name", REPORTS)
def test_a_log_is_valid(name: str) -> None:
    document = log(REPORTS[name])
    VALIDATOR.validate(document)
    Sarif.model_validate(document)
    found = document["runs"][0]
    rules = found["tool"]["driver"]["rules"]
    assert len({r["id"] for r in rules}) == len(rules)
    for result in found["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), "2.0.0"),
        (("runs", 0, "results", 0, "level"), "warn"),
        (("runs", 0, "results", 0, "place"), "fc"),
        (("runs", 0, "results", 0, "message"), {"text": ""}),
        (("runs", 0, "artifacts", 0, "location", "uri"), "a b.pth"),
        (("runs", 0, "invocations", 0, "endTimeUtc"), "yesterday"),
    ],
)
def test_a_log_that_is_not_valid_is_refused(path: tuple[Any, ...], value: Any) -> None:
    document = log(REPORTS["gate-fails"])
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)


@pytest.mark.parametrize("name", [n for n in SCHEMA["definitions"] if n != "level"])
def test_the_schema_of_these_tests_says_what_the_standard_says(name: str) -> None:
    ours = SCHEMA["definitions"][name]
    fields = attr.fields(getattr(sarif_om, name))
    theirs = {f.metadata["schema_property_name"]: f.default is attr.NOTHING for f in fields}
    if name == "Suppression":  # the package is of a draft, in which this had another name
        theirs["status"] = theirs.pop("state")
    assert set(ours["properties"]) <= set(theirs)
    needed = {n for n, must in theirs.items() if must}
    assert needed <= set(ours.get("required", ())) <= set(theirs)


def test_every_rule_can_be_told() -> None:
    found = tuple(
        Finding(e.rule.id, e.rule.level, e.rule.breaks, e.rule.answer, "what")
        for e in all_rules().values()
    )
    document = log(Report("check", Answer.NO, "all of them", findings=found))
    VALIDATOR.validate(document)
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == list(all_rules())
    for rule in rules:
        known = all_rules()[rule["id"]]
        assert rule["shortDescription"]["text"] == known.title
        assert all(f"**{s}**" in rule["help"]["markdown"] for s in known.sections)


# ---------------------------------------------------------------- read by another


def test_sarif_tools_reads_what_was_found(tmp_path: Path) -> None:
    file = tmp_path / "gate.sarif"
    file.write_text(render(REPORTS["gate-fails"], "sarif"), "utf-8")
    read = load_sarif_file(str(file))
    assert read.get_distinct_tool_names() == ["interop"]
    records = {(r["Code"], r["Severity"]) for r in read.get_records()}
    # A waived one is among them: it is for who reads the log to leave it out.
    assert {
        ("label-count-mismatch", "error"),
        ("tensor-dtype-narrowed", "warning"),
        ("labels-unknown", "note"),
        ("proof-parity", "error"),
    } <= records
    assert {unquote(r["Location"]) for r in read.get_records()} == {
        "models/b c.pth", "models/prod.pth",
    }  # fmt: skip


# ---------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models/prod.pth", "models/prod.pth"),
        ("./a/../b c#1%.pth", "b%20c%231%25.pth"),
        ("/home/somebody/models/prod.pth", "prod.pth"),
        ("C:\\models\\prod.pth", "prod.pth"),
        ("a:b.pth", "b.pth"),
        ("git:main:models/a.pth", "git%3Amain%3Amodels/a.pth"),
        ("https://user:word@x.example/a b.pth?key=secret#f", "https://x.example/a%20b.pth"),
        ("s3://bucket/a.pth", "s3://bucket/a.pth"),
        ("https://x.example/a%20b%zz.pth", "https://x.example/a%20b%25zz.pth"),
        ("https://[x/a\nb", "https://%5Bx/a%0Ab"),
        ("日本.pth", "%E6%97%A5%E6%9C%AC.pth"),
        ("\udcff\ud800.pth", "%ED%B3%BF%ED%A0%80.pth"),
        ("\udcff.pth", "%FF.pth"),
        ("", ""),
    ],
)
def test_a_file_is_a_relative_uri_that_names_no_machine(path: str, uri: str) -> None:
    assert uri_of(path) == uri


def test_a_tensor_is_a_logical_location_in_its_file() -> None:
    candidate = Input("candidate", "b.pth#ema", "", {"place": "ema"})
    made = one(lacking(facts={"tensors": ["fc.weight", "fc.bias"]}), candidate)["locations"]
    assert [p["physicalLocation"]["artifactLocation"]["uri"] for p in made] == ["b.pth"] * 2
    names = [p["logicalLocations"][0]["fullyQualifiedName"] for p in made]
    assert names == ["fc.weight", "fc.bias"]
    by_place = one(lacking(place="fc.weight"), candidate)["locations"]
    assert by_place[0]["logicalLocations"][0]["fullyQualifiedName"] == "fc.weight"
    by_file = one(lacking(place="b.pth"), candidate)["locations"]
    assert "logicalLocations" not in by_file[0]
    assert "locations" not in one(lacking())


def test_tensors_come_by_row_by_name_and_as_many_as_can_be_shown() -> None:
    def names(tensors: Any) -> list[str]:
        made = one(lacking(facts={"tensors": tensors}), Input("B", "b.pth", ""))["locations"]
        return [n["fullyQualifiedName"] for p in made for n in p.get("logicalLocations", ())]

    assert names([["fc.weight", [10, 512], [7, 512]]]) == ["fc.weight"]
    assert names({"fc.weight": [1, 0]}) == ["fc.weight"]
    assert names(12) == []
    assert len(names([f"layer{i}" for i in range(500)])) == MOST_PLACES


# ---------------------------------------------------------------- the same fault, again


def test_a_fingerprint_is_of_rule_file_and_place_alone() -> None:
    here = REPORTS["gate-fails"]
    again = replace(
        here,
        summary="another",
        environment={"interop": "9.9", "unix_time": 1},
        findings=tuple(
            replace(f, what=f"{f.what}, otherwise", level=Level.NOTE) for f in here.findings
        ),
    )
    assert fingerprints(again) == fingerprints(here)
    assert len(set(fingerprints(here))) == len(fingerprints(here)) == 7


def test_a_fingerprint_is_the_same_on_another_machine() -> None:
    def at(path: str) -> list[str]:
        given = (Input("candidate", path, ""),)
        found = (lacking(place=path), lacking(place="fc.weight"))
        return fingerprints(Report("gate", Answer.NO, "", inputs=given, findings=found))

    assert at("/home/a/b.pth") == at("/srv/builds/17/b.pth")
    assert not set(at("b.pth")) & set(at("c.pth"))
    assert len(set(at("b.pth"))) == 2


def test_one_finding_less_leaves_the_others_theirs() -> None:
    here = REPORTS["gate-fails"]
    fewer = replace(here, findings=tuple(f for f in here.findings if f.facts.get("batch") != 1))
    assert set(fingerprints(fewer)) < set(fingerprints(here))


# ---------------------------------------------------------------- the rest


def test_what_is_waived_is_suppressed_with_its_reason() -> None:
    results = {r["ruleId"]: r for r in run(REPORTS["gate-fails"])["results"]}
    assert results["size-over-budget"]["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "until the pruned one is trained (until 2030-01-01)",
        }
    ]
    assert all("suppressions" not in r for n, r in results.items() if n != "size-over-budget")


def test_what_was_skipped_is_a_notice_of_the_run() -> None:
    skipped = (Skipped("tensor-not-finite", "needs values"), Skipped("A openvino", "is not there"))
    invocation = run(Report("bench", Answer.YES, "", skipped=skipped))["invocations"][0]
    first, second = invocation["toolConfigurationNotifications"]
    assert first["associatedRule"] == {"id": "tensor-not-finite", "index": 0}
    assert "associatedRule" not in second and "A openvino" in second["message"]["text"]


@pytest.mark.parametrize("name", REPORTS)
def test_the_run_holds_the_verdict(name: str) -> None:
    found, report = run(REPORTS[name]), REPORTS[name]
    assert found["invocations"][0]["exitCode"] == report.exit_code
    assert found["properties"]["outcome"] == str(report.outcome)


def test_hostile_names_are_neither_links_nor_placeholders_nor_controls() -> None:
    document = log(REPORTS["hostile"])
    said = list(texts(document))
    assert not any(set(t) & set("\x00\x1b\x9b\u202e\ud800\udc80") for t in said)
    messages = [r["message"]["text"] for r in document["runs"][0]["results"]]
    assert all("@octocat" in m for m in messages)
    assert not any("[l](" in m or "{0}" in m.replace("{{0}}", "") for m in messages)
    # What is tested for is there in the text itself.
    assert "[l](" in HOSTILE and "{0}" in HOSTILE
