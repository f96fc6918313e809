"""What check found of two files, for a terminal."""

from __future__ import annotations

from interop.facts import Answer, Report
from interop.facts.sections.check import CheckSection, HeadComparison, ValueComparison
from interop.report.table import WIDTH, table, wrap
from interop.report.text import shared


def blocks(report: Report) -> list[list[str]]:
    section = report.section(CheckSection)
    return [
        shared.input_lines(report),
        shared.verdict_lines(report),
        _heads(section.heads),
        *_values(section.values),
        shared.note_lines(report.notes),
        shared.finding_lines(report),
        shared.skipped_lines(report),
    ]


def _heads(heads: HeadComparison | None) -> list[str]:
    """Whether B's head would fit A's backbone, where that is known; what the rows tell."""
    if heads is None or (heads.alike and not heads.rows):
        return []
    fits = {Answer.YES: "fits", Answer.NO: "does not fit"}
    words = [f"B's head {fits[heads.fits]} A's backbone: {heads.why}"] if heads.fits in fits else []
    if heads.rows and not heads.rows.moved:
        cosine = f"{heads.rows.in_place:.2f}"
        words.append(f"each row is most like A's at its place (mean cosine {cosine})")
    if heads.labels is not Answer.UNKNOWN:
        words.append(heads.labels_why)
    return wrap(f"heads     {'; '.join(words)}", WIDTH, subsequent_indent=" " * 10) if words else []


def _values(values: ValueComparison | None, most: int = 5) -> list[list[str]]:
    """The sentence on the values, and the tensors that moved most."""
    if values is None:
        return []
    sentence = wrap(f"values    {values.sentence}", WIDTH, subsequent_indent=" " * 10)
    rows = [
        [shared.short_name(m.name), *map(_figure, (m.largest, m.mean, m.cosine))]
        for m in values.moved[:most]
    ]
    if not rows:
        return [sentence]
    more = len(values.moved) - most
    rest = [f"and {more} more (--report json:PATH has all)"] if more > 0 else []
    return [sentence, [*table([["least alike", "largest", "mean", "cosine"], *rows]), *rest]]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
