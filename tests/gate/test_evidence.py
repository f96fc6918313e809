"""Evidence counts if it is of these files and young enough; a bundle, if its bytes are proved."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from interop.check import check
from interop.facts import Finding, Intent, Level, Report
from interop.gate import gate
from interop.gate.bundle import sealed
from interop.gate.policy import Policy
from tests.gate.test_gate import benched, change, exported, hashes

NOW = 1_900_000_000.0
DAY = 86400.0


@pytest.fixture(scope="module")
def good(digits: Path, derived: Path) -> Report:
    return check(digits / "shufflenet.pth", derived / "retrained.pth", content_hash=True)


def handed(report: Report, made: Any) -> Report:
    environment = {} if made is None else {"unix_time": made}
    details = {**report.details, "evidence_file": "bench.json"}
    return replace(report, environment=environment, details=details)


@pytest.mark.parametrize(
    ("made", "code", "said"),
    [
        (NOW - 13 * DAY, 0, ""),
        (NOW - 15 * DAY, 3, "made 15 days ago, 14 days allowed"),
        (None, 3, "does not say when it was made"),
        ("yesterday", 3, "does not say when it was made"),
        (NOW + DAY, 3, "made in the future"),
    ],
)
def test_old_and_undated_evidence_is_stale(good: Report, made: Any, code: int, said: str) -> None:
    policy = Policy(bench=True, max_age=14 * DAY)
    a, b = hashes(good)
    report = handed(benched(a, b, change(0)), made)
    judged = gate(policy, [good, report], now=NOW)
    assert judged.exit_code == code and said in judged.summary
    assert [f.rule for f in judged.findings] == ["evidence-stale"] * (code == 3)
    assert gate(replace(policy, max_age=None), [good, report], now=NOW).exit_code == 0
    fresh = handed(benched(a, b, change(0)), NOW - DAY)
    assert gate(policy, [good, report, fresh], now=NOW).exit_code == 0, "one that counts is enough"


def test_evidence_is_needed_whatever_the_intent(good: Report) -> None:
    for intent in Intent:
        assert gate(Policy(intent=intent, bench=True), [good]).exit_code == 3, intent


def test_a_check_made_elsewhere_adds_its_findings(good: Report) -> None:
    policy = Policy(check=True, values=False)
    assert gate(policy, [good]).summary.startswith("evidence-missing: check")
    poor = handed(good, NOW)
    assert "compares no values" in gate(policy, [good, poor]).summary
    full = replace(poor, details={**poor.details, "values": {"sentence": "all moved"}})
    assert gate(policy, [good, full]).exit_code == 0
    nan = Finding("tensor-not-finite", Level.ERROR, (Intent.REPLACE,), full.outcome, "fc.weight")
    made = gate(policy, [good, replace(full, findings=(nan,))])
    assert made.exit_code == 1 and made.summary == "tensor-not-finite: fc.weight"
    other = replace(full, inputs=(full.inputs[1], full.inputs[0]))
    assert gate(policy, [good, other]).findings[0].rule == "evidence-foreign"


def test_an_export_that_failed_is_no_pass_even_without_a_proof(good: Report) -> None:
    _, b = hashes(good)
    fault = Finding("graph-invalid", Level.ERROR, (), good.outcome, "no graph came of it")
    report = replace(exported(b), findings=(fault,))
    assert gate(Policy(export=True), [good, report]).exit_code == 1
    assert gate(Policy(export=True), [good, exported(b)]).exit_code == 0


def test_the_same_bytes_need_no_evidence_and_nothing_that_no_file_states(
    derived: Path, tmp_path: Path
) -> None:
    plain = derived / "plain.pth"
    checked = check(plain, plain, content_hash=True)
    made = gate(Policy(bench=True, export=True), [checked])
    assert made.exit_code == 0 and made.summary.startswith("unchanged")
    assert made.verdicts[0].answer == "yes"
    apart = replace(
        checked.inputs[1], facts={**checked.inputs[1].facts, "labels": {"names": ["a"]}}
    )
    other = replace(checked, inputs=(checked.inputs[0], apart))
    assert gate(Policy(), [other]).exit_code == 3, "the same weights under other labels"


def bundle(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "config.json").write_text("{}")
    files = {p.name: sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    (folder / "interop.json").write_text(json.dumps({"schema": 1, "files": files}))
    return folder


def test_a_bundle_whose_bytes_changed_fails(good: Report, tmp_path: Path) -> None:
    place = bundle(tmp_path / "b")
    proof = sealed(str(place))
    assert proof is not None and proof.holds
    assert gate(Policy(), [good], sealed=proof).exit_code == 0
    (place / "config.json").write_text("{ }")
    proof = sealed(str(place))
    assert proof is not None and not proof.holds
    made = gate(Policy(bench=True), [good], sealed=proof)
    assert made.exit_code == 1
    assert made.summary == (
        "bundle-changed: config.json has other bytes than when it was proved"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: (p / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda p: (p / "interop.json").write_text("{}"), "is no receipt"),
        (lambda p: (p / "interop.json").write_text("no"), "is no receipt"),
        (lambda p: (p / "interop.json").write_text('{"files": {"../a": "b"}}'), "no plain name"),
        (lambda p: (p / "model.onnx").write_bytes(b""), "cannot be read"),
    ],
)
def test_a_broken_receipt_is_no_proof(tmp_path: Path, change: Any, said: str) -> None:
    place = bundle(tmp_path / "b")
    change(place)
    proof = sealed(str(place))
    assert proof is not None and not proof.holds and said in proof.what


def test_what_is_no_bundle_has_no_seal(tmp_path: Path, derived: Path) -> None:
    assert sealed(str(tmp_path)) is None
    assert sealed(str(derived / "plain.pth")) is None
