"""Reports made elsewhere -> which of them count for these two files and this policy, and what is
lacking.

A report is known by the content hashes of the files it is of, never by their paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interop.facts import Input, Measurement, Report
from interop.gate.keys import MEASURED
from interop.gate.measured import derived
from interop.gate.policy import Policy

COMMANDS = ("check", "export", "bench")
_SKEW = 300.0  # seconds by which two machines' clocks may differ
# Which reason is told where several reports are refused: the nearest to being good.
_NEAREST = ("stale", "missing", "foreign")


def own_check(reports: Sequence[Report]) -> Report:
    """The check of baseline against candidate that the gate made itself."""
    return next(r for r in reports if r.command == "check" and not handed_in(r))


def handed_in(report: Report) -> str:
    """The file that a report came in; "" where it was made here."""
    return str(report.details.get("evidence_file") or "")


def wanted(policy: Policy, checked: Report) -> dict[str, bool]:
    """Whether the policy asks for a report of each command, for this pair."""
    graph = checked.inputs[1].facts.get("graph")
    opset = any(b.startswith("opset") for b in policy.budgets)
    return {
        "check": policy.check and not checked.details.get("values"),
        # What opset a checkpoint becomes, only its export tells.
        "export": policy.export or (opset and not graph),
        "bench": policy.bench,
    }


def lacking(policy: Policy, reports: Sequence[Report], now: float) -> dict[str, str]:
    """The evidence that the policy asks for and `reports` does not hold, each with the reason:
    "missing: …", "foreign: …" or "stale: …"."""
    missing: dict[str, str] = {}
    checked = own_check(reports)
    for command, asked in wanted(policy, checked).items():
        if not asked:
            continue
        there = [r for r in reports if r.command == command and r is not checked]
        faults = [fault(policy, r, checked, now) for r in there]
        if not there:
            missing[command] = f"missing: the policy asks for it ({policy.reason(command)})"
        elif all(faults):
            missing[command] = min(faults, key=lambda f: _NEAREST.index(f.partition(":")[0]))
    return missing


def taken(
    policy: Policy, reports: Sequence[Report], command: str, missing: Mapping[str, str], now: float
) -> Report | None:
    """The report of a command that counts; None where none is asked for or none does."""
    checked = own_check(reports)
    if command in missing or not wanted(policy, checked)[command]:
        return None
    there = (r for r in reports if r.command == command and r is not checked)
    return next((r for r in there if not fault(policy, r, checked, now)), None)


def fault(policy: Policy, report: Report, checked: Report, now: float) -> str:
    """Why a report is no evidence for these two files and this policy; "" where it is."""
    foreign = _foreign(policy, report, checked)
    return foreign or _incomplete(policy, report) or _stale(policy, report, now)


def is_of(report: Report, checked: Report) -> bool:
    """Whether a report is of the files of a check, by their content hashes."""
    a, b = (_content(i) for i in checked.inputs)
    # Order counts: a bench of candidate against baseline has every change the wrong way round.
    measured = [_content(i) for i in report.inputs if i.role != "data"]
    return None not in measured and measured == ([b] if report.command == "export" else [a, b])


def _foreign(policy: Policy, report: Report, checked: Report) -> str:
    if not is_of(report, checked):
        of = "the candidate" if report.command == "export" else "the baseline and the candidate"
        return f"foreign: the report is not of {of}, by their content hashes"
    if report.command == "bench":
        used = next((i.facts.get("sha256") for i in report.inputs if i.role == "data"), None)
        if policy.data_sha256 is not None and used != policy.data_sha256:
            return f"foreign: measured on other data than the policy's {policy.data}"
        device = report.details.get("device")
        if device != policy.device:
            return f"foreign: measured on {device}, the policy asks for {policy.device}"
    return ""


def _incomplete(policy: Policy, report: Report) -> str:
    if report.command == "check" and not report.details.get("values"):
        return "missing: the report compares no values (interop check --values)"
    if report.command == "bench":
        there = {m.name for m in derived(report, policy) if _of_candidate(m)}
        for budget, name in MEASURED.items():
            if budget in policy.budgets and name not in there:
                return f"missing: the report holds no {name!r} for the budget {budget}"
        if policy.providers and "providers not allowed" not in there:
            return "missing: the report tells no execution provider (bench it in ONNX Runtime)"
    return ""


def _of_candidate(m: Measurement) -> bool:
    return m.conditions.get("between") == "models" or m.conditions.get("model") == "B"


def _stale(policy: Policy, report: Report, now: float) -> str:
    if policy.max_age is None or not handed_in(report):
        return ""
    made = report.environment.get("unix_time")
    if not isinstance(made, (int, float)) or isinstance(made, bool):
        return f"stale: the report does not say when it was made; {_span(policy.max_age)} allowed"
    if made > now + _SKEW:
        return "stale: the report says that it was made in the future"
    if now - made > policy.max_age:
        return f"stale: made {_span(now - made)} ago, {_span(policy.max_age)} allowed"
    return ""


def _span(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size or unit == "minute":
            count = int(seconds // size)
            break
    return f"{count} {unit}{'s' * (count != 1)}"


def _content(given: Input) -> str | None:
    found = given.facts.get("content_sha256")
    return found if isinstance(found, str) else None
