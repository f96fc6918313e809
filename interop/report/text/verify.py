"""What of an artefact was proved, for a terminal."""

from __future__ import annotations

from interop.facts import Report
from interop.facts.sections.export import VerifySection
from interop.report.text import shared
from interop.report.text.measurements import measured_blocks


def blocks(report: Report) -> list[list[str]]:
    section = report.section(VerifySection)
    return [
        shared.input_lines(report),
        shared.proof_lines(report.proofs),
        shared.domain_lines(section.domain or ()),
        *measured_blocks(report),
        shared.finding_lines(report),
        shared.skipped_lines(report, "not proved"),
        shared.note_lines(report.notes),
    ]
