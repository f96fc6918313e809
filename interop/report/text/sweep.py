"""What the models of a store are, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Report
from interop.records import replace
from interop.report import swept
from interop.report.table import WIDTH, grid, table, wrap
from interop.report.text.shared import finding_lines

MOST = 6  # models that are listed: faulty ones, and then those that cannot be read


def blocks(report: Report) -> Iterator[list[str]]:
    """Counts first, then the first faults."""
    yield table([list(row) for row in swept.facts(report)])
    for one in swept.tables(report):
        yield [line for block in grid(one.head, one.rows, one.figures) for line in block]
    readable = [f for f in report.findings if "unreadable" not in f.facts]
    for findings in (readable, [f for f in report.findings if "unreadable" in f.facts]):
        yield finding_lines(replace(report, findings=tuple(findings[:MOST])))
        more = len(findings) - MOST
        yield [f"and {more} more (--format json has them)"] if more > 0 else []
    if words := swept.unlisted(report):
        yield wrap(words, WIDTH)
