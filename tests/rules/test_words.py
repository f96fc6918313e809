"""No verdict depends on words: with every sentence replaced by "x", all decisions stay."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from interop import rules
from interop.check import check
from interop.check.options import CheckOptions
from interop.errors import ReadError
from interop.facts import (
    Answer,
    Case,
    EvidenceGap,
    Finding,
    Input,
    Level,
    PartChange,
    Proof,
    Report,
    Skipped,
    Unreadable,
    Verdict,
)  # fmt: skip
from interop.facts.sections.gate import GateSection
from interop.gate import gate
from interop.gate.candidate import ModelPath, judge
from interop.policy.policy import Policy, Waiver
from interop.report.json import from_json, to_json
from tests.gate.test_gate import benched, change, exported, hashes
from tests.rules import matrix

WORDS = {
    Finding: ("what", "hint"), Skipped: ("why",), EvidenceGap: ("why",), Verdict: ("why",),
    Proof: ("what",), Input: ("summary",), Unreadable: ("what", "fix"), PartChange: ("why",),
    Report: ("summary",),
}  # fmt: skip
PAIRS = sorted(
    half for half in matrix.FIXTURES.glob("*/*")
    if [*half.glob("a.*")] and [*half.glob("b.*")] and not (half / "place").exists()
)  # fmt: skip


def _mutely(original: Any, names: tuple[str, ...]) -> Any:
    def made(self: Any, *args: Any, **named: Any) -> None:
        original(self, *args, **named)
        for name in names:
            if getattr(self, name):
                object.__setattr__(self, name, "x")

    return made


@pytest.fixture
def speechless(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Within it, whatever a finding, a skip or a gap is made of says "x"."""

    def start() -> None:
        for kind, names in WORDS.items():
            original = kind.__init__

            monkeypatch.setattr(kind, "__init__", _mutely(original, names))

    return start


def judged(half: Path, waived: bool) -> list[Any]:
    """What the gate makes of a pair: outcome, exit code, verdicts, findings without their words."""
    policy = Policy()
    if waived:
        rule = half.parent.name
        policy = dataclasses.replace(policy, waivers=(Waiver(rule, "known", date(2999, 1, 1)),))
    (a,), (b,) = half.glob("a.*"), half.glob("b.*")
    try:
        return decided(judge(ModelPath(str(b)), ModelPath(str(a)), policy))
    except ReadError as error:
        return [error.rule]


def decided(report: Report) -> list[Any]:
    return [
        report.outcome, report.exit_code, [(v.intent, v.answer) for v in report.verdicts],
        [(f.rule, f.level, f.breaks, f.answer, f.place) for f in report.findings],
        [w.findings for w in report.section(GateSection).waivers or ()],
    ]  # fmt: skip


def test_the_rules_fire_alike(speechless: Any) -> None:
    was = matrix.lines()
    speechless()
    assert matrix.lines() == was


@pytest.mark.parametrize("waived", [False, True])
def test_the_gate_decides_alike(speechless: Any, waived: bool) -> None:
    was = [judged(half, waived) for half in PAIRS]
    assert len({w[0] for w in was}) > 1
    speechless()
    assert [judged(half, waived) for half in PAIRS] == was


SAID = ("what", "why", "hint", "summary", "sentence", "labels_why")


def _mute(value: Any) -> Any:
    """A report's JSON with its sentences replaced."""
    if isinstance(value, list):
        return [_mute(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {
        k: "x" if k in SAID and isinstance(v, str) and v else v if k == "facts" else _mute(v)
        for k, v in value.items()
    }


NOW, DAY = 1_900_000_000.0, 86400.0
BUDGET = Policy(export=True, bench=True, budgets={"accuracy-drop": 1.0})
POLICIES = {
    "a budget": BUDGET,
    "waived": dataclasses.replace(
        BUDGET,
        waivers=tuple(
            Waiver(rule, "known", date(2999, 1, 1)) for rule in ("accuracy-drop", "output-drift")
        ),
    ),
    "an expired waiver": dataclasses.replace(
        BUDGET, waivers=(Waiver("output-drift", "known", date(2000, 1, 1)),)
    ),
    "nothing too old": dataclasses.replace(BUDGET, max_age=DAY),
    "another device": dataclasses.replace(BUDGET, device="cuda"),
    "another task": dataclasses.replace(BUDGET, task="regression"),
    "values": dataclasses.replace(BUDGET, check=True),
    "another budget": dataclasses.replace(BUDGET, budgets={"latency-ratio": 1.0}),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("points", [0.5, -3.0])
def test_evidence_counts_alike_whatever_it_says(
    digits: Path, derived: Path, holds: bool, points: float, policy: str, speechless: Any
) -> None:
    """Every sentence of the reports that are handed in is replaced; what is decided stays."""
    own = check(
        digits / "shufflenet.pth", derived / "retrained.pth", CheckOptions(content_hash=True)
    )
    one, two = hashes(own)
    handed = [
        dataclasses.replace(report, environment={"unix_time": NOW - age}, file="handed.json")
        for report, age in (
            (exported(two, holds=holds), 0.5 * DAY), (benched(one, two, change(points)), 2 * DAY),
            (exported(one), DAY), (own, DAY),
        )
    ]  # fmt: skip
    mute = [dataclasses.replace(from_json(_mute(to_json(r))), file=r.file) for r in handed]
    assert any(p.what == "x" for r in mute for p in r.proofs)
    assert all(f.what == "x" for r in mute for f in r.findings)
    was = decided(gate(POLICIES[policy], [own, *handed], now=NOW))
    assert decided(gate(POLICIES[policy], [own, *mute], now=NOW)) == was
    if policy == "a budget":
        assert (was[1] == 0) == (holds and points > 0)
    speechless()
    assert decided(gate(POLICIES[policy], [own, *mute], now=NOW)) == was


def test_a_decision_by_words_is_noticed(speechless: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that sorts gaps by what they say changes the matrix."""
    explained = rules._explained

    def by_words(case: Case) -> Any:
        for what, gap in case.lacking.items():
            if gap.why.startswith("made"):
                yield Finding("evidence-stale", Level.WARN, (), Answer.UNKNOWN, what)

    def altered(name: str) -> Any:
        rule = explained(name)
        return dataclasses.replace(rule, check=by_words) if name == "evidence_stale" else rule

    monkeypatch.setattr(rules, "_explained", altered)
    was = matrix.lines()
    speechless()
    assert matrix.lines() != was
