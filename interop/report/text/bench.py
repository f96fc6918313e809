"""What bench measured, for a terminal."""

from __future__ import annotations

from interop.facts import InputRole, Report
from interop.facts.sections.bench import BenchSection, CompareSection
from interop.report.table import table
from interop.report.text.measurements import measured_blocks
from interop.report.text.shared import finding_lines, input_lines, note_lines, skipped_lines


def blocks(report: Report) -> list[list[str]]:
    compared = any(given.role == InputRole.OLD for given in report.inputs)
    conditions = report.section(BenchSection).conditions or {}
    return [
        input_lines(report),
        table([[k, str(v)] for k, v in conditions.items()]),
        _changed(report.section(CompareSection)),
        *measured_blocks(report),
        finding_lines(report),
        skipped_lines(report, "not compared" if compared else "not measured"),
        note_lines(report.notes),
    ]


def _changed(section: CompareSection) -> list[str]:
    """The conditions that two runs do not have in common."""
    if not section.conditions_changed:
        return []
    rows = [
        [name, " -> ".join("-" if v is None else str(v) for v in pair)]
        for name, pair in section.conditions_changed.items()
    ]
    return table([["not the same", "old, new"], *rows])
