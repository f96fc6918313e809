"""`interop index build`: the index of architectures, made anew from what is installed."""

from __future__ import annotations

from pathlib import Path

import click

from interop.cli.output import print_lines, progress, progress_done
from interop.errors import ConfigError, need_torch_side

LIBRARIES = ("torchvision", "timm", "transformers")


@click.group(
    name="index",
    epilog="""\b
Example:
  interop index build""",
)
def command() -> None:
    """Work on the index by which bare state dicts are known."""


@command.command(
    name="build",
    epilog="""\b
Example:
  interop index build
  interop index build --library timm --only 'timm/vit_*' -o vits.json.gz

Without options it replaces the index that interop came with, which takes some
ten minutes and needs model-interop[run,timm,hf].""",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to store it; compressed where the name ends in .gz.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Take in the names that fit, with * for any part; repeatable.",
)
@click.option(
    "--library",
    multiple=True,
    type=click.Choice(LIBRARIES),
    help="Take in this library's alone; repeatable.",
)
def build(output: Path | None, only: tuple[str, ...], library: tuple[str, ...]) -> None:
    """Build every model of the libraries, run twins, and store the index."""
    if output is None and (only or library):
        what = "a part of the index would replace the whole"
        raise ConfigError(what, fix="say where to: -o FILE")
    need_torch_side("index build")
    from interop.identity.index.lookup import STORED
    from interop.models.index.build import build_index, select, write

    out = output or STORED
    if not out.parent.is_dir():
        raise ConfigError("no such folder", where=str(out.parent), fix="make it, or choose another")
    names = select(only, library or LIBRARIES)
    try:
        size = write(build_index(names, progress=lambda line: progress(line[:100])), out)
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", where=str(out)) from None
    finally:
        progress_done()
    print_lines(f"{out}: {len(names)} names, {size} bytes")
