"""How weights were ported, for a terminal."""

from __future__ import annotations

from interop.facts import Answer, Report
from interop.facts.sections.export import PortSection
from interop.report.table import WIDTH, wrap
from interop.report.text.shared import finding_lines, input_lines, note_lines, proof_lines


def blocks(report: Report) -> list[list[str]]:
    section = report.section(PortSection)
    if not section.out:
        outcome = ["no file was written"] if report.outcome is Answer.NO else []
    else:
        outcome = wrap(f"wrote {section.out}: {section.standing}", WIDTH)
    if section.call:
        which = "that it is proved for" if section.proved else "that takes it"
        outcome += wrap(f"the module {which}: {section.call}", WIDTH, subsequent_indent="  ",
                        break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [
        input_lines(report),
        proof_lines(report.proofs),
        finding_lines(report),
        note_lines(report.notes),
        outcome,
    ]
