"""`interop port A --to ARCH`: the weights under another library's names, proved."""

from __future__ import annotations

import click

from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say_own_code
from interop.port.options import PortOptions


@click.command(
    name="port",
    epilog="""\b
Example:
  interop port a.pth --to timm/vit_base_patch16_224 -o b.safetensors --prove
  interop port vit.pth --to transformers/ViTForImageClassification -o vit/
  interop port candidate.pth --like prod.pth -o mended.pth

\b
Exit code 1, and nothing written, where no complete map is found or the two
models answer differently. Without --prove the map is unproved.""",
)
@click.argument("source", metavar="A")
@options_of(PortOptions)
@report_options
def command(source: str, options: PortOptions, form: str, reports: tuple[str, ...]) -> None:
    """Give A's weights the names that another library, or another file, has for them.

    The map is found from names, shapes and roles, and covers every tensor of both
    or is refused. --prove runs both models with the real weights: at most 1e-5 of
    the largest output apart, or nothing is written.
    """
    if (options.to is None) == (options.like is None):
        raise click.UsageError("give one of --to and --like")
    check_targets(reports, source, *([options.like] if options.like else []))
    from interop import api

    say_own_code(options.factory, options.like_factory)
    finish(api.port(source, options, progress=progress), form, reports)
