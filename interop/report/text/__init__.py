"""A Report -> what a person reads in a terminal: verdicts first, then why.

A module a command; each is loaded when a report of its command is rendered.
"""

from __future__ import annotations

from importlib import import_module

from interop.facts import Report
from interop.facts.sections import SECTIONS
from interop.report.sanitize import brief

MOST = 1000  # characters of a line: of what does not wrap


def render(report: Report) -> str:
    """The report for a terminal; no colours, at most 80 columns. A line of a block is one line,
    whatever the names in it hold."""
    command = report.command if report.command in SECTIONS else "check"
    blocks = import_module(f"{__name__}.{command}").blocks(report)
    written = ("".join(f"{brief(line, MOST)}\n" for line in block) for block in blocks if block)
    return "\n".join(written) or "\n"
