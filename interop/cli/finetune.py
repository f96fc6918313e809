"""`interop finetune BACKBONE --data D`: pretrained weights and labels -> a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from interop.cli.output import (
    check_targets,
    columns_of,
    fetching,
    finish,
    interface_options,
    progress,
    progress_done,
    report_options,
)
from interop.errors import need_torch_side


@click.command(
    name="finetune",
    epilog="""\b
Example:
  interop finetune base.pth --data train -o model.pth
  interop finetune torchvision/resnet18 --weights resnet18.pth --data train
  interop finetune bert/ --data reviews.csv --mode full --layer-decay 0.9
  interop finetune wav2vec2/ --data clips/ --task audio-classification
  interop finetune random:torchvision/resnet18 --data train \\
      --pretrain autoencoder --unlabelled pictures
  interop finetune own.pth --model nets.py:make_net --data train --epochs 30

\b
BACKBONE is a checkpoint, a bundle, a folder that save_pretrained wrote, or
LIBRARY/NAME: its weights lie in --weights, or in the library's own cache.
"random:" in front leaves the weights out. It is filled completely, or
nothing is trained (exit code 1). D is what bench takes; its classes become
the labels. Given again, a run that was killed goes on where it was, to the
same bytes.""",
)
@click.argument("backbone")
@click.option("--data", required=True, metavar="D", help="A labelled data set to train on.")
@click.option(
    "-o", "--out", metavar="OUT",
    help="The checkpoint: .pth, .safetensors, or a folder for a model of transformers."
    "  [default: finetuned.pth, or finetuned/]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the checkpoint that is there.")
@click.option("--restart", is_flag=True, help="Begin anew where a killed run left its state.")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="The weights of LIBRARY/NAME.",
)  # fmt: skip
@click.option("--task", metavar="NAME", help="What is to be learned, by the Hub's word.")
@click.option(
    "--mode", type=click.Choice(["probe", "full", "both"]), default="both", show_default=True,
    help="Train the new head alone, all weights, or first the one and then the other.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True,
              help="Of each phase.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--accumulate", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    help="Batches to a step of the optimizer.",
)  # fmt: skip
@click.option(
    "--optimizer", type=click.Choice(["sgd", "adam", "adamw"]), default="adamw", show_default=True
)
@click.option(
    "--rate", type=float, metavar="R",
    help="Highest learning rate where all weights are trained.  [default: 5e-4; transformers "
    "5e-5; sgd ten times that]",
)  # fmt: skip
@click.option(
    "--probe-rate", type=float, metavar="R",
    help="That of the head alone.  [default: 5e-3; sgd 0.1; --rate with --mode probe]",
)  # fmt: skip
@click.option(
    "--head-rate-factor", type=float, default=1.0, show_default=True, metavar="F",
    help="The head's rate is F times that of the backbone.",
)  # fmt: skip
@click.option(
    "--layer-decay", type=float, default=1.0, show_default=True, metavar="F",
    help="Each block's rate is F times that of the next.",
)  # fmt: skip
@click.option(
    "--schedule", type=click.Choice(["cosine", "constant"]), default="cosine", show_default=True
)
@click.option(
    "--warmup", type=float, default=0.1, show_default=True, metavar="SHARE",
    help="Of a phase's steps, in which the rate rises.",
)  # fmt: skip
@click.option(
    "--weight-decay", type=float, default=0.01, show_default=True,
    help="Not of biases and norms.",
)  # fmt: skip
@click.option(
    "--clip", type=float, default=1.0, show_default=True, metavar="NORM",
    help="The gradient's largest norm; 0 for any.",
)  # fmt: skip
@click.option(
    "--patience", type=click.IntRange(1), metavar="N",
    help="End a phase after N epochs without a better figure.",
)  # fmt: skip
@click.option(
    "--validation", default="0.2", show_default=True, metavar="SHARE|D",
    help="What is held back of each class, or another data set.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32",
    show_default=True, help="Of the products; weights stay float32.",
)  # fmt: skip
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--pretrain", type=click.Choice(["autoencoder"]),
    help="First train the backbone without labels, as an autoencoder's encoder.",
)  # fmt: skip
@click.option(
    "--unlabelled", type=click.Path(path_type=Path), metavar="DIR",
    help="Pictures for that, in folders as they come.  [default: those of D]",
)  # fmt: skip
@click.option("--pretrain-epochs", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--column", "columns", multiple=True, metavar="ROLE=NAME",
    help="A table's column: text=sentence, label=class; repeatable.",
)  # fmt: skip
@click.option("--split", metavar="NAME", help="The part of a data set that has several.")
@click.option(
    "--model", "factory", metavar="MODULE:FACTORY",
    help="Your own function that makes the module for the new task. It is your code, and run.",
)  # fmt: skip
@interface_options
@report_options
def command(
    backbone: str,
    data: str,
    out: str | None,
    columns: tuple[str, ...],
    preprocess: Any,
    form: str,
    reports: tuple[str, ...],
    **given: Any,
) -> None:
    """Fine-tune BACKBONE on a labelled data set.

    The head is replaced for the data set's classes; the checkpoint knows its
    labels, preprocessing, base and training, so that check, export and bench
    need nothing more. The best epoch on the validation samples is written.
    """
    check_targets(reports, backbone)
    fetching(progress)
    roles = columns_of(columns)
    need_torch_side("finetune")
    from interop.finetune import Options, finetune

    if given["factory"]:
        click.echo(f"running {given['factory']}: your own code", err=True)
    options = Options(
        out=Path(out) if out else None, columns=roles, preprocessing=preprocess, **given
    )
    report = finetune(backbone, data, options, progress=progress, log=_log)
    progress_done()
    finish(report, form, reports)


def _log(line: str) -> None:
    """A line that stays, on a terminal only."""
    if sys.stderr.isatty():
        progress_done()
        click.echo(line, err=True)
