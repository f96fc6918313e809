"""A against B: which tensors and parts belong together, and how they differ."""

from __future__ import annotations

from interop.facts.enums import PartKind, Side
from interop.facts.model import Json, TensorSpec
from interop.records import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """How the values of two tensors of one shape differ.

    `equal` tells that they are the same bit by bit, dtype and quantizer included; `cast` whether B
    holds what A's values round to in B's dtype, None where both have one dtype. `unequal` counts
    the elements that differ. `largest` and `mean` are of |a - b| over the elements that are finite
    in both, `cosine` of the two as vectors; None where nothing can be computed (packed 4-bit
    numbers) or a vector is zero. `scale` is the root mean square of A's finite values.
    """

    equal: bool
    cast: bool | None
    unequal: int
    largest: float | None
    mean: float | None
    cosine: float | None
    scale: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of A and the one of B that takes its place; `step` tells how they were matched.

    `difference` is None where the values were not read, or cannot be compared.
    """

    a: TensorSpec
    b: TensorSpec
    step: str
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """A tensor of A made of tensors of B that have other names, or another layout.

    `how` is what is done to them, in order, comma-separated; "" is nothing: "reshape" (to A's
    shape), "transpose" (the two axes), "join" (several of B, one after the other along axis 0),
    "rows 0:768" (a part of B along axis 0). `step` is a MapStep, or what a person's map says.
    """

    a: TensorSpec
    b: tuple[TensorSpec, ...]
    how: str
    step: str


@dataclass(frozen=True, slots=True)
class RowMatch:
    """Which row of B's head each row of A's is most alike, one to one.

    `in_place` is the mean cosine of rows at the same place, `matched` of those that were matched.
    """

    order: tuple[int, ...]
    in_place: float
    matched: float

    @property
    def moved(self) -> tuple[int, ...]:
        """The rows of A that are more alike a row of B at another place."""
        return tuple(i for i, j in enumerate(self.order) if i != j)


@dataclass(frozen=True, slots=True)
class Within:
    """A place where the whole backbone of one model lies within the other, larger one.

    `side` is the larger one, `prefix` what its file has in front of the smaller one's names.
    `pairs` are the tensors of both, the same shape each, and `reshaped` those of another shape,
    none of them the backbone's; `beside` are the larger one's others.
    """

    side: Side
    prefix: str
    pairs: tuple[Pair, ...]
    reshaped: tuple[Pair, ...]
    beside: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Tensors of A against tensors of B, after the prefixes are off.

    `matched` agree in name and shape, `reshaped` in name alone; `missing` are A's alone and
    `extra` B's alone. `renamed` pairs those of the latter two that hold the same bytes, where the
    values were read. `mapped` says from which of `extra` each of `missing` can be made; it is
    either empty or covers every weight of both backbones. `basis` says what vouches for the map:
    "" is nothing, and the map is unproved. `fills` is the share of A's weight bytes that B gives
    under it, 0 where that is not enough to write B under A's names. `rows` matches the rows of the
    two heads, where the values were read and tell. `within` are the places where one's whole
    backbone lies in the other under a prefix, sought where no map covers both; several are
    ambiguous.

    What torch's own hooks do when A's module loads B strictly: `filled` are names of `missing` that
    they fill, `taken` names of `extra` that they use or drop, `resized` names of `reshaped` whose
    shapes they allow. `refused` are keys of B's file that are none of its tensors here and that a
    strict load refuses, `wanted` such keys of A's that it finds missing.
    """

    matched: tuple[Pair, ...]
    reshaped: tuple[Pair, ...]
    missing: tuple[TensorSpec, ...]
    extra: tuple[TensorSpec, ...]
    renamed: tuple[Pair, ...] = ()
    mapped: tuple[Mapped, ...] = ()
    basis: str = ""
    fills: float = 0.0
    rows: RowMatch | None = None
    within: tuple[Within, ...] = ()
    filled: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    resized: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    @property
    def lacking(self) -> list[str]:
        """What a strict load of B finds missing."""
        return [t.name for t in self.missing if t.name not in self.filled] + list(self.wanted)

    @property
    def unexpected(self) -> list[str]:
        """What a strict load of B refuses as unexpected."""
        return [t.name for t in self.extra if t.name not in self.taken] + list(self.refused)


@dataclass(frozen=True, slots=True)
class PartChange:
    """One thing in which a part of B is not A's.

    `field` is what differs within the file ("num_attention_heads", "vocabulary", by dots where it
    is nested); "" is the file as a whole, of which no more is known than that its bytes differ,
    or that one side alone has it. `side` says who has the field, or the file. `a` and `b` are the
    two values (None where it is absent). `why` says why a file could not be compared.
    """

    path: str
    kind: PartKind
    field: str = ""
    side: Side = Side.BOTH
    a: Json = None
    b: Json = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """A's parts against B's: how they differ, and the kinds of which every file is the same."""

    changes: tuple[PartChange, ...] = ()
    same: frozenset[PartKind] = frozenset()
