"""What bench reports, and its comparison of two reports."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.enums import TaskName
from interop.facts.model import Json
from interop.facts.section import ABSENT, Absent, Section, Sparse
from interop.records import dataclass, field

# Figures of one class or output by their names, with its own name among them.
Figures = Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Pace:
    """Where the time of a model's walk over the data went; seconds by runtime."""

    waiting_for_data_seconds: float
    running_seconds: Mapping[str, float]
    share_waiting: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """A runtime's answers by the sample's hash: truth and answer in words, whether it is right
    (None where a task knows no yes or no), and a digest of what makes two answers the same."""

    of: str
    task: TaskName | None = None  # older reports have the samples alone
    labels: tuple[str, ...] = ()
    samples: Mapping[str, tuple[str | bool | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Confused:
    """How often samples of one class were answered as another."""

    truth: str
    answer: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTables(Sparse):
    """A model's answers class by class: figures a class, and the confusion matrix (rows the truth).

    `outputs` are figures of each output of a regression.
    """

    of: str
    labels: tuple[str, ...]
    classes: tuple[Figures, ...] | None = None
    confused: tuple[Confused, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    outputs: tuple[Figures, ...] | None = None


@dataclass(frozen=True, slots=True)
class SamplePreview:
    """What a page shows of a sample: a picture (base64 of a PNG; "" is none) and its text."""

    png: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSection(Section):
    """Maps go by the model ("A", "B"), `previews` by the sample's hash.

    What is of answers (`pace`, `task` and what follows) is there where there were data.
    """

    device: str | None = None
    pace: Mapping[str, Pace] | None = None
    conditions: Mapping[str, Json] | None = None
    predictions: tuple[Predictions, ...] | None = None
    task: TaskName | None = None
    split: str | Absent | None = ABSENT
    prepared: Mapping[str, Mapping[str, Json]] | None = None
    classes: tuple[ClassTables, ...] | None = None
    previews: Mapping[str, SamplePreview] | None = None
    notes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSection(Section):
    """Of `bench --compare`: the conditions that differ, each before and after."""

    conditions_changed: Mapping[str, tuple[Json, Json]] | None = field(
        default=None, metadata={"key": "conditions changed"}
    )
