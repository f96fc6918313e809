"""What a person asks of a port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interop.facts import Json
from interop.identity.user_facts import UserFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOptions(UserFacts):
    """Whose names the weights are to have, and what is written.

    One of `to` ("library/name") and `like` (a file) is given. `out` is a .safetensors or .pth file,
    or for a class of transformers a folder that from_pretrained reads; without it nothing is
    written. `prove` runs both models on the same input: `arch` and `factory` say what the source is
    of where its tensors do not tell, `like_arch` and `like_factory` the same of `like`. `map_file`
    is a map as `interop check --map-out` writes it, to be used instead of the one found here.
    `settings` go to the target's constructor, `config` holds the fields of a transformers config.
    `force` replaces what `out` is.
    """

    to: str | None = None
    like: str | None = None
    out: str | None = None
    prove: bool = False
    factory: str | None = None
    like_arch: str | None = None
    like_factory: str | None = None
    map_file: str | Path | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)
    config: Mapping[str, Json] = field(default_factory=dict)
    force: bool = False
