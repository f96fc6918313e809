"""`interop verify BUNDLE`: its proofs, made again on this machine."""

from __future__ import annotations

import click

from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say_own_code
from interop.export.options import ExportOptions


@click.command(
    name="verify",
    epilog="""\b
Example:
  interop verify candidate/
  interop verify candidate/ --runtime openvino
  interop verify mine/ --model mypackage.nets:make_net

\b
Exit code 1 where a proof fails or a file has other bytes than were proved, 3
where a proof cannot be made here.""",
)
@click.argument("bundle", type=click.Path(exists=True, file_okay=False))
@options_of(
    ExportOptions,
    only=(
        "runtime", "device", "factory", "head", "data", "preprocessing", "arch", "strict", "trust",
    ),
)  # fmt: skip
@report_options
def command(bundle: str, options: ExportOptions, form: str, reports: tuple[str, ...]) -> None:
    """Make the proofs of a BUNDLE again, from its receipt.

    Each file has the bytes that were proved, the weights fill the module, the graph
    has the same weights and answers as the module does. A module of your own class
    is run only if you name it again; without it the answers that the receipt
    recorded are compared.
    """
    check_targets(reports)
    from interop import api

    say_own_code(options.factory, options.head)
    finish(api.verify(bundle, options, progress=progress), form, reports)
