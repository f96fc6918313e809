"""`interop finetune BACKBONE --data D`: pretrained weights and labels -> a checkpoint."""

from __future__ import annotations

import click

from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, log, progress, say_own_code
from interop.finetune.options import FinetuneOptions


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
@options_of(FinetuneOptions)
@report_options
def command(
    backbone: str, data: str, options: FinetuneOptions, form: str, reports: tuple[str, ...]
) -> None:
    """Fine-tune BACKBONE on a labelled data set.

    The head is replaced for the data set's classes; the checkpoint knows its
    labels, preprocessing, base and training, so that check, export and bench
    need nothing more. The best epoch on the validation samples is written.
    """
    check_targets(reports, backbone)
    from interop import api

    say_own_code(options.factory)
    finish(api.finetune(backbone, data, options, progress=progress, log=log), form, reports)
