"""A policy and the Reports of check, export and bench -> one Report: pass, fail or inconclusive.

Pure: what the policy still lacks is made by `interop.api`, which hands the Reports in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple, Self

from interop.check.verdicts import breaking
from interop.facts import (
    Answer,
    Case,
    EvidenceGap,
    Finding,
    Input,
    InputRole,
    Level,
    Measurement,
    Proof,
    Report,
    Unreadable,
    Verdict,
)
from interop.facts.sections.gate import GateSection, WaiverUse
from interop.gate import evidence
from interop.gate.budget_metrics import derived, finite, of_files
from interop.gate.measured_inputs import RULE as MEASURED_RULE
from interop.gate.measured_inputs import Handed
from interop.policy import waivers
from interop.policy.policy import Policy
from interop.records import replace
from interop.rules import all_rules, finding, run

_WEIGHT = (Level.ERROR, Level.WARN, Level.NOTE, Level.OFF)

# What says that an export failed, by its rule.
_OF_EXPORT = ("loaded-fraction-low", "onnx-weights-differ", "output-drift", "comparison-blind",
              "graph-invalid")  # fmt: skip


# What is missing, by command -> the reports that can be made of it here.
Make = Callable[[Mapping[str, EvidenceGap]], Sequence[Report]]


def gate(
    policy: Policy,
    reports: Sequence[Report],
    *,
    sealed: Proof | None = None,
    unchanged: bool = False,
    now: float | None = None,
    make: Make | None = None,
    unmade: str = "",
) -> Report:
    """Judge a candidate by a policy.

    `reports` holds the check of baseline against candidate, made here with content hashes, and the
    reports that were handed in (`file` says where from) or made for it. A
    report of other files, or an older one than the policy allows, counts as lacking: it is never
    judged. `sealed` is the proof that a bundle's files are those of its receipt. `unchanged` says
    that the candidate is the baseline byte for byte: then nothing has to be shown of a change, and
    what no file states is the same for both. `now` is the time by which ages count (seconds since
    1970; the clock's by default). `make` makes what is lacking, where nothing that is there fails
    the candidate already; `unmade` says why it makes none.
    """
    now = time.time() if now is None else now
    checked = evidence.own_check(reports)
    unchanged = unchanged or _same(checked)
    fed = Handed() if unchanged else Handed.of(policy, reports, checked, now)
    contradictions = fed.findings(policy, checked)
    own = _own(policy, checked, reports, now, unchanged, contradictions)
    standing, _ = waivers.apply(own, policy.waivers, _day(now))
    verdict = _verdict(policy, checked, standing, unchanged)
    decided = breaking(standing, policy.intent)
    failed = decided is not None and decided[0] is Answer.NO
    failed = failed or (sealed is not None and not sealed.holds)
    # Evidence can only add faults: where the files decide already, none is missed.
    needed = not failed and not unchanged
    shown = _Evidence.of(policy, reports, checked, sealed, own, now, needed, unmade)
    outcome, why = _judge(policy, shown.found, verdict, unchanged)
    open_still = shown.missing and outcome is not Answer.NO
    if make is not None and open_still and (more := make(shown.missing)):
        reports = [*reports, *more]
        shown = _Evidence.of(policy, reports, checked, sealed, own, now, needed, unmade)
        outcome, why = _judge(policy, shown.found, verdict, unchanged)
    shown.found.sort(key=lambda f: _WEIGHT.index(f.level))  # the gravest first, whoever made it
    others = [f for f in shown.found if f.breaks and policy.intent not in f.breaks]
    return Report(
        command="gate",
        outcome=outcome,
        summary=why,
        inputs=_named(checked.inputs),
        verdicts=(verdict,),
        findings=tuple(f for f in shown.found if not f.breaks or policy.intent in f.breaks),
        proofs=shown.proofs,
        measurements=tuple(m for m in shown.measured if _shown(m, policy)),
        skipped=checked.skipped,
        details=GateSection(
            intent=policy.intent,
            policy=policy.source,
            evidence={
                **_sources(policy, checked, shown, unchanged),
                **({"inspect": said} if (said := fed.said(contradictions)) else {}),
            },
            waivers=shown.waived,
            other_intents=tuple(f"{f.rule} ({', '.join(f.breaks)})" for f in others),
        ),
    )


class _Evidence(NamedTuple):
    """What the reports of export and bench show of a candidate: what is `missing` of them, and all
    findings that count, those of the files included."""

    missing: Mapping[str, EvidenceGap]
    exported: Sequence[Report]
    benched: Sequence[Report]
    proofs: tuple[Proof, ...]
    measured: tuple[Measurement, ...]
    found: list[Finding]
    waived: tuple[WaiverUse, ...]

    @classmethod
    def of(
        cls,
        policy: Policy,
        reports: Sequence[Report],
        checked: Report,
        sealed: Proof | None,
        own: Sequence[Finding],
        now: float,
        needed: bool,
        unmade: str,
    ) -> Self:
        missing = evidence.lacking(policy, reports, now, unmade) if needed else {}
        exported, benched = (
            evidence.taken(policy, reports, command, missing, now) if needed else ()
            for command in ("export", "bench")
        )
        proofs = (*([sealed] if sealed else []), *(p for r in exported for p in r.proofs))
        figures = (m for r in benched for m in derived(r, policy) if finite(m))
        measured = (*of_files(checked, exported), *figures)
        case = Case(proofs=proofs, measurements=measured, budgets=policy.budgets, lacking=missing)
        every = [*own, *_budgets(policy, case, exported)]
        findings, waived = waivers.apply(every, policy.waivers, _day(now))
        return cls(missing, exported, benched, proofs, measured, findings, waived)


def refuse(policy: Policy, unreadable: Unreadable) -> Report:
    """The gate's answer to a candidate that cannot be read: it fails."""
    findings, _ = run(Case(unreadable=(unreadable,)), policy.levels)
    return Report(
        command="gate",
        outcome=Answer.NO,
        summary=f"{unreadable.path}: {unreadable.what}",
        inputs=(Input(InputRole.CANDIDATE, unreadable.path, "unreadable"),),
        findings=findings,
        details=GateSection(intent=policy.intent, policy=policy.source),
    )


# ---------------------------------------------------------------- the findings


def _own(
    policy: Policy,
    checked: Report,
    reports: Sequence[Report],
    now: float,
    unchanged: bool,
    measured: Sequence[Finding],
) -> list[Finding]:
    """What the files themselves show: here, in a check that was made elsewhere, and as `measured`
    with inputs."""
    findings = list(checked.findings)
    known = {(f.rule, f.what) for f in findings}
    for report in reports:
        handed = report.command == "check" and report is not checked
        if handed and not evidence.fault(policy, report, checked, now):
            findings += [f for f in report.findings if (f.rule, f.what) not in known]
    findings = [replace(f, level=policy.levels.get(f.rule, f.level)) for f in findings]
    if measured:  # in place of what the files alone make likely
        findings = [f for f in findings if f.rule != MEASURED_RULE] + list(measured)
    return [_settled(f) for f in findings] if unchanged else findings


def _settled(finding: Finding) -> Finding:
    """What no file states is nothing to hold against a file that did not change."""
    if finding.answer is not Answer.UNKNOWN:
        return finding
    text = f"{finding.what}; the candidate is the baseline, byte for byte"
    return replace(finding, level=Level.NOTE, breaks=(), what=text)


def _budgets(policy: Policy, case: Case, exported: Sequence[Report]) -> list[Finding]:
    """What proofs, measurements and missing evidence show; it counts whatever the intent is."""
    findings = list(run(case, policy.levels)[0])
    known = {f.rule for f in findings}
    for failure in (f for r in exported for f in r.findings):
        if failure.level is Level.ERROR and failure.rule not in known:
            findings.append(replace(failure, level=policy.levels.get(failure.rule, failure.level)))
    findings += _unproved(exported, findings)
    return [replace(f, breaks=(policy.intent,)) for f in findings]


def _unproved(exported: Sequence[Report], findings: Sequence[Finding]) -> Iterator[Finding]:
    """What an export failed at and no finding tells: its rule is switched off, or none is of it."""
    why = next((w for r in exported if (w := evidence.failed(r))), "")
    if why and not any(f.rule in _OF_EXPORT and f.level is Level.ERROR for f in findings):
        yield finding(all_rules()["graph-invalid"].rule, f"the export is no proof: {why}")


def _verdict(
    policy: Policy, checked: Report, standing: Sequence[Finding], unchanged: bool
) -> Verdict:
    """The answer to the policy's question by the files alone, after levels and waivers."""
    was = next(v for v in checked.verdicts if v.intent is policy.intent)
    if decided := breaking(standing, policy.intent):
        answer, finding = decided
        return Verdict(policy.intent, answer, finding.what)
    if unchanged:
        return Verdict(policy.intent, Answer.YES, "the candidate is the baseline, byte for byte")
    if was.answer in (Answer.YES, Answer.NA):
        return was
    return Verdict(policy.intent, Answer.YES, "what stands against it is waived, or switched off")


def _judge(
    policy: Policy, findings: Sequence[Finding], verdict: Verdict, unchanged: bool
) -> tuple[Answer, str]:
    if decided := breaking(findings, policy.intent):
        answer, finding = decided
        return answer, f"{finding.rule}: {finding.what}"
    if verdict.answer is Answer.NA:
        return Answer.UNKNOWN, f"{policy.intent} has no meaning here: {verdict.why}"
    if unchanged:
        return Answer.YES, "unchanged: the candidate is the baseline, byte for byte"
    condition = ", within the budgets of the policy" if policy.budgets else ""
    return Answer.YES, f"{policy.intent} holds{condition}"


# ---------------------------------------------------------------- what is shown


def _same(checked: Report) -> bool:
    """Whether the two models are one by their content, every part of their folders included, and
    all that is known of them is the same."""
    a, b = (i.facts for i in checked.inputs)
    whole = a.get("content_sha256") is not None
    whole = whole and (not a.get("parts") or a.get("parts_sha256") is not None)
    return whole and a == b


def _shown(m: Measurement, policy: Policy) -> bool:
    conditions = m.conditions
    if m.name in ("opset", "peak memory"):
        budget = "opset" if m.name == "opset" else "peak-memory-mb"
        return any(b.startswith(budget) for b in policy.budgets) and conditions.get("model") != "A"
    if m.name == "input divergence":
        return conditions.get("model") != "A"
    return m.name in ("file size", "providers not allowed") or conditions.get("between") == "models"


def _named(inputs: Sequence[Input]) -> tuple[Input, ...]:
    roles: dict[str, str] = {InputRole.A: InputRole.BASELINE, InputRole.B: InputRole.CANDIDATE}
    return tuple(replace(i, role=roles.get(i.role, i.role)) for i in inputs)


def _sources(policy: Policy, checked: Report, shown: _Evidence, unchanged: bool) -> dict[str, str]:
    """Where the evidence of each command came from, or why there is none."""
    asked = evidence.wanted(policy, checked)
    sources: dict[str, str] = {}
    for command, reports in (("export", shown.exported), ("bench", shown.benched)):
        if not asked[command]:
            sources[command] = "not asked for by the policy"
        elif reports:
            files = [where for r in reports if (where := r.file)]
            taken = [f"taken from {', '.join(files)}"] if files else []
            sources[command] = "; ".join([*taken, *["run here"] * (len(files) < len(reports))])
        elif unchanged:
            sources[command] = "not needed: the candidate is the baseline, byte for byte"
        elif (gap := shown.missing.get(command)) is not None:
            sources[command] = f"{gap.kind}: {gap.why}"
        else:
            sources[command] = "not needed: the files themselves decide"
    return sources


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()
