"""`interop check A B`: can B go where A is?"""

from __future__ import annotations

from pathlib import Path

import click

from interop.check.options import CheckOptions
from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress
from interop.facts.sections.check import CheckSection
from interop.files import write_whole
from interop.records import replace
from interop.report.json import dump, to_json


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
@options_of(CheckOptions)
@click.option(
    "--map-out", metavar="FILE", type=click.Path(dir_okay=False),
    help="Write the map from B's tensors to A's, as JSON.",
)  # fmt: skip
@report_options
def command(
    a: str, b: str, options: CheckOptions, map_out: str | None, form: str, reports: tuple[str, ...]
) -> None:
    """Say whether B can go where A is, by reading the two files.

    A and B are any model files or folders (PyTorch, safetensors, ONNX, Keras,
    TensorFlow, numpy; the README lists them), in any pair, here or at an address
    (https://, s3://, hf://). Nothing in them is run, and no torch is needed.
    """
    check_targets((*reports, *([f"json:{map_out}"] if map_out else [])), a, b)
    from interop import api

    options = replace(options, content_hash=bool(reports), with_map=map_out is not None)
    report = api.check(a, b, options, progress=progress)
    if map_out is not None:
        pairing = report.section(CheckSection).pairing
        document = to_json(pairing.map if pairing else None)
        write_whole(Path(map_out), dump(document, indent=1))
    finish(report, form, reports)
