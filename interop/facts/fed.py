"""How a model was fed, as its running statistics and a few inputs tell it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from interop.facts.enums import Group, Unit
from interop.facts.model import Json
from interop.facts.report import Measurement
from interop.records import dataclass


def input_divergence(value: float, of: str, samples: int, **conditions: Json) -> Measurement:
    """Return how far the inputs of a model are from what it remembers, in nats: the median over its
    BatchNorms of `samples` inputs as they were prepared."""
    conditions = {"group": Group.INPUTS, "of": of, "samples": samples, **conditions}
    return Measurement("input divergence", Unit.NATS, value, conditions=conditions)


class Standing(StrEnum):
    """How far a question is answered."""

    MEASURED = "measured"
    UNDECIDED = "undecided"
    FOREIGN = "foreign"  # the inputs are not of the kind that the model was trained on
    NOT_ASKED = "not asked"  # nothing else was tried: gray images have no order of colours


@dataclass(frozen=True, slots=True)
class TriedPreparation:
    """One preparation that was tried: `preprocess` as files state it, `numbers` the family of its
    scale, mean and std, `architecture` the one of several that it was tried in ("" is the only
    one). `divergence` is the median over `layers`, which are in the order in which they run; `near`
    the mean over the first three, `ratio` the divergence over that of the best."""

    preprocess: Mapping[str, Json]
    numbers: str
    architecture: str
    divergence: float
    near: float
    ratio: float
    layers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FedAnswer:
    """What is said to one question. `others` are the answers that fit as well; `ratio` is how much
    worse the next answer is, `needed` what decides."""

    question: str
    standing: Standing
    answer: str
    others: tuple[str, ...]
    ratio: float | None
    needed: float


@dataclass(frozen=True, slots=True)
class Fed:
    """How a model was fed, by unlabelled inputs.

    `samples` inputs of `data` were used, of `wanted`. `why` is the reason if nothing can be said.
    `tried` are the best preparations, the best first, and what answers each question otherwise;
    `layers` the names of the BatchNorms. `floor` is the divergence above which the inputs are not
    of the kind that the model was trained on. `preprocess` is there if it is measured; if it is
    not though no question is open, `unmeasured` says why. `stated` is the divergence of the
    preparation that the file states.
    """

    data: str
    samples: int
    wanted: int
    floor: float
    why: str = ""
    tried: tuple[TriedPreparation, ...] = ()
    answers: tuple[FedAnswer, ...] = ()
    layers: tuple[str, ...] = ()
    preprocess: Mapping[str, Json] | None = None
    stated: float | None = None
    unmeasured: str = ""

    def measurements(self, path: str) -> tuple[Measurement, ...]:
        """The divergence of the inputs as the model's stated preparation makes them, of `path`."""
        if self.stated is None:
            return ()
        return (input_divergence(self.stated, path, self.samples),)

    @property
    def divergence(self) -> float | None:
        return self.tried[0].divergence if self.tried else None

    @property
    def within(self) -> bool:
        """Whether the inputs are of the kind that the model was trained on."""
        return self.divergence is not None and self.divergence <= self.floor

    @property
    def open(self) -> bool:
        """Whether a question is undecided."""
        return any(a.standing is Standing.UNDECIDED for a in self.answers)

    def answer(self, question: str) -> FedAnswer | None:
        return next((a for a in self.answers if a.question == question), None)
