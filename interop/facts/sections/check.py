"""What inspect and check report of one file, and of two."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.compare import RowMatch
from interop.facts.enums import Answer, Intent
from interop.facts.fed import Fed
from interop.facts.section import ABSENT, Absent, Section, Sparse, json_key
from interop.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow(Sparse):
    """One tensor without its values; what is as usual (row-major, strided, no NaN) is left out.

    `storage` is file, key, offset and size in bytes; `offset` and `stride` count elements.
    `minimum` and `maximum` are there where the values were read.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    storage: tuple[str, str, int, int] | None = None
    minimum: float | Absent | None = ABSENT
    maximum: float | Absent | None = ABSENT
    offset: int | None = None
    stride: tuple[int, ...] | None = None
    conj: bool = False
    neg: bool = False
    layout: str | None = None
    quantizer: str | None = None
    parts: tuple[TensorRow, ...] | None = None
    nan: int | None = None
    inf: int | None = None
    constant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectSection(Section):
    """`tensors` are those of each state dict by its place, where they were asked for; `notes` say
    what the weights remember of their inputs, `fed` how the model was fed, if inputs were given."""

    tensors: Mapping[str, tuple[TensorRow, ...]] | None = None
    fed: Fed | None = None
    notes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FromTo:
    """A prefix, or the place of a state dict, in B and in A."""

    b: str = json_key("from")
    a: str = json_key("to")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedTensor:
    """A tensor of A (`a`) made of tensors of B; `how` and `step` as of `Mapped`."""

    a: str = json_key("to")
    b: tuple[str, ...] = json_key("from")
    how: str
    step: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Weights of B that the map does not use, and of A that it does not fill."""

    b: tuple[str, ...] = json_key("from")
    a: tuple[str, ...] = json_key("to")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMap:
    """The map from B's tensors to A's, as `check --map` writes it; `b` and `a` are files."""

    schema: int
    b: str = json_key("from")
    a: str = json_key("to")
    prefix: FromTo
    place: FromTo
    basis: str
    tensors: tuple[MappedTensor, ...]
    unmapped: Unmapped


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingSummary:
    """How many tensors agree in name and shape, and the names of those that do not."""

    matched: int
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    map: TensorMap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadComparison:
    """Whether B's head fits A's backbone, and whether both predict the same labels."""

    alike: bool
    fits: Answer
    why: str
    labels: Answer
    labels_why: str
    rows: RowMatch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedTensor:
    """A tensor whose values differ; the figures are those of `Difference`."""

    name: str
    elements: int
    unequal: int
    largest: float | None
    mean: float | None
    cosine: float | None
    cast: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueComparison:
    """What became of A's values in B: a sentence, counts of tensors, and those that moved, the
    least alike first. `renamed` are pairs of names that hold the same bytes."""

    sentence: str
    compared: int
    equal: int
    counters_moved: int
    not_compared: tuple[str, ...]
    moved: tuple[MovedTensor, ...]
    renamed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSection(Section):
    """`values` is there where the values were compared, and then `notes` say what the weights of
    both files remember of their inputs."""

    intent: Intent | None = None
    pairing: PairingSummary | None = None
    heads: HeadComparison | None = None
    values: ValueComparison | None = None
    notes: tuple[str, ...] | None = None
