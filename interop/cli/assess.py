"""`interop assess MODELS… --data D`: which model is worth reusing, which may stand in for which."""

from __future__ import annotations

from pathlib import Path

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
from interop.facts import AnyPreprocessing, Labels


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
control that must come last. Features and probes are kept; a run that was
killed goes on where it was.
Exit code 0 where the assessment was made, whatever it says; 1 where a model's
weights do not fit its architecture: it is left out, the others are assessed.""",
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@click.option("--data", required=True, metavar="D", help="A labelled data set, as bench takes it.")
@click.option("--task", metavar="NAME", help="What the data is for, by the Hub's word.")
@click.option(
    "--column", "columns", multiple=True, metavar="ROLE=NAME",
    help="A table's column: text=sentence, label=class; repeatable.",
)  # fmt: skip
@click.option("--split", metavar="NAME", help="The part of a data set that has several.")
@click.option(
    "--group", metavar="COLUMN|PATTERN",
    help="What belongs together and is never on both sides of a fold; a table's column speaker, "
    "user, document and the like is taken unasked.",
)  # fmt: skip
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--test", "held", type=click.FloatRange(0, 0.5), default=0.2, show_default=True,
    help="Share that is kept for a test set, used once; 0 for none.",
)  # fmt: skip
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
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Threads of the models.")
@click.option(
    "--seconds", type=click.FloatRange(0), default=2.0, show_default=True,
    help="Time for the latency of all models; 0 leaves it out.",
)  # fmt: skip
@click.option(
    "--backend", type=click.Choice(["loky", "threading", "dask", "ray"]), default="loky",
    show_default=True, help="Where joblib does the work.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="So many at once."
)
@click.option("--scheduler", metavar="ADDRESS", help="Dask's; without, a cluster is started here.")
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False),
    help="Where features are kept.  [default: ~/.cache/interop]",
)  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Keep nothing.")
@click.option(
    "--model", "factories", multiple=True, metavar="[NAME=]MODULE:FACTORY",
    help="Your own function that makes the module (of the model called NAME). It is your code, "
    "and it is run.",
)  # fmt: skip
@click.option(
    "--features", multiple=True, metavar="[NAME=]PATH",
    help="The part of your own module that gives features.",
)  # fmt: skip
@interface_options
@report_options
def command(
    models: tuple[str, ...],
    data: str,
    task: str | None,
    columns: tuple[str, ...],
    split: str | None,
    group: str | None,
    folds: int,
    repeats: int,
    held: float,
    margin: float,
    epochs: int | None,
    policy: Path | None,
    seed: int,
    device: str,
    threads: int | None,
    seconds: float,
    backend: str,
    jobs: int,
    scheduler: str | None,
    cache: Path | None,
    no_cache: bool,
    factories: tuple[str, ...],
    features: tuple[str, ...],
    arch: str | None,
    labels: Labels | None,
    preprocess: AnyPreprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Assess which of several pretrained MODELs is worth reusing on a task, and which may
    stand in for which.

    All are probed on the same folds of the same data: accuracy with intervals, what
    each costs, scores that need no training, and every pair held against each other.
    """
    check_targets(reports, *models)
    roles = columns_of(columns)
    weights = _weights(policy) if policy is not None else {}
    fetching(progress)
    need_torch_side("assess")
    from interop.assess import Options, Tuning, assess
    from interop.assess.parallel import Pool
    from interop.gate.repository.cache import default_folder

    for factory in factories:
        click.echo(f"running {factory.rpartition('=')[2]}: your own code", err=True)
    options = Options(
        task=task,
        columns=roles,
        split=split,
        group=group,
        folds=folds,
        repeats=repeats,
        held=held,
        margin=margin / 100,
        seed=seed,
        device=device,
        threads=threads,
        seconds=seconds,
        cache=None if no_cache else cache or default_folder(),
        pool=Pool(backend, jobs, scheduler),
        tuning=Tuning({"epochs": epochs}) if epochs else None,
        weights=weights,
    )
    report = assess(
        models, data, options=options, arch=arch, factories=_by_name(factories),
        features=_by_name(features),
        labels=labels, preprocessing=preprocess, progress=progress,
    )  # fmt: skip
    progress_done()
    finish(report, form, reports)


# A policy's keys, and the figures that they are weights of.
_FIGURES = {"accuracy": "accuracy", "latency": "latency", "size": "weight bytes"}


def _weights(policy: Path) -> dict[str, float]:
    from interop.policy.policy import read_policy

    settings = read_policy(policy).settings
    return {
        figure: float(settings[f"assess.{key}"][0])
        for key, figure in _FIGURES.items()
        if f"assess.{key}" in settings
    }


def _by_name(given: tuple[str, ...]) -> dict[str, str]:
    """ "NAME=VALUE" by name; a bare value is for all, under ""."""
    parts = [one.rpartition("=") for one in given]
    return {name: value for name, _, value in parts}
