"""A Report -> GitHub's workflow commands: annotations at the files of a pull request.

One line a command, `::error file=b.pth,title=label-order-changed::what was found`, the verdict
first: GitHub shows ten of each kind and drops the rest.
"""

from __future__ import annotations

from interop.facts import Finding, Level, Report
from interop.report.sanitize import plain
from interop.report.wording import faults, files_of, headline, level_of, waived, word

_COMMANDS = {Level.ERROR: "error", Level.WARN: "warning", Level.NOTE: "notice"}


def render(report: Report) -> str:
    """The verdict, an error where the command ends in one; then a line each fault."""
    kind = "error" if report.exit_code else "notice"
    verdict = _command(kind, f"interop {report.command}: {word(report)}", headline(report))
    return "".join(line + "\n" for line in (verdict, *_lines(report)))


def _lines(report: Report) -> list[str]:
    """The gravest first, as the report has them; what is waived is worth a notice."""
    kinds = ((finding, _COMMANDS.get(level_of(report, finding))) for finding in faults(report))
    shown = [(finding, kind, finding.what) for finding, kind in kinds if kind]
    shown += [
        (finding, "notice", f"{finding.what}\nWaived: {why}") for finding, why in waived(report)
    ]
    return [_finding(report, *one) for one in shown]


def _finding(report: Report, finding: Finding, kind: str, what: str) -> str:
    files = [path for path in files_of(report, finding) if "://" not in path]
    text = f"{what}\nFix: {finding.hint}" if finding.hint else what
    return _command(kind, finding.rule, text or finding.rule, files[0] if files else "")


def _command(kind: str, title: str, message: str, file: str = "") -> str:
    properties = {"file": file, "title": title}
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{kind} {listed}::{_data(message)}"


def _data(text: str) -> str:
    """A message, with what would end the command as its code."""
    return plain(_encoded(text))


def _property(text: str) -> str:
    """A property's value, in which a colon and a comma would end it too."""
    return plain(_encoded(text).replace(":", "%3A").replace(",", "%2C"))


def _encoded(text: str) -> str:
    return text.replace("%", "%25").replace("\n", "%0A")
