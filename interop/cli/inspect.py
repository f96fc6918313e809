"""`interop inspect FILE`: what a model file is."""

from __future__ import annotations

import click

from interop.check.options import InspectOptions
from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say_own_code


@click.command(
    name="inspect",
    epilog="""\b
Example:
  interop inspect model.pth
  interop inspect train.pth#ema --values
  interop inspect hf://timm/resnet18.a1_in1k --tensors
  interop inspect mine.pth --model mypackage.nets:make_net
  interop inspect model.pth --data images/ --report html:fed.html

Exit code 1 where the file is unsafe to load or its values are no numbers, 2
where it cannot be read.""",
)
@click.argument("file")
@options_of(InspectOptions)
@report_options
def command(file: str, options: InspectOptions, form: str, reports: tuple[str, ...]) -> None:
    """Say what FILE is: container, architecture, head, tensors, metadata, danger.

    FILE is any model file or folder (PyTorch, safetensors, ONNX, Keras, TensorFlow,
    numpy; the README lists them), here or at an address (https://, s3://, hf://);
    FILE#PLACE looks at one of several state dicts. Nothing in the file is run.
    """
    check_targets(reports, file)
    from interop import api

    say_own_code(options.factory)
    finish(api.inspect(file, options, progress=progress), form, reports)
