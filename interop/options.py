"""Options records: a field says its default, its help and how the command line asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interop.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """How a field is asked for. `flags` are its names ("--" and the field's own where there is
    none), `kind` its type, `least` and `most` its bounds, `many` whether it may be given more than
    once, `parse` what makes a value of the text. `shown` is the default as the help says it."""

    help: str
    flags: tuple[str, ...] = ()
    kind: type = str
    choices: Sequence[str] = ()
    least: float | None = None
    most: float | None = None
    metavar: str | None = None
    many: bool = False
    parse: Callable[[Any], Any] | None = None
    shown: str = ""


def ask(default: Any, help: str = "", *flags: str, **how: Any) -> Any:
    """A field of an options record, with its default and what `Asked` says of it."""
    many = isinstance(default, (tuple, list, Mapping))
    kind = type(default) if isinstance(default, (bool, int, float, str)) else str
    asked = Asked(help, flags, **{"kind": kind, "many": many, **how})
    if isinstance(default, Mapping):
        return field(default_factory=dict, metadata={"asked": asked})
    return field(default=default, metadata={"asked": asked})


DEVICES = ("cpu", "cuda")
COLUMN = "A table's column: {}; repeatable."
OWN_MODULE = "Your own function that makes the module. It is your code, and it is run."
TAKES = (
    "An input of your module: tokens=int64<1000(batch,sequence:16); batch.image=… for an entry of "
    "a dict, feats[0]=… of a list; repeatable."
)
TRUST = "Run code that the file holds: a TorchScript program, a pickled module of your own class."
BASE = "The model that a LoRA or other adapter is for."
SPLIT = "The part of a data set that has several."


def columns_of(given: Sequence[str]) -> dict[str, str]:
    """--column ROLE=NAME, repeated, by role. Raises ConfigError."""
    from interop.errors import ConfigError

    columns = {}
    for one in given:
        role, equals, name = one.partition("=")
        if not equals or not role or not name:
            raise ConfigError(f"--column {one!r} is not ROLE=NAME", fix="write it as text=sentence")
        columns[role] = name
    return columns
