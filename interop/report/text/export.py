"""How an export went, for a terminal."""

from __future__ import annotations

from interop.facts import Report
from interop.facts.sections.export import ExportSection, ExportsSection, GraphDeparture
from interop.report.table import WIDTH, table, wrap
from interop.report.text import shared
from interop.report.text.measurements import measured_blocks
from interop.report.units import in_bytes


def blocks(report: Report) -> list[list[str]]:
    if isinstance(report.details, ExportsSection):
        return [_bundles(report.details), shared.finding_lines(report)]
    section = report.section(ExportSection)
    outcome = [f"wrote {section.bundle}" if section.bundle else "no bundle was written"]
    files = section.files or {}
    outcome += table([[f"  {name}", in_bytes(size)] for name, size in files.items()])
    reasons: dict[str, list[str]] = {}
    for attempt in section.attempts or ():
        took = "" if attempt.seconds is None else f" ({attempt.seconds:.1f} s)"
        reasons.setdefault(attempt.why, []).append(f"{attempt.route}{took}")
    tried = [
        f"route{'s' * (len(some) > 1)} {' / '.join(some)} given up: {why}"
        for why, some in reasons.items()
    ]
    route = f", route {section.route}" if section.route else ""
    converting, proving = section.conversion_seconds, section.proof_seconds
    times = ""
    if converting is not None and proving is not None:
        budget = section.route_budget_seconds
        if tried and budget is not None:
            route += f" (at most {budget:.0f} s for each route)"
        times = f"conversion {converting:.1f} s, proofs {proving:.1f} s{route}"
    return [
        shared.input_lines(report),
        shared.proof_lines(report.proofs),
        shared.domain_lines(section.domain or ()),
        *measured_blocks(report),
        shared.finding_lines(report),
        shared.note_lines((*tried, *report.notes)),
        _departure(section.departure),
        [*outcome, times],
    ]


def _bundles(section: ExportsSection) -> list[str]:
    """A line for each of several checkpoints, and why those without a bundle have none."""
    rows = [["checkpoint", "bundle", "proofs", "route", "CPU"]]
    rows += [
        [b.checkpoint, b.bundle or "none", f"{b.hold} of {b.proofs}", b.route or "",
         f"{b.cpu_seconds:.1f} s"]
        for b in section.bundles
    ]  # fmt: skip
    lines = table(rows)
    for b in section.bundles:
        if b.bundle is None:
            lines += ["", *wrap(f"{b.checkpoint}: {b.summary}", WIDTH)]
    return lines


def _departure(departure: GraphDeparture | None) -> list[str]:
    """Where a graph departs from its module, and the folder that shows it."""
    if departure is None:
        return []
    d = departure
    lines = wrap(f"{d.runtime}: {d.what}", WIDTH)
    if d.node:
        of = f" of {d.module} ({d.kind})" if d.module else ""
        place = f", {d.source}" if d.source else ""
        lines = wrap(f"first departs at {d.node} ({d.operator}){of}{place}", WIDTH)
        lines += wrap(d.what, WIDTH)
    return [*lines, f"kept in {d.folder}: run its reproduce.py"]
