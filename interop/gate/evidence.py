"""Reports made elsewhere -> which of them count for these two files and this policy, and what is
lacking.

A report is known by the content hashes of the files it is of, never by their paths.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from interop.facts import (
    PROOFS,
    Answer,
    Evidence,
    EvidenceGap,
    GapKind,
    Input,
    InputRole,
    Measurement,
    Report,
)
from interop.facts.sections.bench import BenchSection
from interop.facts.sections.check import CheckSection
from interop.facts.sections.export import VerifySection
from interop.gate.budget_metrics import derived, finite
from interop.policy.keys import MEASURED
from interop.policy.policy import Policy

COMMANDS = ("check", "export", "bench")
ACCEPTED = (*COMMANDS, "inspect", "verify")  # whose reports may be handed in
# Budgets of which the host's noise decides whether they can be judged.
_TIMED = ("latency-ratio", "p99-ratio", "throughput-ratio")
_SKEW = 300.0  # seconds by which two machines' clocks may differ
# Which reason is told where several reports are refused: the nearest to being good.
_ACCEPT = "state it in [facts], or add it to evidence.accept"
_NEAREST = (GapKind.STALE, GapKind.MISSING, GapKind.FOREIGN)


def own_check(reports: Sequence[Report]) -> Report:
    """The check of baseline against candidate that the gate made itself."""
    return next(r for r in reports if r.command == "check" and not r.file)


def wanted(policy: Policy, checked: Report) -> dict[str, bool]:
    """Whether the policy asks for a report of each command, for this pair."""
    opset = any(b.startswith("opset") for b in policy.budgets)
    return {
        "check": policy.check and checked.section(CheckSection).values is None,
        # What opset a checkpoint becomes, only its export tells.
        "export": policy.export or (opset and not checked.inputs[1].facts.get("graph")),
        "bench": policy.bench,
    }


def lacking(
    policy: Policy, reports: Sequence[Report], now: float, unmade: str = ""
) -> dict[str, EvidenceGap]:
    """The evidence that the policy asks for and `reports` does not hold, by command.

    `unmade` says why an export or a bench is not made here.
    """
    missing: dict[str, EvidenceGap] = {}
    checked = own_check(reports)
    for command, asked in wanted(policy, checked).items():
        if not asked:
            continue
        there = [r for r in reports if shows(r) == command and r is not checked]
        faults = [fault(policy, r, checked, now) for r in there]
        if not there:
            why = f"; {unmade}" if unmade and command != "check" else ""
            missing[command] = _missing(f"the policy asks for it ({policy.reason(command)}){why}")
        elif not any(gap is None for gap in faults):
            missing[command] = min(filter(None, faults), key=lambda g: _NEAREST.index(g.kind))
    return missing


def taken(
    policy: Policy, reports: Sequence[Report], command: str, missing: Collection[str], now: float
) -> tuple[Report, ...]:
    """The reports of a command that count, where it is asked for: one is complete, and all others
    of these files are judged with it by what they hold, whatever their order."""
    checked = own_check(reports)
    if command in missing or not wanted(policy, checked)[command]:
        return ()
    there = (r for r in reports if shows(r) == command and r is not checked)
    return tuple(r for r in there if not _foreign(policy, r, checked) and not stale(policy, r, now))


def shows(report: Report) -> str:
    """The command whose evidence a report is: a proof of an artefact against its source stands for
    an export, whatever tool wrote the artefact."""
    if report.command == "verify" and any(i.role == InputRole.ARTEFACT for i in report.inputs):
        return "export"
    return report.command


def failed(exported: Report) -> str:
    """What an export itself says against its candidate; "" where it is none of a failed proof."""
    if bad := [p.name for p in exported.proofs if not p.holds]:
        return f"{bad[0]} does not hold"
    return f"its outcome is no ({exported.summary})" if exported.outcome is Answer.NO else ""


def fault(policy: Policy, report: Report, checked: Report, now: float) -> EvidenceGap | None:
    """Why a report is no evidence for these two files and this policy; None where it is."""
    foreign = _foreign(policy, report, checked)
    unaccepted = _unaccepted(policy, report)
    return foreign or unaccepted or _incomplete(policy, report) or stale(policy, report, now)


def _missing(why: str) -> EvidenceGap:
    return EvidenceGap(GapKind.MISSING, why)


def _of_others(why: str) -> EvidenceGap:
    return EvidenceGap(GapKind.FOREIGN, why)


def _old(why: str) -> EvidenceGap:
    return EvidenceGap(GapKind.STALE, why)


def is_of(report: Report, checked: Report) -> bool:
    """Whether a report is of the files of a check, by their content hashes."""
    a, b = checked.inputs
    given = [i for i in report.inputs if i.role != InputRole.DATA]
    if report.command == "verify":  # the artefact or its source is the candidate
        return any(is_one(one, b) for one in given)
    if report.command == "export":
        return len(given) == 1 and is_one(given[0], b)
    # Order counts: a bench of candidate against baseline has every change the wrong way round, and
    # figures are of "A" and "B" by the role alone.
    if [i.role for i in given] != [InputRole.A, InputRole.B]:
        return False
    return all(is_one(x, y) for x, y in zip(given, (a, b), strict=True))


def _foreign(policy: Policy, report: Report, checked: Report) -> EvidenceGap | None:
    if not is_of(report, checked):
        of = "the candidate" if shows(report) == "export" else "the baseline and the candidate"
        return _of_others(f"the report is not of {of}, by their content hashes")
    if report.command == "export" and _restores(report):
        return _of_others(
            "the report is of a restore, which takes weights back out of a graph and "
            "proves other things; give the checkpoint that the graph is of as the candidate, and "
            "the report of its export (interop export CHECKPOINT --report json:PATH)"
        )
    if report.command == "bench":
        data = (i.facts.get("sha256") for i in report.inputs if i.role == InputRole.DATA)
        used = next(data, None)
        if policy.data_sha256 is not None and used != policy.data_sha256:
            return _of_others(f"measured on other data than the policy's {policy.data}")
        section = report.section(BenchSection)
        if section.device != policy.device:
            return _of_others(f"measured on {section.device}, the policy asks for {policy.device}")
        for what, asked, measured in (
            ("task", policy.task, section.task), ("split", policy.split, section.split),
        ):  # fmt: skip
            if asked is not None and measured != asked:
                if not measured:
                    flag = f"interop bench … --{what} {asked}"
                    return _missing(
                        f"the report does not tell its {what}, the policy asks for "
                        f"{asked}; measure again with {flag}"
                    )
                phrase = f"is of the {what} {measured}"
                return _of_others(f"the report {phrase}, the policy asks for {asked}")
    return None


def _unaccepted(policy: Policy, report: Report) -> EvidenceGap | None:
    """What a report of a run rests on that the policy does not accept."""
    if report.command == "check":
        return None
    for given in (i for i in report.inputs if i.role != InputRole.DATA):
        for assumption in given.facts.get("assumed") or ():
            if Evidence.ASSUMED not in policy.accept:
                return _missing(not_accepted(assumption["fact"], assumption["value"]))
        how = given.facts.get("preprocessing") or {}
        if how.get("evidence", Evidence.STATED) not in policy.accept:
            return _missing(f"its preprocessing is {how['evidence']}; {_ACCEPT}")
    return None


def not_accepted(fact: str, value: str) -> str:
    """Why a run that rests on an assumption is not evidence."""
    return f"the {fact} {value} would be an assumption; {_ACCEPT}"


def _restores(exported: Report) -> bool:
    """Whether an export went from a graph to a state dict."""
    return any(given.role == InputRole.GRAPH for given in exported.inputs)


def _incomplete(policy: Policy, report: Report) -> EvidenceGap | None:
    if report.command == "check" and report.section(CheckSection).values is None:
        return _missing("the report compares no values (interop check --values)")
    if shows(report) == "export":
        return _unproved(report)
    if report.command == "bench":
        there = derived(report, policy)
        for budget, name in MEASURED.items():
            figures = [m for m in there if m.name == name and _of_candidate(m)]
            if budget in policy.budgets and not figures:
                return _missing(f"the report holds no {name!r} for the budget {budget}")
            if budget in policy.budgets and not all(map(finite, figures)):
                return _missing(f"{name!r}, for the budget {budget}, has no finite value")
        if any(b in policy.budgets for b in _TIMED) and not _calm(there):
            return _missing("the noise of the host has no finite value")
        if policy.providers and not any(m.name == "providers not allowed" for m in there):
            return _missing("the report tells no execution provider (bench it in ONNX Runtime)")
    return None


def _unproved(exported: Report) -> EvidenceGap | None:
    """Which proofs an export lacks; one that failed stops there, and lacks none."""
    if failed(exported):
        return None
    if exported.command == "verify" and (kind := exported.section(VerifySection).precision):
        cost = "what that costs is for bench to measure"
        return _missing(f"the artefact is of a lower precision ({kind}): {cost}")
    lacks = [name for name in PROOFS if name not in {p.name for p in exported.proofs}]
    if lacks:
        s = "s" * (len(lacks) > 1)
        return _missing(f"the report lacks the proof{s} {', '.join(lacks)}")
    if exported.outcome is not Answer.YES:
        return _missing(f"the report's outcome is {exported.outcome}")
    return None


def _of_candidate(m: Measurement) -> bool:
    if m.name in ("peak memory", "input divergence"):  # each model's own
        return m.conditions.get("model") == "B"
    return m.conditions.get("between") == "models"


def _calm(measured: Sequence[Measurement]) -> bool:
    """Whether what the host's noise was is known, where it was measured."""
    return all(finite(m) for m in measured if m.name == "latency noise")


def stale(policy: Policy, report: Report, now: float) -> EvidenceGap | None:
    """Why a report that was handed in is too old; None if it is not."""
    if policy.max_age is None or not report.file:
        return None
    moment = report.environment.get("unix_time")
    if not isinstance(moment, (int, float)) or isinstance(moment, bool):
        return _old(f"the report does not say when it was made; {_span(policy.max_age)} allowed")
    if moment > now + _SKEW:
        return _old("the report says that it was made in the future")
    if now - moment > policy.max_age:
        return _old(f"made {_span(now - moment)} ago, {_span(policy.max_age)} allowed")
    return None


def _span(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size or unit == "minute":
            count = int(seconds // size)
            break
    return f"{count} {unit}{'s' * (count != 1)}"


def is_one(given: Input, ours: Input) -> bool:
    """Whether a report's input has the content of one of ours; its folder's parts too, where both
    are known."""
    content, parts = _content(ours), "parts_sha256"
    if content is None or _content(given) != content:
        return False
    known = given.facts.get(parts), ours.facts.get(parts)
    return None in known or known[0] == known[1]


def _content(given: Input) -> str | None:
    digest = given.facts.get("content_sha256")
    return digest if isinstance(digest, str) else None
