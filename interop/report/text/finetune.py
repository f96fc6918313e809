"""How a training went, for a terminal."""

from __future__ import annotations

from interop.facts import Group, Report
from interop.facts.sections.finetune import FinetuneSection
from interop.records import replace
from interop.report.curves import learning_table
from interop.report.table import WIDTH, wrap
from interop.report.text.measurements import measured_blocks
from interop.report.text.shared import finding_lines, input_lines, note_lines, proof_lines

_TRAINED = (Group.VALIDATION, Group.TRAINING)  # of a training: the curves have a table of their own


def blocks(report: Report) -> list[list[str]]:
    section = report.section(FinetuneSection)
    shown = [m for m in report.measurements if m.conditions.get("group") in _TRAINED]
    resumed = ["went on where a run before had stopped"] if section.resumed else []
    return [
        input_lines(report),
        proof_lines(report.proofs),
        *learning_table(report),
        *measured_blocks(replace(report, measurements=tuple(shown))),
        finding_lines(report),
        [*resumed, *note_lines(report.notes)],
        wrap(f"wrote {section.out}", WIDTH) if section.out else ["nothing was written"],
    ]
