"""A candidate fine-tuned on each fold -> what it comes to, how soon, and at what cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.assess import parallel
from interop.assess.candidates import CandidateSpec, content
from interop.assess.dataset import DataSpec, Labelled
from interop.assess.folds import Folds
from interop.facts import Group, Json, Measurement, Unit
from interop.facts.sections.assess import FoldCurve
from interop.facts.sections.finetune import Epoch
from interop.finetune.options import FinetuneOptions
from interop.stats.agreement import corrected_interval

NEAR = 0.95  # of the best figure: what "time to 95 % of its best" is about


@dataclass(slots=True)
class Tuned:
    """Fold by fold: the task's `figure` on its test part, processor `seconds` of training (`device`
    those of a GPU), those until 95 % of the best validation figure, and the epochs. `answers`
    (rows,) are class numbers of the first repeat's folds, -1 where none; None of a task without
    classes.
    """

    name: str = "accuracy"
    better: int = 1
    figures: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    soon: list[float] = field(default_factory=list)
    histories: list[tuple[Epoch, ...]] = field(default_factory=list)
    answers: NDArray[np.int64] | None = None
    test_over_train: float = 0.25

    @property
    def outcome(self) -> float:
        """More is better."""
        return self.better * float(np.mean(self.figures))

    def measurements(self, of: str) -> list[Measurement]:
        conditions: dict[str, Json] = {"group": Group.FINE_TUNED, "of": of}
        interval = corrected_interval(self.figures, self.test_over_train)
        unit = Unit.SHARE if self.better > 0 else Unit.ABS
        if interval is not None and unit == "share":
            interval = max(interval[0], 0.0), min(interval[1], 1.0)
        return [
            Measurement(
                self.name, unit, float(np.mean(self.figures)), interval, tuple(self.figures),
                {**conditions, "better": self.better},
            ),
            _seconds("training, processor time", self.seconds, conditions),
            *([_seconds("training, device time", self.device, conditions)] if self.device else []),
            _seconds("time to 95 % of its best", self.soon, conditions),
        ]  # fmt: skip

    def curves(self, of: str) -> list[FoldCurve]:
        """The epochs of each fold."""
        return [FoldCurve(of, n, rows) for n, rows in enumerate(self.histories)]


def _seconds(name: str, values: Sequence[float], conditions: Mapping[str, Json]) -> Measurement:
    values = [1000 * v for v in values]
    samples = tuple(values)
    return Measurement(name, Unit.MS, float(np.mean(values)), None, samples, conditions=conditions)


def tune(
    specs: Sequence[CandidateSpec],
    of: Labelled,
    plan: Folds,
    how: FinetuneOptions,
    device: str,
    pool: parallel.Pool,
    folder: Path | None,
    say: parallel.Say,
) -> list[Tuned]:
    """Each candidate on each fold, all of them pieces of one work. Raises what `finetune` does."""
    jobs = [(n, fold) for n in range(len(specs)) for fold in plan.folds]
    pieces = []
    for n, fold in jobs:
        spec = specs[n]
        train, test = (np.unique(of.record[rows]) for rows in (fold.train, fold.test))
        given = (spec, of.spec.closed(), train, test, how, device)
        # Somebody's own code may have changed since: nothing of it is kept.
        stable = spec.factory is None
        source = spec.source()
        name = parallel.key(
            "tuned 2", content(spec, source) or spec.given, source.arch, spec.seed,
            repr(spec.preprocessing), of.sha256, of.labels, of.spec.task, train, test,
            how.settings(), device,
        ) if stable else ""  # fmt: skip
        pieces.append(parallel.Piece(one, given, name))
    results = parallel.done(pieces, pool, folder, "fine-tuning", say)
    tuned = [Tuned(test_over_train=plan.test_over_train) for _ in specs]
    for (n, fold), result in zip(jobs, results, strict=True):
        _take(tuned[n], result, of, fold.repeat)
    return tuned


def one(
    spec: CandidateSpec,
    data: DataSpec,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    settings: FinetuneOptions,
    device: str,
) -> dict[str, NDArray[Any]]:
    """One candidate on one fold's records: "figure", "history", "test"; of classes "answers"."""
    from interop.finetune.folds import learned

    how = replace(settings, task=data.task, device=device, seed=spec.seed, factory=spec.factory)
    how.check()
    source = spec.source()
    fold = learned(source, data.open(), data.task, data.labels, train.tolist(), test.tolist(), how)
    header = {"name": fold.name, "better": fold.better, "epochs": [asdict(e) for e in fold.history]}
    arrays: dict[str, NDArray[Any]] = {
        "figure": np.array(fold.figure), "said": np.array(json.dumps(header)), "test": test,
    }  # fmt: skip
    classes = [a.argmax() for a in fold.answers if isinstance(a, np.ndarray) and a.ndim == 1]
    if data.labels and len(classes) == len(test):
        arrays["answers"] = np.array(classes, dtype=np.int64)
    return arrays


def _take(tuned: Tuned, result: parallel.Result, of: Labelled, repeat: int) -> None:
    header = json.loads(str(result["said"]))
    rows = tuple(Epoch(**row) for row in header["epochs"])
    tuned.name = "accuracy" if header["name"] == "top-1" else header["name"]
    tuned.better = header["better"]
    tuned.figures.append(float(result["figure"]))
    tuned.histories.append(rows)
    tuned.seconds.append(sum(r.cpu_seconds for r in rows))
    if all(r.device_seconds is not None for r in rows):
        tuned.device.append(sum(r.device_seconds or 0.0 for r in rows))
    tuned.soon.append(soon(rows, tuned.better))
    if "answers" in result and repeat == 0:
        if tuned.answers is None:
            tuned.answers = np.full(len(of.names), -1, dtype=np.int64)
        tuned.answers[result["test"]] = result["answers"]


def soon(rows: Sequence[Epoch], better: int) -> float:
    """Processor seconds until the validation figure is within 5 % of its best."""
    figures = [r.figure for r in rows]
    near = max(figures) * NEAR if better > 0 else min(figures) / NEAR
    spent = 0.0
    for row, figure in zip(rows, figures, strict=True):
        spent += row.cpu_seconds
        if better * figure >= better * near:
            return spent
    return spent
