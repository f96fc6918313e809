"""What assess reports of candidates and of who can replace whom."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.enums import Answer, Basis, TaskName
from interop.facts.model import Json
from interop.facts.section import ABSENT, Absent, Section
from interop.facts.sections.bench import ClassTables
from interop.facts.sections.finetune import Epoch
from interop.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedModel:
    """A candidate; `figures` are its place on each axis of the Pareto front, `trained_on` how many
    of the samples its own record names, `training` its settings in words."""

    name: str
    model: str
    features: str
    prepared: Mapping[str, Json]
    random: bool
    trained_on: int | None = None
    cached: bool
    training: Mapping[str, str]
    front: bool
    figures: Mapping[str, float | None]
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """How the samples were shared out; `held_back` and `rows` count samples."""

    folds: int
    repeats: int
    how: str
    held_back: int
    rows: int
    grouped_by: str | None


@dataclass(frozen=True, slots=True)
class FoldCurve:
    """The epochs of one fold's fine-tuning."""

    of: str
    fold: int
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, slots=True)
class ScoreOrder:
    """The order that scores without training are held against."""

    against: str


@dataclass(frozen=True, slots=True)
class Interface:
    """Whether callers of A can call B as they are."""

    answer: Answer
    why: str


@dataclass(frozen=True, slots=True)
class LayerLikeness:
    """Linear CKA of each layer of `a` (rows) with each of `b` (columns); None is not defined."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]

    @property
    def turned(self) -> LayerLikeness:
        """The same with the two in each other's place."""
        return LayerLikeness(self.b, self.a, tuple(zip(*self.values, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementRow:
    """Model `b` in the place of `a`: answers to the same samples, compared.

    Agreement, flips and `change` (of what is answered right, with its 95 % `interval`) are shares
    of the `samples`, 0 to 1; each p is a probability.
    """

    a: str
    b: str
    basis: Basis
    samples: int
    agreement: float
    kappa: float | None
    negative_flips: float
    positive_flips: float
    change: float
    interval: tuple[float, float]
    equivalence_p: float | None
    not_worse_p: float | None
    mcnemar_p: float | None
    stands_in: Answer
    interface: Interface
    latency_ratio: float | None
    latency_interval: tuple[float, float] | None
    cka: LayerLikeness | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessSection(Section):
    """`candidates` come best first; `margin` is a share, `weights` are the policy's of each axis.

    `folds` is None where nothing was trained; `left_out` are models whose weights do not fit.
    """

    task: TaskName | None = None
    candidates: tuple[AssessedModel, ...] | None = None
    folds: FoldPlan | Absent | None = ABSENT
    labels: tuple[str, ...] | None = None
    confusion: tuple[ClassTables, ...] | None = None
    curves: tuple[FoldCurve, ...] | None = None
    order: ScoreOrder | None = None
    interchange: tuple[ReplacementRow, ...] | None = None
    margin: float | None = None
    weights: Mapping[str, float] | None = None
    left_out: tuple[str, ...] | None = None
    notes: tuple[str, ...] | None = None
