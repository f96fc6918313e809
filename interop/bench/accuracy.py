"""A model's runtimes and a data set -> their answers, the scores of each, and how two runs differ.

Each batch is prepared once and handed to all runtimes of a model: they see the very same bytes.
What is kept of a record is its answer alone, so that a data set larger than memory streams.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from queue import Queue
from threading import Event, Thread
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from interop.bench.latency import filled
from interop.bench.runners import Contender
from interop.data.base import Array, Data, Preparation
from interop.facts import Group, Json, Measurement, Unit
from interop.facts.sections.bench import Predictions
from interop.stats.bootstrap import bootstrapped
from interop.stats.intervals import change, share
from interop.tasks.base import Task

BATCH = 32
AHEAD = 2  # batches that are prepared while a model runs
RESAMPLES = 200  # of a figure that cannot be taken apart by records
_SHOWN_FLIPS = 200
T = TypeVar("T")


@dataclass(slots=True)
class Answered:
    """What one runtime answered, record by record, and how far its outputs lie from the first's.

    `largest` and `total` are of |difference| over `count` numbers of floating point.
    """

    role: str
    runtime: str
    task: Task
    names: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    truths: list[Any] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    largest: float = 0.0
    total: float = 0.0
    count: int = 0
    seconds: float = 0.0

    @property
    def of(self) -> str:
        return f"{self.role} {self.runtime}"

    @property
    def right(self) -> NDArray[np.bool_] | None:
        """Whether each answer is right, (n,); None where the task knows no yes or no."""
        marks = [self.task.right(a, t) for a, t in zip(self.answers, self.truths, strict=True)]
        return None if None in marks else np.array(marks, dtype=bool)

    def keys(self) -> list[Any]:
        return [self.task.key(a) for a in self.answers]

    def add(self, outputs: Sequence[Array], first: Sequence[Array]) -> None:
        """Takes down how far the outputs of a batch lie from the first runtime's."""
        for ours, theirs in zip(outputs, first, strict=True):
            if ours.shape == theirs.shape and ours.dtype.kind == "f" and ours.size:
                # An infinity that both give is no difference; what is no number is the largest.
                with np.errstate(invalid="ignore"):
                    apart = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
                apart = np.nan_to_num(apart, nan=np.inf, posinf=np.inf)
                self.largest = max(self.largest, float(apart.max()))
                self.total += float(apart.sum(dtype=np.float64))
                self.count += apart.size

    def predictions(self) -> Predictions:
        """Answers by sample hash, so that stored reports can be compared later.

        Of each sample: the truth and the answer in words, whether it is right (None where the task
        knows no yes or no), and a digest of what makes two answers the same.
        """
        task = self.task
        samples = {
            h: (task.truth_words(t), task.words(a), task.right(a, t), _digest(task.key(a)))
            for h, t, a in zip(self.hashes, self.truths, self.answers, strict=True)
        }
        return Predictions(self.of, task.name, task.labels, samples)


def _digest(key: Hashable) -> str:
    return sha256(repr(key).encode()).hexdigest()[:16]


def answer(
    contender: Contender,
    data: Data,
    prepare: Preparation,
    task: Task,
    say: Callable[[str], None],
    batch: int = BATCH,
) -> tuple[list[Answered], float]:
    """Every record once in each runtime; with it the seconds that were spent waiting for data.

    Raises DataError for a record that cannot be read or prepared, ModelError where the outputs are
    none of the task.
    """
    answered = [Answered(contender.role, r.name, task) for r in contender.runtimes]
    waited, done = 0.0, 0
    batches = ahead(prepare.batches(data, batch))
    while True:
        began = perf_counter()
        prepared = next(batches, None)
        waited += perf_counter() - began
        if prepared is None:
            return answered, waited
        first: Sequence[Array] = ()
        given = filled(prepared.inputs, len(prepared.rows), contender.signature)
        for one, runtime in zip(answered, contender.runtimes, strict=True):
            began = perf_counter()
            named = contender.named(runtime, given)
            one.seconds += perf_counter() - began
            outputs = tuple(named.values())
            one.answers += task.answers(named, prepared, prepare)
            one.names += [r.name for r in prepared.records]
            one.hashes += [r.sha256 for r in prepared.records]
            one.truths += [r.truth for r in prepared.records]
            first = first or outputs
            one.add(outputs, first)
        done += len(prepared.records)
        say(f"{contender.role}: {done} of {len(data)} samples")


