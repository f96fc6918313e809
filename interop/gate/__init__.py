"""A policy and the Reports of check, export and bench -> one Report: pass, fail or inconclusive.

Pure: what the policy still lacks is run by `cli/gate.py`, which hands the Reports in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from interop.check.verdicts import breaking
from interop.facts import Answer, Case, Finding, Input, Json, Measurement, Report, Unreadable
from interop.gate.policy import MEASURED, Policy
from interop.rules import run

__all__ = ["gate", "lacking", "refuse"]


def gate(policy: Policy, reports: Sequence[Report]) -> Report:
    """Judge a candidate by a policy.

    `reports` holds the check of baseline against candidate, made with content hashes, and the
    export and bench reports there are, whoever made them. A report of other files counts as
    lacking: it is never judged.
    """
    checked = next(r for r in reports if r.command == "check")
    own = _releveled(checked.findings, policy)
    decided = breaking(own, policy.intent)
    failed = decided is not None and decided[0] is Answer.NO
    # Evidence can only add faults: where the files decide already, none is missed.
    missing = {} if failed else lacking(policy, reports)
    exported = _evidence(policy, reports, "export", missing)
    benched = _evidence(policy, reports, "bench", missing)
    measured = (*_size(checked), *(benched.measurements if benched else ()))
    case = Case(
        proofs=exported.proofs if exported else (),
        measurements=measured,
        budgets=policy.budgets,
        lacking=missing,
    )
    found, _ = run(case, policy.levels)
    findings = [*own, *found]
    outcome, why = _judge(policy, findings)
    return Report(
        command="gate",
        outcome=outcome,
        summary=why,
        inputs=_named(checked.inputs),
        verdicts=tuple(v for v in checked.verdicts if v.intent is policy.intent),
        findings=tuple(f for f in findings if not f.breaks or policy.intent in f.breaks),
        proofs=case.proofs,
        measurements=tuple(
            m for m in measured if m.name == "file size" or m.conditions.get("between") == "models"
        ),
        skipped=checked.skipped,
        details={
            "intent": str(policy.intent),
            "policy": policy.source,
            "evidence": _sources(policy, exported, benched, missing),
            "other_intents": [
                f"{f.rule} ({', '.join(f.breaks)})"
                for f in findings
                if f.breaks and policy.intent not in f.breaks
            ],
        },
    )


def refuse(policy: Policy, unreadable: Unreadable) -> Report:
    """The gate's answer to a candidate that cannot be read: it fails."""
    findings, _ = run(Case(unreadable=(unreadable,)), policy.levels)
    return Report(
        command="gate",
        outcome=Answer.NO,
        summary=f"{unreadable.path}: {unreadable.what}",
        inputs=(Input("candidate", unreadable.path, "unreadable"),),
        findings=findings,
        details={"intent": str(policy.intent), "policy": policy.source},
    )


def lacking(policy: Policy, reports: Sequence[Report]) -> dict[str, str]:
    """The evidence that the policy asks for and `reports` does not hold, each with the reason."""
    missing: dict[str, str] = {}
    for command, wanted in (("export", policy.export), ("bench", policy.bench)):
        if not wanted:
            continue
        there = [r for r in reports if r.command == command]
        faults = [_fault(policy, r, reports) for r in there]
        if not there:
            missing[command] = f"missing: the policy asks for it ({policy.reason(command)})"
        elif all(faults):
            missing[command] = faults[0]
    return missing


def _fault(policy: Policy, report: Report, reports: Sequence[Report]) -> str:
    """Why a report is no evidence for these two files and this policy; "" where it is."""
    a, b = (_content(i) for i in next(r for r in reports if r.command == "check").inputs)
    # Order counts: a bench of candidate against baseline has every change the wrong way round.
    measured = [_content(i) for i in report.inputs if i.role != "data"]
    if measured != ([b] if report.command == "export" else [a, b]):
        wanted = "the candidate" if report.command == "export" else "the baseline and the candidate"
        return f"foreign: the report is not of {wanted}, by their content hashes"
    if report.command == "bench":
        used = next((i.facts.get("sha256") for i in report.inputs if i.role == "data"), None)
        if policy.data_sha256 is not None and used != policy.data_sha256:
            return f"foreign: measured on other data than the policy's {policy.data}"
        device = report.details.get("device")
        if device != policy.device:
            return f"foreign: measured on {device}, the policy asks for {policy.device}"
        there = {m.name for m in report.measurements if m.conditions.get("between") == "models"}
        for budget, name in MEASURED.items():
            if budget in policy.budgets and name not in there:
                return f"missing: the report holds no {name!r} for the budget {budget}"
    return ""


def _content(given: Input) -> str | None:
    found = given.facts.get("content_sha256")
    return found if isinstance(found, str) else None


def _evidence(
    policy: Policy, reports: Sequence[Report], command: str, missing: Mapping[str, str]
) -> Report | None:
    wanted = policy.export if command == "export" else policy.bench
    if not wanted or command in missing:
        return None
    there = (r for r in reports if r.command == command and not _fault(policy, r, reports))
    return next(there, None)


def _size(checked: Report) -> tuple[Measurement, ...]:
    size = checked.inputs[1].facts.get("bytes")
    if not isinstance(size, int):
        return ()
    return (
        Measurement("file size", "bytes", size, conditions={"group": "file", "of": "candidate"}),
    )


def _releveled(findings: Sequence[Finding], policy: Policy) -> list[Finding]:
    return [replace(f, level=policy.levels.get(f.rule, f.level)) for f in findings]


def _judge(policy: Policy, findings: Sequence[Finding]) -> tuple[Answer, str]:
    decided = breaking(findings, policy.intent)
    if decided:
        answer, found = decided
        return answer, f"{found.rule}: {found.what}"
    return Answer.YES, f"{policy.intent} holds, within the budgets of the policy"


def _named(inputs: Sequence[Input]) -> tuple[Input, ...]:
    roles = {"A": "baseline", "B": "candidate"}
    return tuple(replace(i, role=roles.get(i.role, i.role)) for i in inputs)


def _sources(
    policy: Policy, exported: Report | None, benched: Report | None, missing: Mapping[str, str]
) -> dict[str, Json]:
    shown: dict[str, Json] = {}
    for command, wanted, found in (
        ("export", policy.export, exported),
        ("bench", policy.bench, benched),
    ):
        if not wanted:
            shown[command] = "not asked for by the policy"
        elif found is None:
            shown[command] = missing.get(command, "not needed: the files themselves decide")
        else:
            where = found.details.get("evidence_file")
            shown[command] = f"taken from {where}" if where else "run here"
    return shown
