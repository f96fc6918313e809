"""What finetune reports, and the rows of its curves."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.enums import TaskName, Unit
from interop.facts.model import Json
from interop.facts.section import Section
from interop.facts.sections.bench import ClassTables
from interop.records import dataclass


@dataclass(frozen=True, slots=True)
class TrainedBase:
    """What was trained on top of; `loaded_fraction` is the share of its weights that was filled."""

    name: str
    architecture: str | None
    sha256: str | None
    loaded_fraction: float | None


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """The epoch whose weights were written, with its figure and loss on the validation samples."""

    phase: str
    epoch: int
    figure: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class TrainingFigure:
    """What a training is judged by; `better` is 1 where more is better, else -1."""

    name: str
    unit: Unit
    better: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of the learning curves; `epoch` counts from 1 in each phase.

    `rate` is the highest one of the epoch's last step, `seconds` of the wall and `cpu_seconds` of
    the process, validation and all; `device_seconds` are of the GPU's stream, None without one.
    """

    phase: str
    epoch: int
    train_loss: float
    validation_loss: float
    figure: float
    rate: float
    seconds: float
    cpu_seconds: float
    device_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingData:
    """How many samples were trained on, their hash, and how many chose the epoch."""

    samples: int
    sha256: str
    validation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSection(Section):
    """`settings` are all that the weights depend on, `curves` the epochs in their order."""

    out: str | None = None
    task: TaskName | None = None
    labels: tuple[str, ...] | None = None
    base: TrainedBase | None = None
    best: BestEpoch | None = None
    figure: TrainingFigure | None = None
    curves: tuple[Epoch, ...] | None = None
    settings: Mapping[str, Json] | None = None
    data: TrainingData | None = None
    resumed: bool | None = None
    prepared: Mapping[str, Json] | None = None
    conditions: Mapping[str, Json] | None = None
    notes: tuple[str, ...] | None = None
    classes: tuple[ClassTables, ...] | None = None
