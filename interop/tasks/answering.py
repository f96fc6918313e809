"""Logits of where an answer begins and ends -> the words of the text between, and whether right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared
from interop.facts import TaskName, Unit
from interop.tasks.base import Score, Task
from interop.tasks.shared import library, refuse, rows_of, score, share_of

BEST = 20
LONGEST = 30

Offsets = Sequence[tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Span:
    """The `text` of the answer, and by how much each logit may move before it is another (None
    where there is no other)."""

    text: str
    margin: float | None


class QuestionAnswering(Task):
    """The span of the context with the largest sum of start and end logits, over all windows of it:
    of the 20 likeliest starts and ends, at most 30 tokens, as transformers' evaluation does.

    There always is an answer: that a question has none (SQuAD 2) is never said, and a truth of ()
    is right only where no span fits at all.
    """

    name = TaskName.QUESTION_ANSWERING
    headline = "F1"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Span]:
        rows = len(batch.rows)
        tokens = max((len(about["offsets"]) for about in batch.about), default=0)
        sides = [np.asarray(outputs.get(name, ())) for name in ("start_logits", "end_logits")]
        shape = sides[0].shape
        if any(s.shape != shape or s.ndim != 2 for s in sides) or shape[0] != rows:
            raise refuse(outputs, f"start_logits and end_logits, each ({rows}, {tokens}),")
        if shape[1] < tokens:
            raise refuse(outputs, f"start_logits and end_logits, each ({rows}, {tokens}),")
        starts, ends = (side.astype(np.float64) for side in sides)
        answers = []
        for record, own in zip(batch.records, rows_of(batch), strict=True):
            spans = [
                span
                for row in own
                for span in _spans(starts[row], ends[row], batch.about[row]["offsets"])
            ]
            answers.append(_chosen(spans, record.raw[1]))
        return answers

    def right(self, answer: Span, truth: Sequence[str]) -> bool:
        """Whether it is one of the right answers, but for case, punctuation and articles."""
        return _figures(answer.text, truth)[0] > 0

    def key(self, answer: Span) -> Hashable:
        return answer.text

    def scores(self, answers: Sequence[Span], truths: Sequence[Sequence[str]]) -> list[Score]:
        """F1 of the words that answer and truth share, and exact match, both after SQuAD's
        normalisation and with the best of the right answers (Rajpurkar et al. 2016)."""
        both = [_figures(a.text, t) for a, t in zip(answers, truths, strict=True)]
        exact, shared = (np.array(side) for side in zip(*both, strict=True))
        return [
            score("F1", Unit.SHARE, len(shared), lambda drawn: float(shared[drawn].mean())),
            share_of("exact match", exact > 0),
        ]

    def words(self, answer: Span) -> str:
        return answer.text

    def truth_words(self, truth: Sequence[str]) -> str:
        return " / ".join(dict.fromkeys(truth)) or "no answer"

    def between(self, ours: Sequence[Span], theirs: Sequence[Span]) -> list[Score]:
        """F1 of the one's answers with the other's for the truth."""
        shared = np.array(
            [_figures(a.text, (b.text,))[1] for a, b in zip(ours, theirs, strict=True)]
        )
        mean = score("answer overlap", Unit.SHARE, len(shared), lambda p: float(shared[p].mean()))
        return [mean]


def _spans(
    starts: NDArray[np.float64], ends: NDArray[np.float64], offsets: Offsets
) -> list[tuple[float, int, int]]:
    """The likeliest spans of one window: sum of logits, first and last character."""
    places = np.flatnonzero(np.array([o is not None for o in offsets], dtype=bool))
    first, last = (
        places[np.argsort(-side[places], kind="stable")[:BEST]] for side in (starts, ends)
    )
    length = last[None, :] - first[:, None] + 1
    fits = np.argwhere((length >= 1) & (length <= LONGEST))
    spans = []
    for i, j in fits:
        begin, end = offsets[first[i]], offsets[last[j]]
        assert begin is not None and end is not None  # of `places`
        spans.append((float(starts[first[i]] + ends[last[j]]), begin[0], end[1]))
    return spans


def _chosen(spans: Sequence[tuple[float, int, int]], context: str) -> Span:
    """The likeliest span; of equal ones the first."""
    if not spans:
        return Span("", None)
    ordered = sorted(spans, key=lambda span: -span[0])
    text = context[ordered[0][1] : ordered[0][2]]
    others = (span for span in ordered if context[span[1] : span[2]] != text)
    other = next(others, None)
    # Four logits have a part in it: each side's two may move by so much, towards one another.
    return Span(text, None if other is None else (ordered[0][0] - other[0]) / 4)


def _figures(answer: str, truth: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1, each 0 to 1, with the best of the right answers."""
    library("torchmetrics")
    from torchmetrics.functional.text import squad

    figures = squad(
        {"prediction_text": answer, "id": "0"},
        {"answers": {"answer_start": [0], "text": list(truth) or [""]}, "id": "0"},
    )
    return float(figures["exact_match"]) / 100, float(figures["f1"]) / 100
