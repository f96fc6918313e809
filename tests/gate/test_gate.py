"""The gate judges: pass, fail or inconclusive, and evidence of something else is no evidence."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import PROOFS, Answer, Input, Level, Measurement, Proof, Report, Unreadable
from interop.facts.sections.bench import BenchSection
from interop.gate import evidence, gate, refuse
from interop.policy.policy import Policy
from interop.rules import all_rules


def hashes(checked: Report) -> list[str]:
    return [i.facts["content_sha256"] for i in checked.inputs]


def exported(sha: str | None, **parts: Any) -> Report:
    holds = parts.pop("holds", True)
    proofs = tuple(Proof(n, holds or n != "parity", "what was seen") for n in PROOFS)
    given = Input("checkpoint", "candidate.pth", "", {"content_sha256": sha})
    return Report("export", Answer.YES, "", inputs=(given,), proofs=proofs, **parts)


def benched(a: str, b: str, *measured: Measurement, device: str = "cpu") -> Report:
    given = (
        Input("A", "a.pth", "", {"content_sha256": a}),
        Input("B", "b.pth", "", {"content_sha256": b}),
        Input("data", "heldout", ""),
    )
    return Report(
        "bench",
        Answer.YES,
        "",
        inputs=given,
        measurements=measured,
        details=BenchSection(device=device),
    )


def called(report: Report, *roles: str) -> Report:
    named = [replace(i, role=r) for i, r in zip(report.inputs, roles, strict=False)]
    return replace(report, inputs=(*named, *report.inputs[len(roles) :]))


def change(points: float, p: float = 0.01) -> Measurement:
    conditions = {"between": "models", "mcnemar_p": p}
    return Measurement("accuracy change", "points", points / 100, conditions=conditions)


def ratio(low: float, high: float) -> Measurement:
    conditions = {"between": "models", "batch": 1}
    return Measurement("latency ratio", "ratio", (low + high) / 2, (low, high), (), conditions)


def test_without_demands_the_files_decide(good: Report) -> None:
    made = gate(Policy(), [good])
    assert (made.outcome, made.exit_code) == (Answer.YES, 0)
    assert [v.intent for v in made.verdicts] == ["replace"]
    assert [i.role for i in made.inputs] == ["baseline", "candidate"]


def test_permuted_labels_fail_and_need_no_evidence(digits: Path, derived: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", derived / "relabelled.pth", CheckOptions(content_hash=True)
    )
    made = gate(Policy(export=True, bench=True), [checked])
    assert made.exit_code == 1
    assert made.summary.startswith("label-order-changed: 9 of 10")
    assert {f.rule for f in made.findings} == {"label-order-changed"}
    assert made.details.evidence["bench"] == "not needed: the files themselves decide"


def test_faults_of_other_intents_do_not_decide(digits: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", digits / "squeezenet.pth", CheckOptions(content_hash=True)
    )
    made = gate(Policy(), [checked])
    assert made.exit_code == 0 and made.findings == ()
    assert "backbone-mismatch (transfer)" in made.details.other_intents


def test_unknown_labels_are_inconclusive_and_never_a_pass(digits: Path, derived: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", derived / "plain.pth", CheckOptions(content_hash=True)
    )
    assert gate(Policy(), [checked]).exit_code == 3
    off = Policy(levels={"labels-unknown": Level.OFF, "preprocessing-unknown": Level.OFF})
    assert gate(off, [checked]).exit_code == 3
    raised = Policy(levels={"labels-unknown": Level.ERROR})
    assert gate(raised, [checked]).exit_code == 1


def test_missing_evidence_is_inconclusive(good: Report) -> None:
    policy = Policy(export=True, bench=True, budgets={"accuracy-drop": 1.0})
    made = gate(policy, [good])
    assert made.exit_code == 3
    assert made.summary == "evidence-missing: export: the policy asks for it (evidence.export)"
    assert set(evidence.lacking(policy, [good], now=time.time())) == {"export", "bench"}


def test_good_evidence_passes_and_bad_evidence_fails(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(export=True, bench=True, budgets={"accuracy-drop": 1.0})
    reports = [good, exported(b), benched(a, b, change(-0.5))]
    assert gate(policy, reports).exit_code == 0
    reports = [good, exported(b), benched(a, b, change(-1.5))]
    made = gate(policy, reports)
    assert made.exit_code == 1 and made.summary.startswith("accuracy-drop: top-1 fell by 1.50")
    reports = [good, exported(b, holds=False), benched(a, b, change(0))]
    assert gate(policy, reports).summary.startswith("output-drift")


@pytest.mark.parametrize(
    "kind",
    [
        "of another file",
        "the wrong way round",
        "of one model",
        "on a GPU",
        "of swapped roles",
        "of a role that is none",
    ],
)
def test_foreign_evidence_is_never_a_pass(good: Report, kind: str) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"accuracy-drop": 1.0})
    foreign = {
        "of another file": benched(a, "0" * 64, change(0)),
        "the wrong way round": benched(b, a, change(0)),
        "of one model": replace(benched(a, b, change(0)), inputs=benched(a, b).inputs[1:]),
        "on a GPU": benched(a, b, change(0), device="cuda"),
        "of swapped roles": called(benched(a, b, change(0)), "B", "A"),
        "of a role that is none": called(benched(a, b, change(0)), "A", "C"),
    }[kind]
    made = gate(policy, [good, foreign])
    assert made.exit_code == 3
    assert made.findings[0].rule == "evidence-foreign"


def test_a_report_without_the_judged_figure_is_no_evidence(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"latency-ratio": 1.2})
    made = gate(policy, [good, benched(a, b, change(0))])
    assert made.exit_code == 3 and "no 'latency ratio'" in made.summary


def test_latency_is_judged_by_its_whole_interval(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"latency-ratio": 1.2})
    assert gate(policy, [good, benched(a, b, ratio(1.3, 1.5))]).exit_code == 1
    assert gate(policy, [good, benched(a, b, ratio(1.1, 1.5))]).exit_code == 0


def test_a_host_too_noisy_for_the_budget_is_inconclusive(good: Report) -> None:
    a, b = hashes(good)
    noise = Measurement(
        "latency noise", "ratio", 1.0, (0.7, 1.4), (), {"between": "runs", "batch": 1}
    )
    reports = [good, benched(a, b, change(0), ratio(0.9, 1.1), noise)]
    assert gate(Policy(bench=True, budgets={"latency-ratio": 1.2}), reports).exit_code == 3
    assert gate(Policy(bench=True, budgets={"accuracy-drop": 1.0}), reports).exit_code == 0
    # Stalls that hit both lanes alike leave the noise ratio at one; the spread tells.
    conditions = {"between": "runs", "batch": 1, "of": "A pytorch", "p90": 40.0}
    stalled = Measurement("latency", "ms", 10.0, None, (), conditions)
    reports = [good, benched(a, b, change(0), ratio(0.9, 1.1), stalled)]
    assert gate(Policy(bench=True, budgets={"latency-ratio": 1.2}), reports).exit_code == 3


def test_an_unreadable_candidate_fails() -> None:
    for rule in ("file-truncated", "file-unrecognised"):
        made = refuse(Policy(), Unreadable("candidate.pth", rule, "cut off", "save it again"))
        assert made.exit_code == 1
        assert [f.rule for f in made.findings] == [rule]


def test_every_budget_has_its_rule() -> None:
    from interop.policy.policy import BUDGETS

    source = " ".join(str(e.check.__code__.co_consts) for e in all_rules().values())
    for budget in BUDGETS:
        assert f"'{budget}'" in source


def test_every_budget_but_those_of_files_asks_for_a_bench() -> None:
    from interop.policy.keys import BUDGETS, MEASURED

    assert set(BUDGETS) - set(MEASURED) == {"size-mb", "opset-min", "opset-max"}


def test_evidence_of_other_data_is_foreign(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"accuracy-drop": 1.0}, data_sha256="1" * 64)
    assert gate(policy, [good, benched(a, b, change(0))]).findings[0].rule == "evidence-foreign"


def test_too_few_samples_are_inconclusive_unless_switched_off(good: Report) -> None:
    a, b = hashes(good)
    conditions = {"between": "models"}
    few = Measurement("negative flips", "share", 0.0, (0.0, 0.66), (), conditions)
    policy = Policy(bench=True, budgets={"negative-flips": 2.0})
    made = gate(policy, [good, benched(a, b, few)])
    assert made.exit_code == 3 and made.summary.startswith("evidence-weak")
    off = replace(policy, levels={"evidence-weak": Level.OFF})
    assert gate(off, [good, benched(a, b, few)]).exit_code == 0
