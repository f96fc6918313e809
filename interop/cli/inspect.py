"""`interop inspect FILE`: what a model file is."""

from __future__ import annotations

import click

from interop.check import inspect
from interop.cli.output import (
    check_targets,
    fetching,
    finish,
    interface_options,
    progress,
    progress_done,
    report_options,
)
from interop.errors import need_torch_side
from interop.facts import AnyPreprocessing, Labels
from interop.identity import identify, places_of, split_place, with_runner_up, with_values
from interop.reading import read


@click.command(
    name="inspect",
    epilog="""\b
Example:
  interop inspect model.pth
  interop inspect train.pth#ema --values
  interop inspect hf://timm/resnet18.a1_in1k --tensors
  interop inspect mine.pth --model mypackage.nets:make_net

Exit code 1 where the file is unsafe to load or its values are no numbers, 2
where it cannot be read.""",
)
@click.argument("file")
@click.option(
    "--values", is_flag=True, help="Read the tensors' values too (NaN, infinity, constant)."
)
@click.option("--tensors", is_flag=True, help="List the tensors one by one.")
@click.option(
    "--model",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the module. It is your code, and it is run.",
)
@interface_options
@report_options
def command(
    file: str,
    values: bool,
    tensors: bool,
    model: str | None,
    arch: str | None,
    labels: Labels | None,
    preprocess: AnyPreprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Say what FILE is: container, architecture, head, tensors, metadata, danger.

    FILE is any model file or folder (PyTorch, safetensors, ONNX, Keras, TensorFlow,
    numpy; the README lists them), here or at an address (https://, s3://, hf://);
    FILE#PLACE looks at one of several state dicts. Nothing in the file is run.
    """
    check_targets(reports, file)
    path, place = split_place(file)
    fetching(progress)
    manifest = read(path, whole=values)
    progress_done()
    places: list[str | None] = [place] if place is not None else [*places_of(manifest)]
    seen = [
        with_runner_up(
            identify(manifest, place=p, arch=arch, labels=labels, preprocessing=preprocess)
        )
        for p in places
    ]
    if values:
        seen = [with_values(i) for i in seen]
    if model is not None:
        need_torch_side("inspect --model")
        from interop.models.user_code import name_by_factory

        click.echo(f"running {model}: your own code", err=True)
        seen = [name_by_factory(i, model) for i in seen]
    finish(inspect(seen, tensors=tensors), form, reports)
