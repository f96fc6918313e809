"""`interop export CHECKPOINT`: ONNX and safetensors, with proof that nothing changed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click

from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say, say_own_code
from interop.export.options import ExportOptions

_OPTIONS = [f.name for f in fields(ExportOptions) if f.name != "runtime"]  # that is for verify


@click.command(
    name="export",
    epilog="""\b
Example:
  interop export model.pth
  interop export train.pth#ema -o candidate --data heldout
  interop export mine.pth --model mypackage.nets:make_net
  interop export checkpoint-500/ --precision int8 --embed
  interop export adapter/ --base bert-base/ -o merged
  interop export a.pth b.pth c.pth -o bundles
  interop export model.onnx --to safetensors --arch resnet18

Exit code 1, and no bundle, where one of the five proofs fails.""",
)
@click.argument("checkpoints", metavar="CHECKPOINT…", nargs=-1, required=True)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="The bundle's folder; of several checkpoints, the folder of their bundles.  [default: the "
    "checkpoint's name without its ending]",
)  # fmt: skip
@options_of(ExportOptions, only=_OPTIONS)
@click.option(
    "--to", "target", type=click.Choice(["safetensors"]),
    help="From an ONNX file: recover the state dict instead.",
)  # fmt: skip
@report_options
def command(
    checkpoints: tuple[str, ...],
    out: Path | None,
    options: ExportOptions,
    target: str | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Turn CHECKPOINT into a bundle: model.onnx, model.safetensors, config, receipt, card.

    For a model of torchvision, timm or transformers nothing else is needed:
    architecture, head and inputs are inferred, labels and preprocessing come from
    the checkpoint or are recorded as unknown. The bundle counts only if five proofs
    hold; they are printed. Several checkpoints share what is loaded, and each has a
    bundle of its own in the folder of -o.
    """
    check_targets(reports, *checkpoints)
    from interop import api

    say_own_code(options.factory, options.head)
    if len(checkpoints) > 1:
        if out is None or target is not None:
            what = "several checkpoints need -o FOLDER, and --to takes one"
            raise click.UsageError(what, click.get_current_context())
        report = api.export_all(checkpoints, out, options, progress=progress, log=say)
        finish(report, form, reports)
    (checkpoint,) = checkpoints
    if target is not None:
        finish(api.restore(checkpoint, out, options, progress=progress), form, reports)
    finish(api.export(checkpoint, out, options, progress=progress, log=say), form, reports)
