"""`interop verify BUNDLE`: its proofs, made again on this machine."""

from __future__ import annotations

import click

from interop.cli.output import (
    check_targets,
    finish,
    progress,
    progress_done,
    report_options,
)
from interop.errors import need_torch_side
from interop.export import ExportOptions


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
@click.option("--runtime", type=click.Choice(["onnxruntime", "openvino"]), default="onnxruntime",
              show_default=True, help="Where the graph is run.")  # fmt: skip
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--model", "factory", metavar="MODULE:FACTORY",
              help="Your own function that makes the module. It is run.")  # fmt: skip
@click.option("--head", metavar="MODULE:FACTORY",
              help="Your own function that makes the head. It is run.")  # fmt: skip
@click.option("--arch", metavar="NAME", help="As for interop export.")
@report_options
def command(
    bundle: str,
    runtime: str,
    device: str,
    factory: str | None,
    head: str | None,
    arch: str | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Make the proofs of a BUNDLE again, from its receipt.

    Each file has the bytes that were proved, the weights fill the module, the graph
    has the same weights and answers as the module does. A module of your own class
    is run only if you name it again; without it the answers that the receipt
    recorded are compared.
    """
    check_targets(reports)
    need_torch_side("verify")
    from interop.export.verify import verify

    for code in (factory, head):
        if code:
            click.echo(f"running {code}: your own code", err=True)
    report = verify(
        bundle,
        ExportOptions(device=device, factory=factory, head=head, arch=arch, runtime=runtime),
        progress=progress,
    )
    progress_done()
    finish(report, form, reports)
