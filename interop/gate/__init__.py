"""A policy and the Reports of check, export and bench -> one Report: pass, fail or inconclusive.

Pure: what the policy still lacks is run by `cli/gate.py`, which hands the Reports in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from interop.check.verdicts import breaking
from interop.facts import Answer, Case, Finding, Input, Json, Measurement, Report, Unreadable
from interop.gate.policy import Policy
from interop.rules import run

__all__ = ["gate", "lacking", "refuse"]


def gate(policy: Policy, reports: Sequence[Report]) -> Report:
    """Judge a candidate by a policy.

    `reports` holds the check of baseline against candidate, made with content hashes, and the
    export and bench reports there are, whoever made them. A report of other files counts as
    lacking: it is never judged.
    """
    checked = next(r for r in reports if r.command == "check")
    missing = lacking(policy, reports)
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
    findings = (*_releveled(checked.findings, policy), *found)
    outcome, why = _judge(policy, findings)
    return Report(
        command="gate",
        outcome=outcome,
        summary=why,
        inputs=_named(checked.inputs),
        verdicts=tuple(v for v in checked.verdicts if v.intent is policy.intent),
        findings=findings,
        proofs=case.proofs,
        measurements=tuple(m for m in measured if m.conditions.get("between") == "models"),
        skipped=checked.skipped,
        details={
            "intent": str(policy.intent),
            "policy": policy.source,
            "evidence": _sources(policy, exported, benched, missing),
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
    checked = next(r for r in reports if r.command == "check")
    a, b = (_content(i) for i in checked.inputs)
    wanted = {"export": {b}} if policy.export else {}
    if policy.bench:
        wanted["bench"] = {a, b}
    missing: dict[str, str] = {}
    for command, hashes in wanted.items():
        there = [r for r in reports if r.command == command]
        if not there:
            missing[command] = f"missing: the policy asks for it ({policy.reason(command)})"
        elif not any(hashes <= {_content(i) for i in r.inputs} for r in there):
            shown = ", ".join(sorted(h[:12] + "…" for h in hashes if h))
            missing[command] = f"foreign: the report is of other files than {shown}"
    return missing


def _content(given: Input) -> str | None:
    found = given.facts.get("content_sha256")
    return found if isinstance(found, str) else None


def _evidence(
    policy: Policy, reports: Sequence[Report], command: str, missing: Mapping[str, str]
) -> Report | None:
    wanted = policy.export if command == "export" else policy.bench
    if not wanted or command in missing:
        return None
    checked = next(r for r in reports if r.command == "check")
    b = _content(checked.inputs[1])
    return next(r for r in reports if r.command == command and b in {_content(i) for i in r.inputs})


def _size(checked: Report) -> tuple[Measurement, ...]:
    size = checked.inputs[1].facts.get("bytes")
    if not isinstance(size, int):
        return ()
    return (
        Measurement(
            "file size", "bytes", size, conditions={"group": "file", "between": "models", "of": "B"}
        ),
    )


def _releveled(findings: Sequence[Finding], policy: Policy) -> list[Finding]:
    return [replace(f, level=policy.levels.get(f.rule, f.level)) for f in findings]


def _judge(policy: Policy, findings: Sequence[Finding]) -> tuple[Answer, str]:
    decided = breaking(findings, policy.intent)
    if decided:
        answer, found = decided
        return answer, f"{found.rule}: {found.what}"
    # An error that breaks another intent alone is told, and does not decide.
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
            shown[command] = missing.get(command, "")
        else:
            where = found.details.get("evidence_file")
            shown[command] = f"taken from {where}" if where else "run here"
    return shown
