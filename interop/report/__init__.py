"""A Report -> the forms that people and machines read. JSON is the canonical one.

Every format is a pure function from a Report to text; nothing here prints or opens a file.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from interop.errors import ConfigError
from interop.facts import Report

# format -> the module that renders it; loaded when it is asked for
FORMATS = {
    "text": "interop.report.text",
    "json": "interop.report.json",
    "junit": "interop.report.junit",
    "sarif": "interop.report.sarif",
    "github": "interop.report.github",
    "markdown": "interop.report.markdown",
    "html": "interop.report.html",
}

__all__ = ["FORMATS", "render"]


def render(report: Report, form: str) -> str:
    """The report as text of one of FORMATS, ending in a newline. Raises ConfigError."""
    if form not in FORMATS:
        raise ConfigError(f"unknown format {form!r}", fix=f"known: {', '.join(FORMATS)}")
    make: Callable[[Report], str] = import_module(FORMATS[form]).render
    return make(report)
