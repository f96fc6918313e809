"""Evidence counts if it is of these files and young enough; a bundle, if its bytes are proved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import PROOFS, Answer, Finding, Intent, Level, Measurement, Proof, Report
from interop.facts.sections.check import ValueComparison
from interop.facts.sections.export import ExportSection
from interop.gate import gate
from interop.gate.bundle import lost, sealed
from interop.policy.policy import Policy
from tests.gate.test_gate import benched, change, exported, hashes, ratio

NOW = 1_900_000_000.0
DAY = 86400.0


def handed(report: Report, made: Any) -> Report:
    environment = {} if made is None else {"unix_time": made}
    return replace(report, environment=environment, file="bench.json")


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
    values = ValueComparison(
        sentence="all moved", compared=1, equal=0, counters_moved=0, not_compared=(), moved=(),
        renamed=(),
    )  # fmt: skip
    full = replace(poor, details=replace(poor.details, values=values))
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
    checked = check(plain, plain, CheckOptions(content_hash=True))
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
        (lambda p: (p / "interop.json").write_text('{"files":' + "[" * 100_000), "is no receipt"),
        (
            lambda p: (p / "interop.json").write_text('{"files": {"%s": "b"}}' % ("x" * 300)),
            "is missing",
        ),
        (lambda p: (p / "interop.json").write_text('{"files": {"../a": "b"}}'), "not a plain path"),
        (lambda p: (p / "model.onnx").write_bytes(b""), "cannot be read"),
    ],
)
def test_a_broken_receipt_is_no_proof(tmp_path: Path, change: Any, said: str) -> None:
    place = bundle(tmp_path / "b")
    change(place)
    proof = sealed(str(place))
    assert proof is not None and not proof.holds and said in proof.what


def test_a_folder_that_lost_its_receipt_is_no_pass(
    digits: Path, derived: Path, tmp_path: Path
) -> None:
    """Where a bundle stood; and wherever the graph has its weights in model.safetensors."""
    import onnx
    from safetensors.torch import save_file

    from interop.gate.candidate import ModelPath, judge
    from tests.gate.test_repository import external

    def folder(name: str, weights: Path) -> Path:
        place = tmp_path / name
        place.mkdir()
        shutil.copy(weights, place / "digits.pth")
        return place

    before, after = (folder(n, derived / "retrained.pth") for n in ("before", "after"))
    policy = Policy(values=False)

    def judged(a: Path, b: Path) -> Report:
        return judge(ModelPath(str(b)), ModelPath(str(a)), policy)

    assert judged(before, after).exit_code == 0, "neither is a bundle"
    files = {"digits.pth": sha256((before / "digits.pth").read_bytes()).hexdigest()}
    (before / "interop.json").write_text(json.dumps({"schema": 1, "files": files}))
    made = judged(before, after)
    assert made.exit_code == 1 and made.findings[0].rule == "bundle-changed", "the gravest first"
    assert made.summary.startswith("bundle-changed: interop.json is missing: the baseline is a")
    shutil.copy(before / "interop.json", after)
    assert judged(before, after).exit_code == 0
    # A single file has no receipt of its own.
    assert judged(before, after / "digits.pth").exit_code == 0

    like = tmp_path / "like"
    like.mkdir()
    external(like / "model.onnx", 0, "w.bin")
    import torch

    save_file({"w": torch.eye(4)}, like / "model.safetensors")
    assert lost(str(like), "") is None, "weights of its own"
    graph = onnx.load(like / "model.onnx", load_external_data=False)
    for entry in graph.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "model.safetensors"
    onnx.save(graph, like / "model.onnx")
    proof = lost(str(like), "")
    assert proof is not None and not proof.holds and "as a bundle's has" in proof.what
    (like / "interop.json").write_text("{}")
    assert lost(str(like), "") is None


def test_what_is_no_bundle_has_no_seal(tmp_path: Path, derived: Path) -> None:
    assert sealed(str(tmp_path)) is None
    assert sealed(str(derived / "plain.pth")) is None


NAN = float("nan")
BETWEEN = {"between": "models"}


@pytest.mark.parametrize("value", [None, NAN, float("inf")])
@pytest.mark.parametrize("lost", ["value", "interval"])
def test_a_budget_on_a_figure_without_a_value_is_missing_evidence(
    good: Report, value: Any, lost: str
) -> None:
    a, b = hashes(good)
    names = {"accuracy-drop": "accuracy change", "negative-flips": "negative flips",
             "agreement": "agreement", "latency-ratio": "latency ratio"}  # fmt: skip
    for budget, name in names.items():
        figure = 0.0 if budget in ("accuracy-drop", "negative-flips") else 1.0
        sound = Measurement(name, "share", figure, (figure, figure), (), BETWEEN)
        policy = Policy(bench=True, budgets={budget: 1.0})
        assert gate(policy, [good, benched(a, b, sound)]).exit_code == 0, budget
        if lost == "value":
            poor = replace(sound, value=value)
        else:
            poor = replace(sound, interval=(NAN if value is None else value, figure))
        for reports in ((poor,), (sound, poor), (poor, sound)):
            made = gate(policy, [good, benched(a, b, *reports)])
            assert made.exit_code == 3 and f"{name!r}, for the budget" in made.summary


def test_ratios_of_sides_without_a_value_are_missing_evidence(good: Report) -> None:
    a, b = hashes(good)

    def side(name: str, model: str, value: Any, batch: int) -> Measurement:
        told = {"model": model, "runtime": "onnxruntime", "batch": batch}
        return Measurement(name, "per second", value, None, (), told)

    policy = Policy(bench=True, budgets={"throughput-ratio": 0.9})
    whole = [side("throughput", m, 100.0, 1) for m in "AB"]
    assert gate(policy, [good, benched(a, b, *whole)]).exit_code == 0
    for value in (None, NAN, 0.0):
        poor = [side("throughput", "A", 100.0, 8), side("throughput", "B", value, 8)]
        assert gate(policy, [good, benched(a, b, *whole, *poor)]).exit_code == 3
    memory = Policy(bench=True, budgets={"peak-memory-mb": 1e3})
    assert gate(memory, [good, benched(a, b, side("peak memory", "B", 1e6, 1))]).exit_code == 0
    assert gate(memory, [good, benched(a, b, side("peak memory", "B", NAN, 1))]).exit_code == 3
    unjudged = replace(change(0), conditions={"model": "B"})
    drop = Policy(bench=True, budgets={"accuracy-drop": 1.0})
    assert gate(drop, [good, benched(a, b, unjudged)]).exit_code == 3, "no rule looks at it"


def test_latency_on_a_host_of_unknown_noise_is_missing_evidence(good: Report) -> None:
    a, b = hashes(good)
    noise = Measurement("latency noise", "ratio", 1.0, (0.9, 1.1), (), {"between": "runs"})
    policy = Policy(bench=True, budgets={"latency-ratio": 1.2})
    assert gate(policy, [good, benched(a, b, ratio(0.9, 1.1), noise)]).exit_code == 0
    unknown = replace(noise, interval=(NAN, NAN))
    made = gate(policy, [good, benched(a, b, ratio(0.9, 1.1), unknown)])
    assert made.exit_code == 3 and "noise of the host" in made.summary
    gone = {"between": "runs", "batch": 1, "of": "A", "p90": None}
    spread = Measurement("latency", "ms", 10.0, None, (), gone)
    assert gate(policy, [good, benched(a, b, ratio(0.9, 1.1), spread)]).exit_code == 0


@pytest.mark.parametrize("lost", PROOFS)
def test_an_export_counts_with_all_its_proofs_alone(good: Report, lost: str) -> None:
    _, b = hashes(good)
    whole = exported(b)
    policy = Policy(export=True)
    poor = replace(whole, proofs=tuple(p for p in whole.proofs if p.name != lost))
    made = gate(policy, [good, poor])
    assert made.exit_code == 3 and f"lacks the proof {lost}" in made.summary
    assert gate(policy, [good, poor, whole]).exit_code == 0
    for reports in ((whole,), (poor,), ()):
        bad = replace(whole, proofs=(*poor.proofs, Proof(lost, False, "what was seen")))
        for order in ((*reports, bad), (bad, *reports)):
            assert gate(policy, [good, *order]).exit_code == 1, lost
    rules = ("output-drift", "loaded-fraction-low", "onnx-weights-differ", "comparison-blind",
             "graph-invalid")  # fmt: skip
    for level in (Level.OFF, Level.NOTE, Level.WARN):
        made = gate(replace(policy, levels=dict.fromkeys(rules, level)), [good, bad])
        assert made.exit_code == 1 and f"{lost} does not hold" in made.summary, level


def test_an_export_whose_outcome_is_not_yes_is_no_pass(good: Report) -> None:
    _, b = hashes(good)
    policy = Policy(export=True)
    said = gate(policy, [good, replace(exported(b), outcome=Answer.NO, summary="no bundle")])
    assert said.exit_code == 1 and "its outcome is no (no bundle)" in said.summary
    unsure = gate(policy, [good, replace(exported(b), outcome=Answer.UNKNOWN)])
    assert unsure.exit_code == 3 and "outcome is unknown" in unsure.summary


def test_of_several_reports_the_worst_counts_in_any_order(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"accuracy-drop": 1.0})
    fine, bad = benched(a, b, change(0)), benched(a, b, change(-5))
    for reports in ([fine, bad], [bad, fine]):
        made = gate(policy, [good, *reports])
        assert made.exit_code == 1 and made.summary.startswith("accuracy-drop")
    both = replace(policy, budgets={"accuracy-drop": 1.0, "latency-ratio": 1.2})
    complete = benched(a, b, change(0), ratio(0.9, 1.1))
    for reports in ([complete, bad], [bad, complete]):
        assert gate(both, [good, *reports]).exit_code == 1, "judged by what it holds"
    assert gate(both, [good, complete, fine]).exit_code == 0
    told = gate(policy, [good, handed(fine, NOW), handed(fine, NOW)]).details.evidence
    assert told["bench"] == "taken from bench.json, bench.json"
    opset = Policy(budgets={"opset-max": 17.0})
    low, high = (exported(b, details=ExportSection(opset=n)) for n in (17, 18))
    for exports in ([low, high], [high, low]):
        assert gate(opset, [good, *exports]).exit_code == 1


def test_agreement_is_judged_by_its_interval(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"agreement": 95.0})
    for value, ends, code in (
        (0.97, (0.955, 0.98), 0),
        (0.97, (0.90, 0.99), 3),
        (0.94, (0.90, 0.99), 1),
    ):
        figure = Measurement("agreement", "share", value, ends, (), BETWEEN)
        made = gate(policy, [good, benched(a, b, figure)])
        assert made.exit_code == code, value
        assert code != 3 or made.summary.startswith("evidence-weak: the two agree on 97.00 %")


@pytest.mark.parametrize("what", ["task", "split"])
def test_evidence_is_of_the_policys_task_and_split(good: Report, what: str) -> None:
    a, b = hashes(good)
    asked = {"task": "regression", "split": "test"}[what]
    plain = benched(a, b, change(0))
    policy = replace(Policy(bench=True), **{what: asked})
    fitting = replace(plain, details=replace(plain.details, **{what: asked}))
    assert gate(policy, [good, fitting]).exit_code == 0
    other = replace(plain, details=replace(plain.details, **{what: "train"}))
    mends = f"does not tell its {what}, the policy asks for {asked}; measure again with interop "
    for report, said, rule in (
        (other, f"of the {what} train", "evidence-foreign"),
        (plain, f"{mends}bench … --{what} {asked}", "evidence-missing"),
    ):
        made = gate(policy, [good, report])
        assert made.exit_code == 3 and said in made.summary
        assert made.findings[0].rule == rule
        assert gate(Policy(bench=True), [good, report]).exit_code == 0
    # Beside one that counts, its figures are left out.
    poor = benched(a, b, change(-50))
    budget = replace(policy, budgets={"accuracy-drop": 1.0})
    assert gate(budget, [good, fitting, poor]).exit_code == 0


def test_a_restore_is_no_export_of_the_candidate(good: Report) -> None:
    _, b = hashes(good)
    report = exported(b)
    back = replace(report, inputs=(replace(report.inputs[0], role="graph"),))
    made = gate(Policy(export=True), [good, back])
    assert made.exit_code == 3 and made.findings[0].rule == "evidence-foreign"
    assert "is of a restore" in made.summary and "interop export CHECKPOINT" in made.summary
    failed = replace(back, outcome=Answer.NO)
    assert gate(Policy(export=True), [good, failed]).exit_code == 3, "no fault of the candidate's"
    assert gate(Policy(export=True), [good, back, report]).exit_code == 0
