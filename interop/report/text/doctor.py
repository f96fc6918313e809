"""What is installed and what is in conflict, for a terminal."""

from __future__ import annotations

from interop.facts import Report
from interop.facts.sections.doctor import DoctorSection
from interop.report.table import table
from interop.report.wording import loads


def blocks(report: Report) -> list[list[str]]:
    section = report.section(DoctorSection)
    packages = [["package", "version"], *map(list, (section.packages or {}).items())]
    providers = [[name, loads(state)] for name, state in (section.providers or {}).items()]
    lines = [f"GPU: {section.gpu or 'none'}"] if section.run else []
    if not section.run:
        lines.append("the light install: inspect, check, gate and explain work here;")
        lines.append("export and bench need: pip install 'model-interop[run]'")
    problems = [
        line
        for what, fix in section.problems or ()
        for line in table([["problem", what], ["    fix", fix]])
    ]
    return [
        table(packages),
        table([["execution provider", ""], *providers]) if providers else [],
        lines,
        problems or ["no conflicts"],
    ]
