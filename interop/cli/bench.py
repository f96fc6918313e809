"""`interop bench MODEL [MODEL] --data DIR`: accuracy and latency, native against ONNX Runtime."""

from __future__ import annotations

import click

from interop.cli.output import (
    check_targets,
    fetching,
    finish,
    interface_options,
    need_torch_side,
    progress,
    progress_done,
    report_options,
)
from interop.facts import Labels, Preprocessing
from interop.identity import identify_file


@click.command(
    name="bench",
    epilog="""\b
Example:
  interop bench candidate.pth --data heldout --report html:bench.html
  interop bench prod.pth candidate.pth --data heldout
  interop bench bundle --data heldout --device cuda --batch 1,64

\b
DIR holds one folder of pictures a class, named like the model's labels.
Exit code 3 where the device is not had or the host is too noisy to tell.""",
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL [MODEL]")
@click.option("--data", required=True, metavar="DIR", help="Class folders of pictures.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--batch", default="1,8,32", show_default=True, help="Batch sizes for latency.")
@click.option("--threads", type=click.IntRange(1), help="Threads of both runtimes.")
@click.option(
    "--seconds", type=float, default=4.0, show_default=True, help="Time for each batch size."
)
@click.option(
    "--model",
    "factory",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the module. It is your code, and it is run.",
)
@interface_options
@report_options
def command(
    models: tuple[str, ...],
    data: str,
    device: str,
    batch: str,
    threads: int | None,
    seconds: float,
    factory: str | None,
    arch: str | None,
    labels: Labels | None,
    preprocess: Preprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Measure MODEL in PyTorch and ONNX Runtime on the same samples.

    With a second MODEL, also whether it can stand in for the first on the task. A MODEL
    is a checkpoint (it is exported first, with proof) or a bundle folder.
    """
    if len(models) > 2:
        raise click.UsageError(f"bench takes one model or two, not {len(models)}")
    check_targets(reports, *models)
    if not seconds > 0:
        raise click.BadParameter("it must be positive", param_hint="--seconds")
    sizes = _sizes(batch)
    fetching(progress)
    seen = [
        identify_file(
            m,
            content_hash=True,
            whole=True,
            arch=arch,
            labels=labels,
            preprocessing=preprocess,
        )
        for m in models
    ]
    need_torch_side("bench")
    from interop.bench import bench

    if factory:
        click.echo(f"running {factory}: your own code", err=True)
    report = bench(
        seen,
        data,
        device=device,
        batches=sizes,
        threads=threads,
        seconds=seconds,
        factories=[factory] * len(seen),
        progress=progress,
    )
    progress_done()
    finish(report, form, reports)


def _sizes(given: str) -> list[int]:
    try:
        sizes = sorted({int(part) for part in given.split(",")})
    except ValueError:
        raise click.BadParameter(
            f"{given!r} is no list like 1,8,32", param_hint="--batch"
        ) from None
    if sizes[0] < 1:
        raise click.BadParameter("a batch holds at least 1 sample", param_hint="--batch")
    return sizes
