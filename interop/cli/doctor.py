"""`interop doctor`: what is installed here, what of it loads, and what is in conflict."""

from __future__ import annotations

import click

from interop.cli.options import report_options
from interop.cli.output import check_targets, finish


@click.command(
    name="doctor",
    epilog="""\b
Example:
  interop doctor

Exit code 1 where something is in conflict; each line says the fix.""",
)
@report_options
def command(form: str, reports: tuple[str, ...]) -> None:
    """Print versions, the execution providers that really load, and conflicts."""
    check_targets(reports)
    from interop import api

    finish(api.doctor(), form, reports)
