"""What a person asks of a check, or of a look into one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interop.facts import Intent, Level
from interop.identity.user_facts import UserFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions(UserFacts):
    """`intent` sets the outcome. `values` compares the tensors' values too. `content_hash` notes
    what the files' bytes hash to. `levels` overrides rules' levels. `with_map` has the report hold
    the map of tensors (as in `interop.check.maps`) even where no name differs."""

    intent: Intent = Intent.RELOAD
    values: bool = False
    content_hash: bool = False
    levels: Mapping[str, Level] = field(default_factory=dict)
    with_map: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions(UserFacts):
    """`values` reads the tensors' values too; `tensors` lists the tensors one by one. `factory`
    names a person's own code that makes the module, which is run."""

    values: bool = False
    tensors: bool = False
    factory: str | None = None
