"""`interop port A --to ARCH`: the weights under another library's names, proved."""

from __future__ import annotations

import json
from pathlib import Path

import click

from interop.cli.output import (
    check_targets,
    fetching,
    finish,
    interface_options,
    progress,
    progress_done,
    report_options,
)
from interop.errors import ConfigError, need_torch_side
from interop.facts import AnyPreprocessing, Json, Labels
from interop.identity import identify_file
from interop.identity.user_facts import UserFacts
from interop.port import PortOptions


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
@click.option("--to", metavar="LIBRARY/NAME",
              help="The model whose names the weights are to have.")  # fmt: skip
@click.option("--like", metavar="FILE", help="A file whose names and place they are to have.")
@click.option("-o", "--out", metavar="FILE|FOLDER",
              help="A .safetensors, .pth, .pt, .bin or .ckpt file; or an HF folder.")  # fmt: skip
@click.option("--prove", is_flag=True, help="Run both models on the same input.")
@click.option("--model", "factory", metavar="MODULE:FACTORY",
              help="Your own function that makes A's module. It is run.")  # fmt: skip
@click.option("--like-model", "like_factory", metavar="MODULE:FACTORY",
              help="The same for the file of --like.")  # fmt: skip
@click.option("--like-arch", metavar="NAME", help="What the file of --like is of, as --arch for A.")
@click.option("--map", "map_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Use this map (interop check --map-out) instead.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="An option of the target's constructor; repeatable.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="config.json of a transformers target.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace what is there.")
@interface_options
@report_options
def command(
    source: str,
    to: str | None,
    like: str | None,
    out: str | None,
    prove: bool,
    arch: str | None,
    factory: str | None,
    like_factory: str | None,
    like_arch: str | None,
    map_file: Path | None,
    settings: tuple[str, ...],
    config: Path | None,
    force: bool,
    labels: Labels | None,
    preprocess: AnyPreprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Give A's weights the names that another library, or another file, has for them.

    The map is found from names, shapes and roles, and covers every tensor of both
    or is refused. --prove runs both models with the real weights: at most 1e-5 of
    the largest output apart, or nothing is written.
    """
    if (to is None) == (like is None):
        raise click.UsageError("give one of --to and --like")
    check_targets(reports, source, *([like] if like else []))
    fetching(progress)
    identity = identify_file(
        source, UserFacts(arch=arch, labels=labels, preprocessing=preprocess), whole=True
    )
    other = identify_file(like, UserFacts(arch=like_arch), whole=True) if like is not None else None
    need_torch_side("port")
    from interop.port import port

    for code in (factory, like_factory):
        if code:
            click.echo(f"running {code}: your own code", err=True)
    report = port(
        identity,
        PortOptions(
            to=to,
            out=out,
            prove=prove,
            arch=arch,
            factory=factory,
            like_arch=like_arch,
            like_factory=like_factory,
            map_file=map_file,
            settings=dict(_setting(given) for given in settings),
            config=_config(config) if config else None,
            force=force,
        ),
        like=other,
        progress=progress,
    )
    progress_done()
    finish(report, form, reports)


def _setting(given: str) -> tuple[str, Json]:
    key, equals, value = given.partition("=")
    if not equals or not key.isidentifier():
        raise ConfigError(f"--set {given!r} is not KEY=VALUE", fix="write --set bn_eps=0.001")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _config(path: Path) -> dict[str, Json]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), fix="give a config.json"
        ) from None
    except ValueError as error:
        raise ConfigError(f"is not JSON ({error})", where=str(path), fix="mend it") from None
    if not isinstance(found, dict):
        raise ConfigError("is no JSON object", where=str(path), fix="give a config.json")
    about = ("architectures", "transformers_version", "torch_dtype", "dtype")
    return {k: v for k, v in found.items() if k not in about}
