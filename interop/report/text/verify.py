"""What of a bundle was proved again, for a terminal."""

from __future__ import annotations

from interop.facts import Report
from interop.facts.sections.export import VerifySection
from interop.report.text.shared import (
    domain_lines,
    input_lines,
    note_lines,
    proof_lines,
    skipped_lines,
)


def blocks(report: Report) -> list[list[str]]:
    return [
        input_lines(report),
        proof_lines(report.proofs),
        domain_lines(report.section(VerifySection).domain or ()),
        skipped_lines(report),
        note_lines(report.notes),
    ]
