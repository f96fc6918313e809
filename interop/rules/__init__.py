"""A Case -> the findings that the rules make of it.

One module a rule, named after it; this one only finds and runs them. A rule sees facts and nothing
else: no file, no clock, no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from interop.facts import Answer, Case, Finding, Intent, Json, Level, Rule, Skipped
from interop.records import dataclass, replace
from interop.rules._needs import NEEDS

__all__ = ["Explained", "all_rules", "explain", "finding", "listed", "run"]

SECTIONS = ("What", "Why", "Example", "Fix")

# Why a rule is skipped, by the part of the Case that it lacks.
_LACKS = {
    "values": "needs the tensors' values (--values)",
    "pair": "needs two files",
    "candidate": "needs a readable file",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A rule with its function and its docstring's sections."""

    rule: Rule
    check: Callable[[Case], Iterable[Finding]]
    title: str
    sections: Mapping[str, str]


@cache
def all_rules() -> Mapping[str, Explained]:
    """Every rule by its id, in the order of ids."""
    return {explained.rule.id: explained for explained in map(_explained, _names())}


@cache
def _names() -> Sequence[str]:
    """The modules that are rules."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


@cache
def _explained(name: str) -> Explained:
    module = import_module(f"{__name__}.{name}")
    title, sections = _sections(module.__doc__ or "")
    return Explained(module.RULE, module.check, title, sections)


def explain(rule_id: str) -> Explained | None:
    """The rule of an id or of an id that it once had."""
    rules = all_rules()
    formerly = (r for r in rules.values() if rule_id in r.rule.aliases)
    return rules.get(rule_id) or next(formerly, None)


def run(
    case: Case, levels: Mapping[str, Level] | None = None
) -> tuple[tuple[Finding, ...], tuple[Skipped, ...]]:
    """All findings of a case, gravest first, and the rules that could not be asked.

    `levels` overrides a rule's own level. A finding that is switched off but leaves a fact of the
    files unknown stays, as a note: what is not known is never called the same.
    """
    present = _present(case)
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    for name in _names():
        needs, rule_id = NEEDS.get(name, ("candidate",)), name.replace("_", "-")
        if lacking := [need for need in needs if need not in present]:
            if lacking[0] in _LACKS and "candidate" in present:
                skipped.append(Skipped(rule_id, _LACKS[lacking[0]]))
            continue
        explained = _explained(name)
        level = (levels or {}).get(rule_id, explained.rule.level)
        for finding in explained.check(case):
            if level is not Level.OFF:
                # A rule may itself weigh a finding as less than its own level.
                own = finding.level is not explained.rule.level and rule_id not in (levels or {})
                findings.append(finding if own else replace(finding, level=level))
            elif finding.answer is Answer.UNKNOWN and "measurements" not in needs:
                findings.append(replace(finding, level=Level.NOTE))
    weight = {Level.ERROR: 0, Level.WARN: 1, Level.NOTE: 2}
    # Of one level, what breaks more intents is the graver: an unsafe pickle before a wider head.
    gravest = sorted(findings, key=lambda f: (weight[f.level], -len(f.breaks)))
    return tuple(gravest), tuple(skipped)


def finding(
    rule: Rule,
    what: str,
    *,
    place: str = "",
    hint: str = "",
    facts: Mapping[str, Json] | None = None,
    breaks: tuple[Intent, ...] | None = None,
    level: Level | None = None,
    answer: Answer | None = None,
) -> Finding:
    """A finding of a rule; `breaks` narrows the intents that the rule names, and what only may be
    so, as an `answer` of UNKNOWN says, is a warning."""
    weighed = Level.WARN if answer is Answer.UNKNOWN else rule.level
    level, answer = level or weighed, answer or rule.answer
    breaks = rule.breaks if breaks is None else breaks
    return Finding(rule.id, level, breaks, answer, what, place, hint, facts or {})


def listed(names: Sequence[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    # A file may be one tensor, which has no name.
    shown = ", ".join(name or "(the tensor itself)" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _present(case: Case) -> set[str]:
    parts = {
        "candidate": case.b is not None,
        "pair": case.pairing is not None,
        "parts": case.parts is not None and bool(case.parts.changes),
        "values": case.b is not None and case.b.values_read,
        "unreadable": bool(case.unreadable),
        "proofs": bool(case.proofs),
        "measurements": bool(case.measurements),
        "evidence": bool(case.lacking),
        "assumptions": bool(case.assumptions),
    }
    return {name for name, there in parts.items() if there}


def _sections(doc: str) -> tuple[str, dict[str, str]]:
    """A docstring's first line, and its text by section heading."""
    lines = doc.strip().splitlines()
    title = lines[0].strip() if lines else ""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines[1:]:
        if line.strip() in SECTIONS:
            current = sections.setdefault(line.strip(), [])
        else:
            current.append(line.rstrip())
    return title, {name: "\n".join(body).strip("\n") for name, body in sections.items()}
