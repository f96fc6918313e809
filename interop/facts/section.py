"""What the sections of a report have in common: which of their fields the JSON has.

In a Sparse record a field is left out of the JSON while it has its default: None where null is
never written, ABSENT where null is a value of its own.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from interop.records import dataclass, field


class Absent(Enum):
    """The default of a field whose key may be missing, where null is a value of its own."""

    ABSENT = "absent"

    def __bool__(self) -> Literal[False]:
        return False


ABSENT = Absent.ABSENT


class Sparse:
    """A record whose JSON leaves out each field that has its default."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section(Sparse):
    """What a command reports of its own; each has a subclass in `interop.facts.sections`."""


def json_key(name: str) -> Any:
    """A field whose JSON key is no name in Python."""
    return field(metadata={"key": name})
