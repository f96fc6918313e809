"""What the libraries' models look like -> the document of the index. Pure: no library is loaded.

`interop.models.catalog` makes the entries; `interop.identity.index` reads the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interop.facts import Json

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a library.

    `name` is "library/name". `shapes` are its state dict's, in definition order. `heads` are the
    (module path, role) of its heads, the main one first; roles are those of `facts.Head`. `takes`
    is what the backbone hands to the main head, as in `facts.Head`. `optional` are module paths
    that a file may lack (side branches that serve training alone). `root` is the path of the
    library's own headless model within it ("bert" of BertForSequenceClassification; "" of
    BertModel and wherever there is none). `sizes` are the config fields that shapes follow, with
    the values this instance was built with: all different, so that a dimension tells its field; it
    is empty for models of one fixed size.
    """

    name: str
    shapes: Shapes
    heads: tuple[tuple[str, str], ...] = ()
    takes: str = ""
    optional: tuple[str, ...] = ()
    root: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Twins:
    """Names whose backbones have the same names and shapes.

    `same` are groups of names whose outputs agree on the same input with the same weights, each
    group's first the one it goes by; `apart` says in a few words what tells the groups apart
    ("padding, epsilon").
    """

    same: Sequence[tuple[str, ...]]
    apart: str = ""


def document(
    entries: Sequence[Entry], twins: Sequence[Twins], built_from: Mapping[str, str]
) -> dict[str, Json]:
    """The index as JSON."""
    raise NotImplementedError


def alike(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The groups of two entries or more whose backbones have the same names and shapes."""
    raise NotImplementedError
