"""`interop check A B`: can B go where A is?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from interop.check.options import CheckOptions
from interop.cli.output import (
    check_targets,
    fetching,
    finish,
    interface_options,
    progress,
    progress_done,
    report_options,
    write_file,
)
from interop.facts import AnyPreprocessing, Intent, Labels


@click.command(
    name="check",
    epilog="""\b
Example:
  interop check prod.pth candidate.pth
  interop check prod.pth candidate.safetensors --for replace
  interop check prod.pth train.pth#ema --for transfer --values

\b
The three questions:
  reload    does the code that loads A load B, unchanged?
  transfer  can A's architecture start from B's weights?
  replace   can B be served where A is served?""",
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--for",
    "intent",
    type=click.Choice([str(i) for i in Intent]),
    default=str(Intent.RELOAD),
    show_default=True,
    help="The question that sets the exit code.",
)
@click.option(
    "--values", is_flag=True, help="Compare the tensors' values too: what moved, and by how much."
)
@click.option(
    "--map-out",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the map from B's tensors to A's, as JSON.",
)
@interface_options
@report_options
def command(
    a: str,
    b: str,
    intent: str,
    values: bool,
    arch: str | None,
    map_out: str | None,
    labels: Labels | None,
    preprocess: AnyPreprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Say whether B can go where A is, by reading the two files.

    A and B are any model files or folders (PyTorch, safetensors, ONNX, Keras,
    TensorFlow, numpy; the README lists them), in any pair, here or at an address
    (https://, s3://, hf://). Nothing in them is run, and no torch is needed.
    """
    check_targets((*reports, *([f"json:{map_out}"] if map_out else [])), a, b)
    from interop.check import check

    fetching(progress)

    report = check(
        a,
        b,
        CheckOptions(
            intent=Intent(intent),
            values=values,
            content_hash=bool(reports),
            arch=arch,
            labels=labels,
            preprocessing=preprocess,
            with_map=map_out is not None,
        ),
        progress=progress,
    )
    progress_done()
    if map_out is not None:
        found = report.details["pairing"]["map"]
        write_file(Path(map_out), json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    finish(report, form, reports)
