"""Logits of tokens -> a tag for each word, and how many of the named things were found whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared, Record
from interop.errors import DataError
from interop.facts import Json, TaskName, Unit
from interop.facts.sections.bench import ClassTables, Figures
from interop.tasks.base import Score, Task
from interop.tasks.shared import library, named, pick, ratio, rows_of, score, two_largest

_OUTSIDE = "O"
_TAG = re.compile(r"O|[BIES]-.+")


@dataclass(frozen=True, slots=True)
class Tagged:
    """One sentence: a tag a word, and by how much the logits may move before one becomes another
    (None where there is no word)."""

    tags: tuple[str, ...]
    margin: float | None


class TokenClassification(Task):
    """A tag a word: that of the word's first token. A word that was cut off, as the text was too
    long, has the tag "O", or none ("") where that is no label.

    Tags that mark where things begin and go on (B-, I-, E-, S- and "O") are scored by seqeval as
    conlleval does: a thing counts if its type and both its ends are right. Others by accuracy.
    """

    name = TaskName.TOKEN_CLASSIFICATION

    def __init__(self, labels: Sequence[str] = ()) -> None:
        super().__init__(labels)
        whole = all(_TAG.fullmatch(label) for label in self.labels)
        self.things = whole and any(label != _OUTSIDE for label in self.labels)
        self.headline = "F1" if self.things else "tag accuracy"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Tagged]:
        rows, classes = len(batch.rows), len(self.labels)
        tokens = max((len(about["words"]) for about in batch.about), default=0)
        needs = f"one output ({rows}, {tokens} or more, {classes or 'classes'})"

        def fits(shape: tuple[int, ...]) -> bool:
            if len(shape) != 3 or shape[0] != rows or shape[1] < tokens:
                return False
            return shape[2] == classes if classes else shape[2] > 1

        logits = pick(outputs, ("logits",), fits, needs)
        return [
            self._tagged(record, [(logits[row], batch.about[row]["words"]) for row in own])
            for record, own in zip(batch.records, rows_of(batch), strict=True)
        ]

    def right(self, answer: Tagged, truth: Sequence[str]) -> bool:
        """Whether all tags of the sentence are."""
        return answer.tags == tuple(truth)

    def key(self, answer: Tagged) -> Hashable:
        return answer.tags

    def scores(self, answers: Sequence[Tagged], truths: Sequence[Sequence[str]]) -> list[Score]:
        """Precision, recall and F1 of the things (micro) and the share of words whose tag is right;
        the latter alone where tags mark no things. The intervals draw sentences."""
        ways = self._ways(answers, truths)
        return [score(name, Unit.SHARE, len(answers), figure) for name, figure in ways.items()]

    def figure(self, answers: Sequence[Tagged], truths: Sequence[Sequence[str]]) -> float:
        return self._ways(answers, truths)[self.headline](np.arange(len(answers)))

    def _ways(
        self, answers: Sequence[Tagged], truths: Sequence[Sequence[str]]
    ) -> dict[str, Callable[[NDArray[np.int64]], float]]:
        """Each figure of drawn sentences as a function of their places, the headline first."""
        right = np.array([_same(a.tags, t) for a, t in zip(answers, truths, strict=True)])
        accuracy = {"tag accuracy": ratio(right * 1.0, np.array([len(t) for t in truths]) * 1.0)}
        if not self.things:
            return accuracy
        things, there = _things([a.tags for a in answers]), _things(truths)
        hits = np.array([len(a & b) for a, b in zip(things, there, strict=True)]) * 1.0
        answered, real = (np.array([len(s) for s in side]) * 1.0 for side in (things, there))
        return {
            "F1": _or_zero(2 * hits, answered + real),
            "precision": _or_zero(hits, answered),
            "recall": _or_zero(hits, real),
            **accuracy,
        }

    def words(self, answer: Tagged) -> str:
        return " ".join(answer.tags)

    def truth_words(self, truth: Sequence[str]) -> str:
        return " ".join(truth)

    def between(self, ours: Sequence[Tagged], theirs: Sequence[Tagged]) -> list[Score]:
        """The share of words that have the same tag in both."""
        same = np.array([_same(a.tags, b.tags) for a, b in zip(ours, theirs, strict=True)]) * 1.0
        words = np.array([len(a.tags) for a in ours]) * 1.0
        return [score("tag agreement", Unit.SHARE, len(ours), ratio(same, words))]

    def tables(
        self, of: str, answers: Sequence[Tagged], truths: Sequence[Sequence[str]]
    ) -> ClassTables:
        """Precision, recall, F1 and support: of each type of thing, or of each tag where tags mark
        no things."""
        real, answered = [list(t) for t in truths], [list(a.tags) for a in answers]
        rows = _things_report(real, answered) if self.things else _tags_report(real, answered)
        sums = {"accuracy", "micro avg", "macro avg", "weighted avg"}
        by_class: tuple[Figures, ...] = tuple(
            {
                "class": name,
                "precision": float(row["precision"]),
                "recall": float(row["recall"]),
                "f1": float(row["f1-score"]),
                "support": int(row["support"]),
            }
            for name, row in rows.items()
            if name not in sums
        )
        return ClassTables(of=of, labels=self.labels, classes=by_class)

    def _tagged(self, record: Record, rows: Sequence[tuple[Array, Sequence[int | None]]]) -> Tagged:
        if len(record.truth) != len(record.raw):
            what = f"has {len(record.truth)} tags for {len(record.raw)} words"
            raise DataError(what, where=record.name, fix="give every word one tag")
        # Without things an "O" is a tag like any other, and a word that was not seen has none.
        tags = [_OUTSIDE if self.things else ""] * len(record.raw)
        seen: set[int] = set()
        least: float | None = None
        for logits, words in rows:
            for place, word in enumerate(words):
                if word is None or word in seen:
                    continue
                seen.add(word)
                tags[word] = named(self.labels, int(logits[place].argmax()))
                gap = float(two_largest(logits[place])) / 2
                least = gap if least is None else min(least, gap)
        return Tagged(tuple(tags), least)


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


def _things(sentences: Sequence[Sequence[str]]) -> list[set[tuple[str, int, int]]]:
    """The things of each sentence: type, first and last word."""
    library("seqeval")
    from seqeval.metrics.sequence_labeling import get_entities  # type: ignore[import-untyped]

    return [set(get_entities(list(tags))) for tags in sentences]


def _things_report(real: list[list[str]], answered: list[list[str]]) -> Mapping[str, Json]:
    library("seqeval")
    from seqeval.metrics import classification_report  # type: ignore[import-untyped]

    if not any(_things(real)) and not any(_things(answered)):
        return {}  # seqeval fails where there is nothing at all
    return dict(classification_report(real, answered, output_dict=True, zero_division=0))


def _tags_report(real: list[list[str]], answered: list[list[str]]) -> Mapping[str, Json]:
    library("sklearn")
    from sklearn.metrics import classification_report

    flat = [[tag for tags in side for tag in tags] for side in (real, answered)]
    return dict(classification_report(*flat, output_dict=True, zero_division=0))


def _or_zero(
    above: NDArray[np.float64], below: NDArray[np.float64]
) -> Callable[[NDArray[np.int64]], float]:
    """The quotient of sums, 0 where there is nothing to divide by, as seqeval has it."""
    figure = ratio(above, below)
    return lambda drawn: figure(drawn) if below[drawn].any() else 0.0
