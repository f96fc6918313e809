"""`interop inspect FILE`: what a model file is; with --all, what each model of a store is."""

from __future__ import annotations

import click

from interop.check.options import InspectOptions
from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say_own_code
from interop.sweep.options import SweepOptions


@click.command(
    name="inspect",
    epilog="""\b
Example:
  interop inspect model.pth
  interop inspect train.pth#ema --values
  interop inspect hf://timm/resnet18.a1_in1k --tensors
  interop inspect mine.pth --model mypackage.nets:make_net
  interop inspect model.pth --data images/ --report html:fed.html
  interop inspect --all s3://bucket/models --out models.parquet

Exit code 1 where the file is unsafe to load or its values are no numbers, 2
where it cannot be read. With --all 1 if any model is unsafe or cannot be read:
its row says why; 2 if the store cannot be listed.""",
)
@click.argument("file")
@click.option(
    "--all", "everything", is_flag=True,
    help="Inspect all models below FILE: a folder, a prefix (s3://bucket/prefix) or a list of "
    "addresses (.txt, or - for stdin). An interrupted run resumes.",
)  # fmt: skip
@options_of(InspectOptions)
@options_of(SweepOptions, into="sweep")
@report_options
def command(
    file: str, everything: bool, options: InspectOptions, sweep: SweepOptions, form: str,
    reports: tuple[str, ...],
) -> None:  # fmt: skip
    """Say what FILE is: container, architecture, head, tensors, metadata, danger.

    FILE is any model file or folder (PyTorch, safetensors, ONNX, Keras, TensorFlow,
    numpy; the README lists them), here or at an address (https://, s3://, hf://);
    FILE#PLACE looks at one of several state dicts. Nothing in the file is run.
    """
    check_targets(reports, file)
    from interop import api

    if everything:
        finish(api.inspect_all(file, options, sweep, progress=progress), form, reports)
    sweep.refuse_for_one()
    say_own_code(options.factory)
    finish(api.inspect(file, options, progress=progress), form, reports)
