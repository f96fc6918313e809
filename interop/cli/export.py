"""`interop export CHECKPOINT`: ONNX and safetensors, with proof that nothing changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from interop.cli.output import (
    check_targets,
    fetching,
    finish,
    interface_options,
    progress,
    progress_done,
    report_options,
)
from interop.errors import ConfigError, need_torch_side
from interop.facts import AnyPreprocessing, Identity, Labels
from interop.identity import identify_file, split_place
from interop.identity.user_facts import UserFacts

PRECISIONS = ("float16", "int8", "int8-static")


@click.command(
    name="export",
    epilog="""\b
Example:
  interop export model.pth
  interop export train.pth#ema -o candidate --data heldout
  interop export mine.pth --model mypackage.nets:make_net
  interop export checkpoint-500/ --precision int8 --embed
  interop export adapter/ --base bert-base/ -o merged
  interop export model.onnx --to safetensors --arch resnet18

Exit code 1, and no bundle, where one of the five proofs fails.""",
)
@click.argument("checkpoint")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The bundle's folder.  [default: the checkpoint's name without its ending]",
)
@click.option(
    "--data",
    metavar="DIR|FILE",
    help="Class folders of pictures, or an .npz of inputs: proofs use real samples.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SPEC",
    help="What your module takes: tokens=int64<1000(batch,sequence:16); repeatable.",
)
@click.option(
    "--model",
    "factory",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the module. It is your code, and it is run.",
)
@click.option(
    "--head",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the head alone, where it has several layers.",
)
@click.option(
    "--base", metavar="FILE|FOLDER", help="The model that a LoRA or other adapter is for."
)
@click.option(
    "--trust-pickle",
    is_flag=True,
    help="Unpickle a whole module. That runs its code, which is named first.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Also write a smaller graph, and measure what it costs; repeatable.",
)
@click.option(
    "--with-preprocess",
    "prepared",
    is_flag=True,
    help="Also write a graph that takes an uint8 picture and prepares it itself.",
)
@click.option(
    "--with-labels",
    "labelled",
    is_flag=True,
    help="The same, and it gives probabilities and the label.",
)
@click.option("--embed", is_flag=True, help="Put the weights into model.onnx too: one file.")
@click.option("--shard", metavar="SIZE", help="Split model.safetensors into files of, say, 5GB.")
@click.option(
    "--explain", is_flag=True, help="Where parity fails, find the first node that departs."
)
@click.option(
    "--to",
    "target",
    type=click.Choice(["safetensors"]),
    help="From an ONNX file: recover the state dict instead.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
              help="Where parity is proved.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@interface_options
@report_options
def command(
    checkpoint: str,
    out: Path | None,
    data: str | None,
    inputs: tuple[str, ...],
    factory: str | None,
    head: str | None,
    base: str | None,
    trust_pickle: bool,
    precisions: tuple[str, ...],
    prepared: bool,
    labelled: bool,
    embed: bool,
    shard: str | None,
    explain: bool,
    target: str | None,
    device: str,
    force: bool,
    arch: str | None,
    labels: Labels | None,
    preprocess: AnyPreprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Turn CHECKPOINT into a bundle: model.onnx, model.safetensors, config, receipt, card.

    For a model of torchvision, timm or transformers nothing else is needed:
    architecture, head and inputs are inferred, labels and preprocessing come from
    the checkpoint or are recorded as unknown. The bundle counts only if five proofs
    hold; they are printed.
    """
    check_targets(reports, checkpoint)
    fetching(progress)
    identity = identify_file(
        checkpoint,
        UserFacts(arch=arch, labels=labels, preprocessing=preprocess),
        content_hash=True,
        whole=True,
    )
    need_torch_side("export")
    for code in (factory, head):
        if code:
            click.echo(f"running {code}: your own code", err=True)
    if target is not None:
        from interop.export.from_onnx.restore import restore_file

        place = out or Path(f"{_named_after(Path(checkpoint))}.safetensors")
        finish(
            restore_file(identity, place, arch=arch, factory=factory, force=force), form, reports
        )
    if trust_pickle:
        _say_what_runs(identity)
    from interop.export import Extra, Options, export
    from interop.models.signature import parse_argument

    stated = [parse_argument(text, place) for place, text in enumerate(inputs)]
    report = export(
        identity,
        out or _named_after(Path(split_place(checkpoint)[0])),
        options=Options(
            device, factory, head, base, arch, trust_pickle, None, stated,
            None if shard is None else parse_size(shard), explain,
        ),
        extra=Extra(precisions, prepared or labelled, labelled, embed, open_data(data, identity)),
        force=force,
        progress=progress,
    )  # fmt: skip
    progress_done()
    finish(report, form, reports)


def open_data(data: str | None, identity: Identity) -> Any:
    """A folder of pictures, or an .npz file of inputs; None where none is given."""
    if data is None:
        return None
    from interop.data import Folder
    from interop.data.arrays import Inputs

    if data.endswith(".npz"):
        return Inputs(data)
    head = identity.head
    return Folder(
        data, identity.labels.names if head is None or head.role in ("", "classes") else None
    )


def _say_what_runs(identity: Identity) -> None:
    from interop.models import would_run

    names = would_run(identity)
    if names:
        click.echo(f"unpickling runs: {', '.join(names)}", err=True)


def parse_size(text: str) -> int:
    """ "5GB" -> bytes. Raises ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.strip().upper())
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"--shard {text!r} is no size", fix="write 5GB or 500MB")
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2] or " "))


def _named_after(source: Path) -> Path:
    """A folder here of the checkpoint's name without its ending; never the source itself."""
    name = source.resolve().name.split(".")[0] or "model"
    return Path(f"{name}-exported" if source.resolve() == Path(name).resolve() else name)
