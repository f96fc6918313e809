"""A checkpoint -> the same weights under another library's names, or another file's; proved.

Every tensor of the target is filled and every one of the source used, or nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from interop.facts import Identity, Json, Report
from interop.port.pipeline import Work

__all__ = ["port"]


def port(
    source: Identity,
    *,
    to: str | None = None,
    like: Identity | None = None,
    out: str | None = None,
    prove: bool = False,
    arch: str | None = None,
    factory: str | None = None,
    like_arch: str | None = None,
    like_factory: str | None = None,
    map_file: str | Path | None = None,
    settings: Mapping[str, Json] | None = None,
    config: Mapping[str, Json] | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Gives the weights of `source` the names of the model `to` ("library/name"), or of `like`.

    One of `to` and `like` is given. `out` is a .safetensors or .pth file, or for a class of
    transformers a folder that from_pretrained reads; without it nothing is written. `prove` runs
    both models on the same input: `arch` and `factory` say what `source` is of where its tensors do
    not tell, `like_arch` and `like_factory` the same of `like`. `map_file` is a map as
    `interop check --map-out` writes it, to be used instead of the one found here. `settings` go to
    the target's constructor, `config` holds the fields of a transformers config. `force` replaces
    what `out` is.

    The outcome is YES with the file written (proved or not: `details["proved"]` tells), or NO with
    nothing written where no map is complete or a proof fails. Raises InteropError for bad input.
    """
    work = Work(
        source=source,
        to=to,
        like=like,
        out=out,
        prove=prove,
        arch=arch,
        factory=factory,
        like_arch=like_arch,
        like_factory=like_factory,
        map_file=None if map_file is None else Path(map_file),
        settings=dict(settings or {}),
        config=dict(config or {}),
        force=force,
        progress=progress or (lambda step: None),
    )
    return work.run()
