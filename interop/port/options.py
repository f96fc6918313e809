"""What a person asks of a port."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from interop.errors import ConfigError
from interop.facts import Json
from interop.identity.user_facts import BuildFacts
from interop.options import ask
from interop.records import dataclass

# Fields of a config that say nothing about the model's form.
_ABOUT = ("architectures", "transformers_version", "torch_dtype", "dtype")


def parse_settings(given: Sequence[str]) -> dict[str, Json]:
    """KEY=VALUE, repeated, by key; values as JSON where they are some. Raises ConfigError."""
    settings: dict[str, Json] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"--set {one!r} is not KEY=VALUE", fix="write --set bn_eps=0.001")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def read_config(path: str) -> dict[str, Json]:
    """The fields of a config.json that a class is built by. Raises ConfigError."""
    try:
        config = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise ConfigError(what, where=path, fix="give a config.json") from None
    except ValueError as error:
        raise ConfigError(f"is not JSON ({error})", where=path, fix="mend it") from None
    if not isinstance(config, dict):
        raise ConfigError("is no JSON object", where=path, fix="give a config.json")
    return {k: v for k, v in config.items() if k not in _ABOUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOptions(BuildFacts):
    """Whose names the weights are to have, and what is written.

    One of `to` ("library/name") and `like` (a file) is given. Without `out` nothing is written.
    `prove` runs both models on the same input: `arch` and `factory` say what the source is of where
    its tensors do not tell, `like_arch` and `like_factory` the same of `like`. `map_file` is a map
    as `interop check --map-out` writes it. `settings` go to the target's constructor, `config`
    holds the fields of a transformers config.
    """

    to: str | None = ask(
        None, "The model whose names the weights are to have.", metavar="LIBRARY/NAME"
    )
    like: str | None = ask(None, "A file whose names and place they are to have.", metavar="FILE")
    out: str | None = ask(
        None, "A .safetensors, .pth, .pt, .bin or .ckpt file; or an HF folder.", "-o", "--out",
        metavar="FILE|FOLDER",
    )  # fmt: skip
    prove: bool = ask(False, "Run both models on the same input.")
    factory: str | None = ask(
        None, "Your own function that makes A's module. It is run.", "--model",
        metavar="MODULE:FACTORY",
    )  # fmt: skip
    like_factory: str | None = ask(
        None, "The same for the file of --like.", "--like-model", metavar="MODULE:FACTORY"
    )
    like_arch: str | None = ask(
        None, "What the file of --like is of, as --arch for A.", metavar="NAME"
    )
    map_file: str | Path | None = ask(
        None, "Use this map (interop check --map-out) instead.", "--map", kind=Path, metavar="FILE"
    )
    settings: Mapping[str, Json] = ask(
        {}, "An option of the target's constructor; repeatable.", "--set", metavar="KEY=VALUE",
        parse=parse_settings,
    )  # fmt: skip
    config: Mapping[str, Json] = ask(
        {}, "config.json of a transformers target.", many=False, metavar="FILE", parse=read_config
    )
    force: bool = ask(False, "Replace what is there.")
