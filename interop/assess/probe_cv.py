"""A candidate's features, and the folds -> its out-of-fold answers and the figures of each fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.assess import parallel, probes
from interop.assess.candidates import Seen
from interop.assess.dataset import Labelled
from interop.assess.folds import Fold, Folds
from interop.assess.options import SAMPLES
from interop.facts import Group, Json, Measurement, Unit
from interop.stats.agreement import corrected_interval
from interop.tasks.classification import macros

Array = NDArray[Any]


@dataclass(slots=True)
class ProbeTrial:
    """What a candidate's probes answered.

    `answers` (repeats, rows) are those of the fold that had the row in its test part, -1 or NaN
    where none had it; `figures` has each figure's value fold by fold. `test` are the answers to the
    held-back rows, of a probe on all others. `few` has the accuracies fold by fold with so many
    training rows a class. `seconds` is processor time of all folds' probes.
    """

    name: str
    answers: Array
    figures: dict[str, list[float]] = field(default_factory=dict)
    test: Array | None = None
    few: dict[int, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    strengths: list[float] = field(default_factory=list)


def run(
    seen: Sequence[tuple[str, Seen]],
    of: Labelled,
    plan: Folds,
    pool: parallel.Pool,
    folder: Any,
    seed: int,
    say: parallel.Say,
    samples: Sequence[int] = SAMPLES,
) -> list[ProbeTrial]:
    """All candidates on all folds. Raises what a probe raises."""
    assert of.truth is not None
    jobs = [
        (name, what, piece)
        for name, one in seen
        for what, piece in _pieces(one, of, plan, seed, samples)
    ]
    results = parallel.done([p for _, _, p in jobs], pool, folder, "probes", say)
    trials = {name: ProbeTrial(name, _empty(of, plan)) for name, _ in seen}
    for (name, what, _), result in zip(jobs, results, strict=True):
        _take(trials[name], what, result, of, plan)
    return list(trials.values())


def _empty(of: Labelled, plan: Folds) -> Array:
    assert of.truth is not None
    shape = max(f.repeat for f in plan.folds) + 1, len(of.truth)
    return np.full(shape, -1) if of.classifies else np.full(shape, np.nan)


What = tuple[str, Fold | None, int]


def _pieces(
    seen: Seen, of: Labelled, plan: Folds, seed: int, samples: Sequence[int]
) -> list[tuple[What, parallel.Piece]]:
    assert seen.features is not None and of.truth is not None
    pieces: list[tuple[What, parallel.Piece]] = []

    def add(what: What, train: Array, test: Array) -> None:
        group = of.group[of.record]
        classes = len(of.labels) if of.classifies else 0
        given = (seen.features, of.truth, classes, group, train, test, seed)
        pieces.append((what, parallel.Piece(probes.probe, given, parallel.key("probe 1", *given))))

    for fold in plan.folds:
        add(("fold", fold, 0), fold.train, fold.test)
    if len(plan.held):
        add(("held", None, 0), plan.rest, plan.held)
    for fold in plan.folds if of.classifies else ():
        for count in samples:
            train = probes.some_of_each(of.truth, fold.train, count, seed + fold.number)
            if train is not None and len(train) < len(fold.train):
                add(("few", fold, count), train, fold.test)
    return pieces


def _take(
    trial: ProbeTrial, what: What, result: parallel.Result, of: Labelled, plan: Folds
) -> None:
    kind, fold, count = what
    trial.seconds += float(result["seconds"])
    assert of.truth is not None
    if kind == "held":
        trial.test = result["answers"]
        return
    assert fold is not None
    truth = of.truth[fold.test]
    if kind == "few":
        trial.few.setdefault(count, []).append(float((result["answers"] == truth).mean()))
        return
    trial.answers[fold.repeat, fold.test] = result["answers"]
    trial.strengths.append(float(result["strength"]))
    for name, value in figures(truth, result["answers"], len(of.labels)).items():
        trial.figures.setdefault(name, []).append(value)


def figures(truth: Array, answers: Array, classes: int) -> dict[str, float]:
    """Of classes accuracy, macro precision, recall and F1; of numbers R2 and the mean error."""
    if classes:
        precision, recall, f1 = macros(truth, answers, classes)
        return {
            "accuracy": float((truth == answers).mean()),
            "macro F1": f1,
            "macro precision": precision,
            "macro recall": recall,
        }
    spread = float(((truth - truth.mean()) ** 2).sum())
    error = float(((truth - answers) ** 2).sum())
    return {
        "R2": 1 - error / spread if spread else float("nan"),
        "mean absolute error": float(np.abs(truth - answers).mean()),
    }


def measurements(trial: ProbeTrial, of: Labelled, plan: Folds) -> list[Measurement]:
    """The figures over the folds, with intervals corrected for folds that share training rows
    (Nadeau and Bengio 2003); those of few samples; and of the held-back rows."""
    conditions: dict[str, Json] = {"of": trial.name, "folds": len(plan.folds)}
    measurements = []
    for name, values in trial.figures.items():
        unit = Unit.ABS if "error" in name or name == "R2" else Unit.SHARE
        measurements.append(
            Measurement(
                name, unit, _mean(values), _interval(values, plan, unit), tuple(values),
                {**conditions, "group": Group.REUSE, "better": -1 if "error" in name else 1},
            )
        )  # fmt: skip
    for count, values in sorted(trial.few.items()):
        measurements.append(
            Measurement(
                f"accuracy at {count} a class", Unit.SHARE, float(np.mean(values)),
                _interval(values, plan, "share"), tuple(values),
                {**conditions, "group": Group.SAMPLE_EFFICIENCY, "samples": count},
            )
        )  # fmt: skip
    if trial.test is not None and of.truth is not None:
        measurements += _held(trial, of, plan)
    return measurements


def _held(trial: ProbeTrial, of: Labelled, plan: Folds) -> list[Measurement]:
    from interop.stats.intervals import share

    assert of.truth is not None and trial.test is not None
    truth = of.truth[plan.held]
    conditions = {"of": trial.name, "group": Group.HELD_BACK, "samples": len(truth)}
    if of.classifies:
        return [share("accuracy", trial.test == truth, conditions)]
    return [
        Measurement(name, Unit.ABS, value, conditions=conditions)
        for name, value in figures(truth, trial.test, 0).items()
    ]


def _mean(values: Sequence[float]) -> float | None:
    """None where a fold has no figure: numbers that are all the same have no R2."""
    return float(np.mean(values)) if np.isfinite(values).all() else None


def _interval(values: Sequence[float], plan: Folds, unit: str) -> tuple[float, float] | None:
    if not np.isfinite(values).all():
        return None
    interval = corrected_interval(values, plan.test_over_train)
    if interval is None or unit != "share":
        return interval
    return max(interval[0], 0.0), min(interval[1], 1.0)