def ahead(items: Iterator[T], most: int = AHEAD) -> Iterator[T]:
    """The same items, up to `most` of them made by a thread before they are asked for.

    Pictures are decoded, resized and hashed outside of Python's lock, while the model runs.
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(most)
    stop = Event()

    def fill() -> None:
        fault: BaseException | None = None
        try:
            for item in items:
                queue.put((item, None))
                if stop.is_set():
                    return
        except BaseException as error:  # handed to whoever asks for the next item
            fault = error
        queue.put((None, fault))

    thread = Thread(target=fill, daemon=True)
    thread.start()
    try:
        while True:
            item, fault = queue.get()
            if fault is not None:
                raise fault
            if item is None:
                return
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            if not queue.empty():
                queue.get()
            thread.join(0.01)


def scores(found: Answered) -> list[Measurement]:
    """The task's figures, each with its interval."""
    conditions: dict[str, Json] = {
        "group": Group.ACCURACY,
        "of": found.of,
        "model": found.role,
        "runtime": found.runtime,
        "samples": len(found.truths),
    }
    return [
        Measurement(
            s.name,
            s.unit,
            s.value if isfinite(s.value) else None,  # the mean over no class, say
            s.interval,
            conditions={**conditions, "better": s.better},
        )
        for s in found.task.scores(found.answers, found.truths)
    ]


def between_runtimes(native: Answered, other: Answered) -> list[Measurement]:
    """What the change of runtime did: the same model, the same samples."""
    conditions: dict[str, Json] = {
        "group": Group.CHANGE_OF_RUNTIME,
        "of": f"{native.role}: {other.runtime} against {native.runtime}",
        "model": native.role,
        "between": "runtimes",
        "sides": [native.runtime, other.runtime],
    }
    between_runtimes = _answers(native, other, conditions)
    for score in native.task.between(native.answers, other.answers):
        between_runtimes.append(
            Measurement(score.name, score.unit, score.value, score.interval, conditions=conditions)
        )
    largest = other.largest if other.count else None
    mean = other.total / other.count if other.count else None
    between_runtimes += [
        Measurement("largest logit difference", Unit.ABS, largest, conditions=conditions),
        Measurement("mean logit difference", Unit.ABS, mean, conditions=conditions),
    ]
    margins = [m for a in native.answers if (m := native.task.margin(a)) is not None]
    if margins and other.count:
        about = {**conditions, "within": sum(m <= other.largest for m in margins)}
        smallest = float(min(margins))
        between_runtimes.append(
            Measurement("smallest margin", Unit.ABS, smallest, conditions=about)
        )
    return between_runtimes


def between_models(a: Answered, b: Answered) -> list[Measurement]:
    """Can B stand in for A on the task: both run natively, answers compared by what they say."""
    conditions: dict[str, Json] = {
        "group": Group.CHANGE_OF_MODEL,
        "of": "B against A",
        "between": "models",
        "sides": ["A", "B"],
    }
    return _answers(a, b, conditions)


def _answers(a: Answered, b: Answered, conditions: dict[str, Json]) -> list[Measurement]:
    """Agreement, flips and what became of the accuracy, from A to B."""
    same = np.array([x == y for x, y in zip(a.keys(), b.keys(), strict=True)], dtype=bool)
    flips = [_flip(a, b, int(i)) for i in np.flatnonzero(~same)[:_SHOWN_FLIPS]]
    measurements: list[Measurement] = []
    ours, theirs = a.right, b.right
    tests: list[Measurement] = []
    if ours is not None and theirs is not None:
        points, test = change(ours, theirs, conditions)
        measurements.append(points)
        tests = [share("negative flips", ours & ~theirs, conditions), test]
    else:
        measurements.append(_headline_change(a, b, conditions))
    if not a.task.discrete:  # numbers: how far they lie apart says what flips would
        return measurements
    about = {**conditions, "flipped": flips}
    measurements += [
        share("agreement", same, conditions),
        Measurement("flips", Unit.COUNT, float((~same).sum()), conditions=about),
        *tests,
    ]
    return measurements


def _flip(a: Answered, b: Answered, i: int) -> dict[str, Json]:
    """One sample that the two answer differently; "right" tells of each whether it is."""
    return {
        "sample": a.hashes[i],
        "path": a.names[i],
        "truth": a.task.truth_words(a.truths[i]),
        "a": a.task.words(a.answers[i]),
        "b": b.task.words(b.answers[i]),
        "right": [one.task.right(one.answers[i], one.truths[i]) for one in (a, b)],
    }


def _headline_change(a: Answered, b: Answered, conditions: dict[str, Json]) -> Measurement:
    """The change of the task's first figure, with a bootstrap interval over pairs of answers."""

    def by(picks: Sequence[int] | NDArray[np.int64]) -> float:
        truths_a = [a.truths[i] for i in picks]
        after = b.task.figure([b.answers[i] for i in picks], [b.truths[i] for i in picks])
        return after - a.task.figure([a.answers[i] for i in picks], truths_a)

    every = range(len(a.truths))
    interval = bootstrapped(len(a.truths), by, RESAMPLES)
    first = a.task.scores(a.answers[:1], a.truths[:1])[0]
    unit = Unit.POINTS if first.unit == Unit.SHARE else first.unit
    return Measurement(
        f"{a.task.headline} change", unit, by(every), interval,
        conditions={**conditions, "better": first.better},
    )  # fmt: skip
