"""A candidate fine-tuned on each fold -> what it comes to, how soon, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from interop.assess import work
from interop.assess.agreement import corrected_interval
from interop.assess.candidates import Spec
from interop.assess.folds import Folds
from interop.assess.labelled import Labelled
from interop.facts import Json, Measurement


@dataclass(frozen=True, slots=True)
class Tuning:
    """How candidates are fine-tuned; `settings` are fields of `interop.finetune.Options`."""

    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tuned:
    """By fold: the accuracy on its test part, seconds of training, seconds to 95 % of the best, and
    the learning curve."""

    accuracies: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    soon: list[float] = field(default_factory=list)
    histories: list[list[dict[str, Json]]] = field(default_factory=list)
    test_over_train: float = 0.25

    @property
    def outcome(self) -> float:
        return float(np.mean(self.accuracies))

    def measurements(self, name: str) -> list[Measurement]:
        conditions: dict[str, Json] = {"group": "fine-tuned", "of": name}
        interval = corrected_interval(self.accuracies, self.test_over_train)
        return [
            Measurement("accuracy", "share", self.outcome, interval, tuple(self.accuracies),
                        {**conditions, "better": 1}),
            Measurement("training, processor time", "ms", 1000 * float(np.mean(self.seconds)),
                        None, tuple(1000 * s for s in self.seconds), conditions),
            Measurement("time to 95 % of its best", "ms", 1000 * float(np.mean(self.soon)), None,
                        tuple(1000 * s for s in self.soon), conditions),
        ]  # fmt: skip

    def curves(self, name: str) -> list[Json]:
        return [
            {"of": name, "fold": n, "epochs": history} for n, history in enumerate(self.histories)
        ]


def tune(
    spec: Spec, of: Labelled, plan: Folds, how: Tuning, seed: int, device: str, pool: work.Pool,
    folder: Path | None, say: work.Say,
) -> Tuned:  # fmt: skip
    raise NotImplementedError
