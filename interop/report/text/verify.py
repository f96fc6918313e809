"""What of an artefact was proved, for a terminal."""

from __future__ import annotations

from interop.facts import Report
from interop.facts.sections.export import VerifySection
from interop.report.table import WIDTH, wrap
from interop.report.text import shared
from interop.report.text.measurements import measured_blocks


def blocks(report: Report) -> list[list[str]]:
    section = report.section(VerifySection)
    departure: list[str] = []
    if section.departure is not None:
        departure = wrap(f"departs: {section.departure.what}", WIDTH, subsequent_indent="  ")
        if section.departure.folder:
            departure.append(f"shown alone by: {section.departure.folder}")
    return [
        shared.input_lines(report),
        shared.proof_lines(report.proofs),
        departure,
        shared.domain_lines(section.domain or ()),
        *measured_blocks(report),
        shared.finding_lines(report),
        shared.skipped_lines(report, "not proved"),
        shared.note_lines(report.notes),
    ]
