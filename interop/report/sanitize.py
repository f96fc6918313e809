"""Text that a model file's author may have chosen -> text that cannot steer what shows it.

A label or key can hold the bytes by which a terminal is told to clear itself, to retitle its window
or to write from right to left. They are shown as what they are.
"""

from __future__ import annotations

import re
from dataclasses import replace

from interop.facts import Finding, Report

# Control characters but the line's end and tab, their 8-bit forms, the marks that turn the
# direction of writing, and halves of surrogate pairs (bytes of a file's name that are no UTF-8),
# which no encoding takes.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_ENDS = {0x0A: "\\n", 0x09: "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def plain(text: str) -> str:
    """The text with each control character as its escape: ESC becomes the four letters \\x1b."""
    return _STEERING.sub(_escape, text)


def one_name(text: str) -> str:
    """The same of a name, or of a sentence that holds names: a line's end and a tab are shown as
    what they are too, since a file may be called anything and stays in its row."""
    return plain(text).translate(_ENDS)


def escape_report(report: Report) -> Report:
    """The report with nothing in its names and sentences that ends a line."""
    return replace(
        report,
        summary=one_name(report.summary),
        inputs=tuple(
            replace(i, path=one_name(i.path), summary=one_name(i.summary)) for i in report.inputs
        ),
        verdicts=tuple(replace(v, why=one_name(v.why)) for v in report.verdicts),
        findings=tuple(_finding(f) for f in report.findings),
        proofs=tuple(replace(p, what=one_name(p.what)) for p in report.proofs),
    )


def _finding(finding: Finding) -> Finding:
    facts = dict(finding.facts)
    for key, value in facts.items():
        if key in ("files", "tensors") and isinstance(value, (list, tuple)):
            facts[key] = [one_name(v) if isinstance(v, str) else v for v in value]
    place = one_name(finding.place)
    what = one_name(finding.what)
    return replace(finding, what=what, place=place, hint=one_name(finding.hint), facts=facts)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
