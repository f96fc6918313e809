"""`interop bench MODEL [MODEL] --data D`: accuracy and latency, native against ONNX Runtime."""

from __future__ import annotations

import click

from interop.bench import BenchOptions
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
from interop.identity import identify_file
from interop.identity.user_facts import UserFacts


@click.command(
    name="bench",
    epilog="""\b
Example:
  interop bench candidate.pth --data heldout --report html:bench.html
  interop bench prod.pth candidate.pth --data heldout
  interop bench bundle --data heldout --device cuda --batch 1,64
  interop bench classifier/ --data test.csv --column text=sentence
  interop bench model.pth --runtime pytorch --runtime pytorch:compile \\
      --runtime onnxruntime --runtime onnxruntime:int8
  interop bench --compare monday.json friday.json

\b
D is a folder of pictures or sounds with one folder a class, a COCO file,
VOC's XML, images/ with masks/, a CSV, JSONL or Parquet file, an .npz of
inputs, a folder of Hugging Face datasets, or torchvision:CIFAR10=FOLDER.
Classes are matched to the model's labels by name. An .npz holds an array for
each input, by the name in the module's forward, a row a sample, and "labels";
of your own module (--model) it also tells what it takes.
A RUNTIME is pytorch (:compile, :torchscript, :float16, :bfloat16), openvino
or onnxruntime (:io-binding, :cuda-graph, :float16, :int8, :int8-static, or a
provider's name). The others are held against the first.
Exit code 3 where the device is not had or the host is too noisy to tell.""",
)
@click.argument("models", nargs=-1, metavar="MODEL [MODEL]")
@click.option("--data", metavar="D", help="A labelled data set. Without: latency alone.")
@click.option("--task", metavar="NAME", help="What the model is for, by the Hub's word.")
@click.option(
    "--column", "columns", multiple=True, metavar="ROLE=NAME",
    help="A table's column: text=sentence, text_pair=reply, label=class; repeatable.",
)  # fmt: skip
@click.option("--split", metavar="NAME", help="The part of a data set that has several.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--runtime", "runtimes", multiple=True, default=("pytorch", "onnxruntime"), show_default=True,
    metavar="RUNTIME", help="Where the model runs; repeatable.",
)  # fmt: skip
@click.option(
    "--batch", default="1,8,32", show_default=True, help="Batch sizes for latency; none for none."
)
@click.option("--threads", type=click.IntRange(1), help="Threads of all runtimes.")
@click.option(
    "--seconds", type=float, default=4.0, show_default=True, help="Time for each batch size."
)
@click.option("--tf32", is_flag=True, help="Let CUDA round float32 products to 10 bits.")
@click.option(
    "--model",
    "factory",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the module. It is your code, and it is run.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SPEC",
    help="What your module takes: tokens=int64<1000(batch,sequence:16); repeatable.",
)
@click.option(
    "--base", metavar="FILE|FOLDER", help="The model that a LoRA or other adapter is for."
)
@click.option(
    "--compare", nargs=2, metavar="OLD NEW", help="What changed between two JSON reports of bench."
)
@interface_options
@report_options
def command(
    models: tuple[str, ...],
    data: str | None,
    task: str | None,
    columns: tuple[str, ...],
    split: str | None,
    device: str,
    runtimes: tuple[str, ...],
    batch: str,
    threads: int | None,
    seconds: float,
    tf32: bool,
    factory: str | None,
    inputs: tuple[str, ...],
    base: str | None,
    compare: tuple[str, str] | None,
    arch: str | None,
    labels: Labels | None,
    preprocess: AnyPreprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Measure MODEL in PyTorch and ONNX Runtime on the same samples.

    With a second MODEL, also whether it can stand in for the first on the task. A MODEL
    is a checkpoint (it is exported first, with proof) or a bundle folder.
    """
    if compare:
        _compare(compare, models, form, reports)
    if not 1 <= len(models) <= 2:
        raise click.UsageError(f"bench takes one model or two, not {len(models)}")
    check_targets(reports, *models)
    if not seconds > 0:
        raise click.BadParameter("it must be positive", param_hint="--seconds")
    sizes, roles = _sizes(batch), columns_of(columns)
    fetching(progress)
    seen = [
        identify_file(
            m,
            UserFacts(arch=arch, labels=labels, preprocessing=preprocess),
            content_hash=True,
            whole=True,
        )
        for m in models
    ]
    need_torch_side("bench")
    from interop.bench import bench
    from interop.export import Options
    from interop.models.signature import parse_argument

    stated = [parse_argument(text, place) for place, text in enumerate(inputs)]
    if factory:
        click.echo(f"running {factory}: your own code", err=True)
    building = Options(device=device, factory=factory, base=base, arch=arch, inputs=stated)
    report = bench(
        seen,
        data,
        BenchOptions(
            device=device,
            task=task,
            runtimes=runtimes,
            batches=sizes,
            threads=threads,
            seconds=seconds,
            tf32=tf32,
            columns=roles,
            split=split,
        ),
        building=[building] * len(seen),
        progress=progress,
    )
    progress_done()
    finish(report, form, reports)


def _compare(
    pair: tuple[str, str], models: tuple[str, ...], form: str, reports: tuple[str, ...]
) -> None:
    if models:
        raise click.UsageError("--compare takes two reports, and no model beside them")
    check_targets(reports, *pair)
    need_torch_side("bench")
    from interop.bench.compare import compare
    from interop.report.json import read_report

    finish(compare(read_report(pair[0]), read_report(pair[1]), pair), form, reports)


def _sizes(given: str) -> list[int]:
    if given == "none":
        return []
    try:
        sizes = sorted({int(part) for part in given.split(",")})
    except ValueError:
        raise click.BadParameter(
            f"{given!r} is no list like 1,8,32", param_hint="--batch"
        ) from None
    if sizes[0] < 1:
        raise click.BadParameter("a batch holds at least 1 sample", param_hint="--batch")
    return sizes
