"""What a person asks of a check, or of a look into one file."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts import Intent, Level
from interop.identity.user_facts import UserFacts
from interop.options import OWN_MODULE, ask
from interop.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions(UserFacts):
    """`content_hash` notes what the files' bytes hash to. `levels` overrides rules' levels.
    `with_map` has the report hold the map of tensors (as in `interop.check.maps`) even where no
    name differs."""

    intent: Intent = ask(
        Intent.RELOAD, "The question that sets the exit code.", "--for",
        choices=[str(i) for i in Intent], parse=Intent, shown="reload",
    )  # fmt: skip
    values: bool = ask(False, "Compare the tensors' values too: what moved, and by how much.")
    content_hash: bool = False
    levels: Mapping[str, Level] = field(default_factory=dict)
    with_map: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions(UserFacts):
    """What is looked at."""

    values: bool = ask(False, "Read the tensors' values too (NaN, infinity, constant).")
    tensors: bool = ask(False, "List the tensors one by one.")
    data: str | None = ask(
        None, "Images of the kind that it was trained on, without labels: says how it was fed "
        "(64 are enough).", metavar="DIR|FILE",
    )  # fmt: skip
    factory: str | None = ask(None, OWN_MODULE, "--model", metavar="MODULE:FACTORY")
