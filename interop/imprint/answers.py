"""Trials -> what can be said of each question: measured, undecided, or nothing of such images.

A question is decided if the best trial that answers it otherwise is worse by the question's ratio.
The ratios and the floor were chosen by benchmarks/imprint.py on half of its kinds of networks, so
that no statement is wrong, and are reported on the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interop.facts import PHOTO_STD
from interop.imprint.candidates import FITTED, affine
from interop.imprint.search import NEAR, Trial

FLOOR = 0.02  # of the median over layers: above it, the images are not of the kind trained on
SAME, FITS = 0.08, 0.2  # shares by which numbers may differ and be called the same
# By the first layer, whatever the images are.
SURVIVES, SURVIVES_FLOOR = 1.5, 0.05
Score = Callable[[Sequence[float]], float]


def first(layers: Sequence[float]) -> float:
    return float(np.mean(layers[:NEAR]))


def median(layers: Sequence[float]) -> float:
    return float(np.median(layers))


def trimmed(layers: Sequence[float]) -> float:
    """The mean without the largest and the smallest tenth."""
    ordered = np.sort(layers)
    cut = len(ordered) // 10
    return float(ordered[cut : len(ordered) - cut].mean())


def geometric(layers: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(layers, 1e-6)))))


def later(layers: Sequence[float]) -> float:
    """The geometric mean over the later half."""
    return geometric(layers[len(layers) // 2 :])


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `answer` is what a trial says to it, `score` the mean over layers by which
    trials are compared, `ratio` what decides. `alike` says what else has to be the same as in the
    best trial; `shallow`: the first layers are enough; `across`: modules are compared. An answer
    that gives less than `apart` fits too well to be ruled out, however much better another fits."""

    name: str
    answer: Callable[[Trial], Hashable]
    score: Score
    ratio: float
    alike: Callable[[Trial], Hashable] = lambda t: ()
    shallow: bool = False
    across: bool = False
    apart: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question: `value` is the best trial's, `others` are those that are not worse
    by the ratio that is needed, `ratio` how much worse the next is (None: there is no other)."""

    question: Question
    value: Hashable
    others: tuple[Hashable, ...]
    ratio: float | None
    trial: Trial

    @property
    def decided(self) -> bool:
        return not self.others and self.ratio is not None


def _size(t: Trial) -> Hashable:
    return t.how.size


def _filter(t: Trial) -> Hashable:
    return t.how.interpolation, t.how.antialias


SCALE = Question("scale", lambda t: t.wide, first, 1.3, shallow=True)
INVERTED = Question("inverted", lambda t: t.inverted, first, 1.3, _size, shallow=True)
COLOR = Question("order of colours", lambda t: t.how.color, first, 1.3, _size, shallow=True)
NUMBERS = Question("mean and std", lambda t: t.numbers, first, 1.5,
                   lambda t: (t.how.size, t.how.color), shallow=True)  # fmt: skip
SIZE = Question("size", _size, median, 3.0, apart=0.01)
FILTER = Question("filter", _filter, trimmed, 6.0, lambda t: (t.how.resize, t.how.crop), apart=0.01)
CROP = Question("crop", lambda t: t.how.crop is not None, trimmed, 6.0, _size, apart=0.01)
VARIANT = Question("architecture", lambda t: t.variant, later, 1.5, lambda t: t.how, across=True)
BLURRED = 2.5  # in place of 1.5: anti-aliasing changes less than an activation or padding does


def asked_of(ambiguity: str) -> tuple[Question, ...]:
    """Return the questions, if architectures that have the same weights differ in `ambiguity`."""
    variant = replace(VARIANT, ratio=BLURRED) if "anti-aliasing" in ambiguity else VARIANT
    return SCALE, NUMBERS, INVERTED, COLOR, SIZE, FILTER, CROP, variant


def asked(question: Question, trials: Sequence[Trial], best: Trial) -> Answer | None:
    """Return the answer that trials give to a question; None if there is none to compare."""
    if not (ranked := _ranked(question, trials, best)):
        return None
    (value, (least, trial)), *rest = ranked
    least = max(least, question.apart / question.ratio, 1e-9)
    near = tuple(answer for answer, (score, _) in rest if score < question.ratio * least)
    ratio = rest[0][1][0] / least if rest else None
    return Answer(question, value, near, ratio, trial)


def next_best(question: Question, trials: Sequence[Trial], best: Trial) -> Trial | None:
    """Return the best trial that answers a question otherwise."""
    rest = _ranked(question, trials, best)[1:]
    return rest[0][1][1] if rest else None


def survives(question: Question, answer: Answer, trials: Sequence[Trial]) -> bool:
    """Whether an answer holds though the images are not of the kind that was trained on: only that
    on the scale does, by the first layer alone."""
    if question is not SCALE:
        return False
    least: dict[Hashable, float] = {}
    for trial in trials:
        value = question.answer(trial)
        least[value] = min(trial.layers[0], least.get(value, np.inf))
    others = [score for value, score in least.items() if value != answer.value]
    near = least[answer.value] <= SURVIVES_FLOOR
    return near and bool(others) and min(others) >= SURVIVES * least[answer.value]


Ranked = list[tuple[Hashable, tuple[float, Trial]]]


def _ranked(question: Question, trials: Sequence[Trial], best: Trial) -> Ranked:
    """The best trial of each answer, with its score; the best first."""
    own = question.alike(best)
    by_answer: dict[Hashable, tuple[float, Trial]] = {}
    for trial in trials:
        same = question.across or trial.variant == best.variant
        if not same or question.alike(trial) != own or not (trial.complete or question.shallow):
            continue
        score = question.score(trial.layers) * trial.handicap
        answer = question.answer(trial)
        if answer not in by_answer or score < by_answer[answer][0]:
            by_answer[answer] = score, trial
    ranked = sorted(by_answer.items(), key=lambda one: one[1][0])
    return ranked if question is not NUMBERS else _of_numbers(ranked)


def _of_numbers(ranked: Ranked) -> Ranked:
    """The families of numbers without those that are nearly the best, and without a fit that is
    near a family known by name: a fit to these very images is always somewhat better."""
    named = [one for one in ranked if FITTED not in str(one[0])]
    fits = [one for one in ranked if FITTED in str(one[0])]
    chosen = ranked[:1]
    if named and (not fits or _alike(fits[0][1][1], named[0][1][1], FITS)):
        chosen = named[:1]
    return [*chosen, *(n for n in named if not _alike(n[1][1], chosen[0][1][1], SAME))]


def _alike(x: Trial, y: Trial, share: float) -> bool:
    """Whether two preparations give numbers that differ by no more than a share of a photo's own
    spread."""
    (a, b), (c, d) = affine(x.how), affine(y.how)
    spread = share * PHOTO_STD * np.abs(c)
    return bool((np.abs(a / c - 1) < share).all() and (np.abs(b - d) < spread).all())
