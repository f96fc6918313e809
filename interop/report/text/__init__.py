"""A Report -> what a person reads in a terminal: verdicts first, then why.

A module a command; each is loaded when a report of its command is rendered.
"""

from __future__ import annotations

from importlib import import_module

from interop.facts import Report
from interop.facts.sections import SECTIONS
from interop.report.sanitize import plain


def render(report: Report) -> str:
    """The report for a terminal; no colours, at most 80 columns."""
    command = report.command if report.command in SECTIONS else "check"
    blocks = import_module(f"{__name__}.{command}").blocks(report)
    return plain("\n\n".join("\n".join(block) for block in blocks if block)) + "\n"
