"""What a sweep of a store found -> the tables that every format shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interop.facts import Report
from interop.facts.sections.sweep import SweepSection
from interop.report.units import in_bytes
from interop.report.values import Table

MOST = 12  # rows of a table


def is_swept(report: Report) -> bool:
    """Whether the report is of a store of models."""
    return isinstance(report.details, SweepSection)


def facts(report: Report) -> list[tuple[str, str]]:
    """Return the store, its size and the table of all rows, each with its word."""
    section, given = report.section(SweepSection), report.inputs[0]
    count = f"{section.models or 0:,}"
    resumed = f", {section.kept:,} of them read before" if section.kept else ""
    return [
        ("store", given.path),
        ("models", f"{count}{resumed}, {in_bytes(section.bytes or 0)}"),
        ("table", str(section.out)),
    ]


def tables(report: Report) -> Iterator[Table]:
    """Yield a table of counts each kind: outcomes, containers, architectures, findings."""
    section = report.section(SweepSection)
    kinds = {
        "outcome": section.outcomes, "container": section.containers,
        "architecture": section.architectures, "finding": section.rules,
    }  # fmt: skip
    for kind, counts in kinds.items():
        if counts:
            yield _table(kind, counts)


def unlisted(report: Report) -> str:
    """Say how many models with a fault stand in the table alone; "" if none does."""
    count = report.section(SweepSection).unlisted or 0
    out = report.section(SweepSection).out
    return f"{count:,} more models with a fault are in {out}" if count else ""


def _table(kind: str, counts: Mapping[str, int]) -> Table:
    rows = [(name, f"{count:,}") for name, count in counts.items()]
    if len(rows) > MOST:
        rest = sum(list(counts.values())[MOST - 1 :])
        rows = [*rows[: MOST - 1], (f"{len(counts) - MOST + 1} others", f"{rest:,}")]
    return Table(f"By {kind}", (kind, "models"), tuple(rows), (1,))
