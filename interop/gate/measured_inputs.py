"""Reports of `inspect --data` of the two models -> where what was measured contradicts, or agrees.

What the weights remember by themselves is a warning (`preprocessing-contradicts-statistics`); what
was measured with inputs is an error of the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from interop.errors import ConfigError
from interop.facts import (
    RANGES,
    Answer,
    EvidenceGap,
    Fed,
    Finding,
    GapKind,
    Input,
    Json,
    Level,
    Preprocessing,
    Report,
    Standing,
)
from interop.facts.sections.check import InspectSection
from interop.gate import evidence
from interop.identity.metadata import parse_preprocessing
from interop.identity.preparations import COLOR, apart, in_words
from interop.policy.policy import Policy
from interop.records import replace
from interop.rules import all_rules, finding

RULE = "preprocessing-contradicts-statistics"
_SCALE = "scale"  # the questions of a Fed: this one and COLOR


class Measured(NamedTuple):
    """What one report says of how one model was fed. `side` is 0 for the baseline, 1 for the
    candidate; `file` is the report."""

    side: int
    name: str
    fed: Fed
    file: str

    @property
    def wide(self) -> bool | None:
        """Whether it was fed 0 to 255; None if that is undecided."""
        answer = self.fed.answer(_SCALE)
        if answer is None or answer.standing is not Standing.MEASURED:
            return None
        return answer.answer == RANGES[True]

    @property
    def how(self) -> Preprocessing | None:
        return None if self.fed.preprocess is None else _parsed(self.fed.preprocess)

    @property
    def colored(self) -> bool:
        answer = self.fed.answer(COLOR)
        return answer is not None and answer.standing is Standing.MEASURED


class Handed(NamedTuple):
    """The measurements of the two models, and why other reports do not count, by their file."""

    measured: tuple[Measured, ...] = ()
    gaps: tuple[tuple[str, EvidenceGap], ...] = ()

    @classmethod
    def of(cls, policy: Policy, reports: Sequence[Report], checked: Report, now: float) -> Handed:
        measured: list[Measured] = []
        gaps: list[tuple[str, EvidenceGap]] = []
        for report in (r for r in reports if r.command == "inspect"):
            file, fed = report.file or "a report", report.section(InspectSection).fed
            sides = [n for n, i in enumerate(checked.inputs) if _is_of(report, i)]
            if fed is None or not sides:
                why = "the report is of neither the baseline nor the candidate, by content hash"
                gaps.append((file, EvidenceGap(GapKind.FOREIGN, why)))
            elif (old := evidence.stale(policy, report, now)) is not None:
                gaps.append((file, old))
            else:
                measured += [Measured(n, checked.inputs[n].path, fed, file) for n in sides]
        return cls(tuple(measured), tuple(gaps))

    def findings(self, policy: Policy, checked: Report) -> tuple[Finding, ...]:
        """The contradictions between the two, and with what a file states.

        A policy that lowers the rule's level makes of them what the files alone are: unknown.
        """
        olds, news = ([m for m in self.measured if m.side == side] for side in (0, 1))
        pairs = (f for a, b in product(olds, news) for f in _between(a, b))
        stated = (f for m in self.measured for f in _with_stated(m, checked.inputs[m.side]))
        found = {f.what: f for f in (*pairs, *stated)}.values()
        level = policy.levels.get(RULE, Level.ERROR)
        if level is Level.ERROR:
            return tuple(found)
        level = Level.NOTE if level is Level.OFF else level
        return tuple(replace(f, level=level, answer=Answer.UNKNOWN) for f in found)

    def said(self, findings: Sequence[Finding]) -> str:
        """Where the measurements came from, and what came of them."""
        files = list(dict.fromkeys(m.file for m in self.measured))
        parts = [f"taken from {', '.join(files)}"] if files else []
        if {m.side for m in self.measured} == {0, 1}:
            known = [m.wide is not None or m.how is not None for m in self.measured]
            agree = "what was measured of both agrees" if all(known) else "not all is measured"
            parts.append("what was measured contradicts" if findings else agree)
        elif files:
            parts.append("only one of the two models was measured")
        return "; ".join([*parts, *(f"{file}: {gap.kind}: {gap.why}" for file, gap in self.gaps)])


def accepted(report: Report, path: str) -> None:
    """Raise ConfigError for a report of inspect that measured nothing."""
    if report.command == "inspect" and report.section(InspectSection).fed is None:
        raise ConfigError(
            "a report of inspect without data is not evidence",
            where=path,
            fix="make it with interop inspect FILE --data DIR --report json:PATH",
        )


def _is_of(report: Report, ours: Input) -> bool:
    given = report.inputs[0] if len(report.inputs) == 1 else None
    if given is None or not evidence.is_one(given, ours):
        return False
    return given.facts.get("place") == ours.facts.get("place")


def _parsed(given: Json) -> Preprocessing | None:
    """Images' preprocessing as a report has it; None if it is of something else."""
    if not isinstance(given, dict):
        return None
    try:
        how = parse_preprocessing({k: v for k, v in given.items() if k != "source"}, "the report")
    except ConfigError:
        return None
    return how if isinstance(how, Preprocessing) else None


def _between(a: Measured, b: Measured) -> Iterator[Finding]:
    if None not in (a.wide, b.wide) and a.wide is not b.wide:
        words = [f"{m.name} on {RANGES[bool(m.wide)]} ({_by(m)})" for m in (a, b)]
        yield _contradiction(f"trained on other inputs: {', '.join(words)}", (a, b))
        return
    if a.how is None or b.how is None:
        return
    if differ := apart(a.how, b.how, color=a.colored and b.colored):
        words = [f"{m.name} on {in_words(h)} ({_by(m)})" for m, h in ((a, a.how), (b, b.how))]
        what = f"trained on inputs of other {' and '.join(differ)}: {', '.join(words)}"
        yield _contradiction(what, (a, b))


def _with_stated(m: Measured, ours: Input) -> Iterator[Finding]:
    stated = _parsed(ours.facts.get("preprocessing"))
    if stated is None:
        return
    wrong = m.wide is not None and stated.is_wide is (not m.wide)
    measured = RANGES[bool(m.wide)]
    # Numbers that fit what the weights remember do not contradict it, whatever fits better.
    unlike = m.fed.stated is None or m.fed.stated > m.fed.floor
    if not wrong and m.how is not None and unlike and apart(stated, m.how, color=m.colored):
        wrong, measured = True, in_words(m.how)
    if wrong:
        what = f"{m.name} was trained on {measured} ({_by(m)}); it states {in_words(stated)}"
        yield _contradiction(what, (m,))


def _by(m: Measured) -> str:
    return f"measured on {m.fed.samples} images of {m.fed.data}"


def _contradiction(what: str, of: Sequence[Measured]) -> Finding:
    facts: dict[str, Json] = {
        "files": [m.name for m in of],
        "measured": [None if m.fed.preprocess is None else dict(m.fed.preprocess) for m in of],
        "reports": [m.file for m in of],
    }
    rule = all_rules()[RULE].rule
    hint = "prepare the inputs of each model as it was trained, or train it on the same inputs"
    return finding(rule, what, hint=hint, facts=facts, level=Level.ERROR, answer=Answer.NO)
