"""A Report -> the words that every format has in common: its verdict, its faults, its files.

The first line of text, Markdown, HTML and annotations says the same, so that a person who saw the
one knows the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from interop.facts import Answer, Finding, Input, InputRole, Intent, Level, Report
from interop.report.sanitize import plain

if TYPE_CHECKING:
    from interop.facts.sections.gate import WaivedFinding

_WORDS = {
    "gate": {"yes": "PASS", "no": "FAIL", "unknown": "INCONCLUSIVE"},
    "bench": {"yes": "measured", "unknown": "too noisy to tell"},
    "finetune": {"yes": "trained", "no": "not trained"},
    "assess": {"yes": "assessed"},
    "export": {"yes": "exported, proved", "no": "not proved"},
    "verify": {"yes": "proved again", "no": "not proved", "unknown": "not all proofs made"},
    "doctor": {"yes": "fine", "no": "conflicts"},
    "inspect": {"yes": "readable", "no": "not safe to use"},
}
_PROOF = "proof-"


def word(report: Report) -> str:
    """The outcome in the command's own words: "FAIL"."""
    return _WORDS.get(report.command, {}).get(report.outcome, str(report.outcome))


def headline(report: Report) -> str:
    """The verdict in one line: "FAIL  head-width-changed: fc.weight (10, 512) -> (7, 512)"."""
    return f"{word(report)}  {one_line(report.summary)}".rstrip()


def one_line(text: str) -> str:
    """Text without line breaks, and with nothing that steers what shows it."""
    return plain(" ".join(text.split()))


def faults(report: Report) -> list[Finding]:
    """The findings, and each proof that failed without one: the faults that there are to show."""
    return [*report.findings, *_failed(report)]


def level_of(report: Report, found: Finding) -> Level:
    """What a finding weighs for the question that was asked: a note if it breaks others alone."""
    asked = report.intent
    beside = asked is not None and found.breaks and asked not in found.breaks
    return Level.NOTE if beside and found.level is not Level.OFF else found.level


def is_proof(found: Finding) -> bool:
    """Whether it is a proof that failed: there is no rule of its name."""
    return found.rule.startswith(_PROOF)


def waived(report: Report) -> list[tuple[Finding, str]]:
    """The findings that a policy waives, each with its reason and until when it does."""
    from interop.facts.sections.gate import GateSection

    return [(_finding(one), _reason(one)) for one in report.section(GateSection).waived or ()]


def skipped_by_reason(report: Report) -> dict[str, list[str]]:
    """The checks that were not made, by the reason."""
    by_reason: dict[str, list[str]] = {}
    for one in report.skipped:
        by_reason.setdefault(one.why, []).append(one.rule)
    return by_reason


def loads(state: bool | str) -> str:
    """Whether an execution provider loads; a text is the error that it gives."""
    return "loads" if state is True else f"does not load{f': {state}' if state else ''}"


def files_of(report: Report, found: Finding) -> list[str]:
    """The model files that a finding is about: those it names, else the candidate."""
    named = found.facts.get("files")
    if isinstance(named, (list, tuple)) and named:
        return [str(path) for path in named]
    models = [given for given in report.inputs if given.role != InputRole.DATA]
    if found.place and any(found.place in (given.path, path_of(given)) for given in models):
        return [found.place]
    # The candidate comes last: A before B, the baseline before the candidate.
    return [path_of(models[-1])] if models else []


def path_of(given: Input) -> str:
    """An input's file, without the place in it that some are named with ("a.pth#ema")."""
    return given.path.removesuffix(f"#{given.facts.get('place', '')}")


def names_in(report: Report, found: Finding) -> list[str]:
    """The tensors or keys that a finding is about, in its own order; [] where it names none."""
    listed = found.facts.get("tensors")
    names = list(listed) if isinstance(listed, (list, tuple, Mapping)) else []
    # A row of facts on a tensor begins with its name.
    names = [n[0] if isinstance(n, (list, tuple)) and n else n for n in names]
    if found.place and found.place not in files_of(report, found):
        names = [found.place, *(n for n in names if n != found.place)]
    return [n for n in dict.fromkeys(map(str, names)) if n]


def _failed(report: Report) -> Iterator[Finding]:
    for proof in report.proofs:
        # A rule's finding of the proof begins with the proof's own words.
        reported = any(finding.what.startswith(proof.what) for finding in report.findings)
        if not proof.holds and not reported:
            slug = re.sub("[^a-z0-9]+", "-", proof.name.lower())[:40].strip("-")
            yield Finding(f"{_PROOF}{slug}", Level.ERROR, tuple(Intent), Answer.NO, proof.what)


def _finding(one: WaivedFinding) -> Finding:
    return Finding(
        rule=one.rule,
        level=one.level or Level.NOTE,
        breaks=(),
        answer=Answer.NO,
        what=one.what or "waived by the policy",
        place=one.place or "",
        hint=one.hint or "",
        facts=one.facts or {},
    )


def _reason(one: WaivedFinding) -> str:
    until = f" (until {one.expires})" if one.expires else ""
    return f"{one.reason or 'no reason given'}{until}"
