"""`interop assess MODELS… --data D`: which model is worth reusing, which may stand in for which."""

from __future__ import annotations

from pathlib import Path

import click

from interop.assess.options import AssessOptions
from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say_own_code
from interop.finetune.options import FinetuneOptions
from interop.records import replace


@click.command(
    name="assess",
    epilog="""\b
Example:
  interop assess a.pth b.pth random:a.pth --data train --report html:a.html
  interop assess bert/ roberta/ --data reviews.csv --task text-classification
  interop assess *.pth --data train --finetune 5 --jobs 4
  interop assess *.pth --data train --backend dask --scheduler tcp://head:8786

\b
A MODEL is a checkpoint, a bundle, a folder of transformers', a name such as
torchvision/resnet18 whose weights lie in the library's cache, or "random:"
and one of these: the same architecture with weights drawn at random, a
control that must come last. A folder or prefix (s3://bucket/prefix) of many
models, and a list of addresses (.txt), stand for all of them; a file on a
server is fetched whole. Features and probes are kept; a run that was
killed goes on where it was.
Exit code 0 where the assessment was made, whatever it says; 1 where a model's
weights do not fit its architecture: it is left out, the others are assessed.""",
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@click.option("--data", required=True, metavar="D", help="A labelled data set, as bench takes it.")
@options_of(AssessOptions)
@click.option(
    "--margin", type=click.FloatRange(0, 50, min_open=True, max_open=True), default=1.0,
    show_default=True, help="Points of accuracy within which two count as equivalent.",
)  # fmt: skip
@click.option(
    "--finetune", "epochs", type=click.IntRange(1), metavar="EPOCHS",
    help="Also fine-tune each model on each fold; scores are then held to that order.",
)  # fmt: skip
@click.option(
    "--policy", type=click.Path(path_type=Path, dir_okay=False),
    help="An interop.toml whose [assess] (accuracy, latency, size) makes one score.",
)  # fmt: skip
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False),
    help="Where features are kept.  [default: ~/.cache/interop]",
)  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Keep nothing.")
@report_options
def command(
    models: tuple[str, ...],
    data: str,
    options: AssessOptions,
    margin: float,
    epochs: int | None,
    policy: Path | None,
    cache: Path | None,
    no_cache: bool,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Assess which of several pretrained MODELs is worth reusing on a task, and which may
    stand in for which.

    All are probed on the same folds of the same data: accuracy with intervals, what
    each costs, scores that need no training, and every pair held against each other.
    """
    check_targets(reports, *models)
    from interop import api
    from interop.gate.repository.cache import default_folder
    from interop.policy.policy import read_policy

    say_own_code(*options.factories.values())
    options = replace(
        options,
        margin=margin / 100,
        cache=None if no_cache else cache or default_folder(),
        tuning=FinetuneOptions(epochs=epochs) if epochs else None,
        weights=read_policy(policy).score if policy else {},
    )
    finish(api.assess(models, data, options, progress=progress), form, reports)
