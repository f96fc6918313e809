"""`interop bench MODEL [MODEL] --data D`: accuracy and latency, native against ONNX Runtime."""

from __future__ import annotations

import click

from interop.bench.options import BenchOptions
from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say, say_own_code


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
@options_of(BenchOptions)
@click.option(
    "--compare", nargs=2, metavar="OLD NEW", help="What changed between two JSON reports of bench."
)
@report_options
def command(
    models: tuple[str, ...],
    data: str | None,
    options: BenchOptions,
    compare: tuple[str, str] | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Measure MODEL in PyTorch and ONNX Runtime on the same samples.

    With a second MODEL, also whether it can stand in for the first on the task. A MODEL
    is a checkpoint (it is exported first, with proof), a bundle folder, or an ONNX file,
    which is measured in ONNX Runtime alone.
    """
    if compare and models:
        raise click.UsageError("--compare takes two reports, and no model beside them")
    if not compare and not 1 <= len(models) <= 2:
        raise click.UsageError(f"bench takes one model or two, not {len(models)}")
    check_targets(reports, *(compare or models))
    from interop import api

    if compare:
        finish(api.compare(*compare), form, reports)
    say_own_code(options.factory)
    finish(api.bench(models, data, options, progress=progress, log=say), form, reports)
