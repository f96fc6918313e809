"""Rows of logits -> classes: how often right, how sure, and which are taken for which."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared
from interop.facts import TaskName, Unit
from interop.facts.sections.bench import ClassTables, Figures
from interop.tasks.base import Score, Task
from interop.tasks.shared import (
    library,
    named,
    over,
    pick,
    refuse,
    rows_of,
    score,
    share_of,
    two_largest,
    with_confusion,
)

BINS = 15

Logits = NDArray[np.float32]
Classes = NDArray[np.int64]


class Classification(Task):
    """One class a record. An answer is its row of logits, float32 (classes,).

    Of a record that became several rows it is their mean.
    """

    headline = "top-1"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Logits]:
        rows, classes = len(batch.rows), len(self.labels)
        needs = f"one output ({rows}, {classes or 'classes'}), a score a row and label,"

        def fits(shape: tuple[int, ...]) -> bool:
            if len(shape) != 2 or shape[0] != rows:
                return False
            return shape[1] == classes if classes else shape[1] > 1

        logits = pick(outputs, ("logits",), fits, needs).astype(np.float32)
        if logits.shape[1] < 2:
            raise refuse(outputs, "a score for each of two labels or more")
        return [logits[own].mean(axis=0) for own in rows_of(batch)]

    def right(self, answer: Logits, truth: int) -> bool:
        return int(answer.argmax()) == int(truth)

    def key(self, answer: Logits) -> Hashable:
        return self._name(int(answer.argmax()))

    def figure(self, answers: Sequence[Logits], truths: Sequence[int]) -> float:
        return float(np.mean([self.right(a, t) for a, t in zip(answers, truths, strict=True)]))

    def words(self, answer: Logits) -> str:
        sure = float(np.exp(-_nll(answer[None], answer[None].argmax(axis=1))[0]))
        return f"{self._name(int(answer.argmax()))} ({100 * sure:.0f} %)"

    def truth_words(self, truth: int) -> str:
        return self._name(int(truth))

    def margin(self, answer: Logits) -> float:
        """Half of the gap between the two largest logits: one may fall and the other rise."""
        return float(two_largest(answer)) / 2

    def scores(self, answers: Sequence[Logits], truths: Sequence[int]) -> list[Score]:
        """Top-1 and top-5 with Wilson's interval; macro precision, recall and F1 over the classes
        that occur in truth or answers; the expected calibration error of the softmax in 15 bins
        of equal width (Guo et al. 2017, equation 3); the negative log likelihood in nats.
        """
        logits, truth = np.stack(answers), np.asarray(truths, dtype=np.int64)
        count, classes = logits.shape
        chosen = logits.argmax(axis=1)
        figures = [share_of("top-1", chosen == truth)]
        if classes > 5:
            best = np.argpartition(logits, -5, axis=1)[:, -5:]
            figures.append(share_of("top-5", (best == truth[:, None]).any(axis=1)))
        for place, name in enumerate(("precision", "recall", "F1")):

            def macro(drawn: Classes, place: int = place) -> float:
                return macros(truth[drawn], chosen[drawn], classes)[place]

            figures.append(score(f"macro {name}", Unit.SHARE, count, macro))
        losses, sure = _nll(logits, truth), np.exp(-_nll(logits, chosen))
        bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
        gaps = (chosen == truth) - sure

        def calibration(drawn: Classes) -> float:
            return float(np.abs(np.bincount(bins[drawn], gaps[drawn], BINS)).sum()) / len(drawn)

        figures.append(score("calibration error", Unit.SHARE, count, calibration, better=-1))
        mean = score(
            "negative log likelihood", Unit.ABS, count, lambda p: losses[p].mean(), better=-1
        )
        return [*figures, mean]

    def tables(self, of: str, answers: Sequence[Logits], truths: Sequence[int]) -> ClassTables:
        """Precision, recall, F1 and support of each class, and what is confused with what."""
        library("sklearn")
        from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        logits, truth = np.stack(answers), np.asarray(truths, dtype=np.int64)
        numbers = np.arange(logits.shape[1])
        chosen = logits.argmax(axis=1)
        names = [self._name(int(i)) for i in numbers]
        figures = precision_recall_fscore_support(truth, chosen, labels=numbers, zero_division=0)
        rows: tuple[Figures, ...] = tuple(
            {
                "class": n,
                "precision": float(p),
                "recall": float(r),
                "f1": float(f),
                "support": int(s),
            }
            for n, p, r, f, s in zip(names, *figures, strict=True)
        )
        counts = confusion_matrix(truth, chosen, labels=numbers)
        return with_confusion(ClassTables(of=of, labels=self.labels, classes=rows), counts, names)

    def _name(self, number: int) -> str:
        return named(self.labels, number)


class ImageClassification(Classification):
    name = TaskName.IMAGE_CLASSIFICATION


class TextClassification(Classification):
    name = TaskName.TEXT_CLASSIFICATION


class AudioClassification(Classification):
    name = TaskName.AUDIO_CLASSIFICATION


def macros(truth: Classes, answers: Classes, classes: int) -> tuple[float, float, float]:
    """Precision, recall and F1, each the mean over the classes that occur in truth or answers.

    Of a class that is never answered the precision is 0, of one that never occurs the recall, as
    in scikit-learn with zero_division=0.
    """
    hits = np.bincount(truth[truth == answers], minlength=classes)
    there, answered = np.bincount(truth, minlength=classes), np.bincount(answers, minlength=classes)
    seen = there + answered > 0
    parts = over(hits, answered), over(hits, there), over(2 * hits, there + answered)
    precision, recall, f1 = (float(p[seen].mean()) for p in parts)
    return precision, recall, f1


def _nll(logits: Logits, classes: Classes) -> NDArray[np.float64]:
    """-log softmax(logits)[class] of each row, in nats."""
    from scipy.special import logsumexp

    chosen = np.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
    nll: NDArray[np.float64] = logsumexp(logits.astype(np.float64), axis=1) - chosen
    return nll
