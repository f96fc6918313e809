"""A proof of another tool's artefact stands for an export: of the artefact, and of its source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interop.facts import PROOFS, Answer, Input, InputRole, Proof, ProofName, Report
from interop.facts.sections.export import VerifySection
from interop.gate import gate
from interop.policy.policy import Policy
from interop.report.json import read_report, render
from tests.gate.test_gate import hashes
from tests.verify.conftest import Shop, shop  # noqa: F401

POLICY = Policy(export=True)


def verified(artefact: str, source: str, *, holds: bool = True) -> Report:
    names = (*PROOFS, ProofName.INTERFACE)
    return Report(
        "verify",
        Answer.YES if holds else Answer.NO,
        "",
        inputs=(
            Input(InputRole.ARTEFACT, "model.onnx", "", {"content_sha256": artefact}),
            Input(InputRole.SOURCE, "candidate.pth", "", {"content_sha256": source}),
        ),
        proofs=tuple(Proof(n, holds or n != "parity", "what was seen") for n in names),
        details=VerifySection(opset=18),
    )


@pytest.mark.parametrize("place", [0, 1], ids=["the artefact", "the source"])
def test_it_counts_where_either_is_the_candidate(good: Report, place: int) -> None:
    _, candidate = hashes(good)
    pair = ("f" * 64, candidate) if place else (candidate, "f" * 64)
    assert gate(POLICY, [good, verified(*pair)]).exit_code == 0
    assert gate(POLICY, [good, verified(*pair, holds=False)]).exit_code == 1


def test_of_other_files_it_is_no_evidence(good: Report) -> None:
    made = gate(POLICY, [good, verified("e" * 64, "f" * 64)])
    assert made.exit_code == 3
    assert "not of the candidate" in made.summary


def test_one_that_lacks_a_proof_is_not_enough(good: Report) -> None:
    whole = verified(hashes(good)[1], "f" * 64)
    part = replace(whole, proofs=whole.proofs[:-3], outcome=Answer.UNKNOWN)
    assert gate(POLICY, [good, part]).exit_code == 3


def test_of_a_lower_precision_bench_is_asked(good: Report) -> None:
    lower = verified(hashes(good)[1], "f" * 64)
    lower = replace(lower, details=VerifySection(precision="int8"))
    made = gate(POLICY, [good, lower])
    assert made.exit_code == 3 and "lower precision" in made.summary


def test_its_opset_counts_for_a_budget(good: Report) -> None:
    report = verified("f" * 64, hashes(good)[1])
    assert gate(Policy(budgets={"opset-min": 17}), [good, report]).exit_code == 0
    assert gate(Policy(budgets={"opset-min": 19}), [good, report]).exit_code == 1


def test_a_real_report_goes_through_json(shop: Shop, tmp_path) -> None:  # noqa: F811

    report = shop.verify(shop.graph())
    path = tmp_path / "report.json"
    path.write_text(render(report))
    again = read_report(str(path))
    assert again.details == report.details
    assert [i.role for i in again.inputs] == ["artefact", "source"]
