"""Logits of characters a frame -> the text that was said, and its faults.

Greedy decoding after Graves et al. 2006: the likeliest class of each frame, repeats made one,
blanks left out. No language model helps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared
from interop.facts import TaskName, Unit
from interop.tasks.base import Score, Task
from interop.tasks.shared import library, pick, ratio, rows_of, score, share_of, two_largest

_BLANKS = ("<pad>", "[PAD]", "<blank>", "<blk>", "-", "_")
_SPACE = "|"


@dataclass(frozen=True, slots=True)
class Said:
    """One utterance: its `text`, and by how much each logit may move before a frame's class
    becomes another (None where there is no frame)."""

    text: str
    margin: float | None


class SpeechRecognition(Task):
    """Connectionist temporal classification: logits (rows, frames, classes).

    The blank is class `prepare.blank` where the preparation says, else the label that is called so
    ("<pad>", "<blank>", "-", …), else class 0. Text is made by `prepare.decode(ids)`, ids without
    repeats and blanks, where there is one, else of the labels: "|" is a space, and labels in angle
    or square brackets are nothing. Frames beyond a sound's own share of a padded row do not count.

    Texts are compared without regard to case and to how words are spaced.
    """

    name = TaskName.SPEECH_RECOGNITION
    headline = "WER"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Said]:
        rows, classes = len(batch.rows), len(self.labels)

        def fits(shape: tuple[int, ...]) -> bool:
            if len(shape) != 3 or shape[0] != rows or shape[2] < 2:
                return False
            return not classes or shape[2] == classes

        needs = f"one output ({rows}, frames, {classes or 'classes'})"
        logits = pick(outputs, ("logits",), fits, needs)
        # Rows of samples may be longer than the longest sound, where the model has one length.
        # Arrays that somebody prepared say nothing of padding: all of their frames count.
        lengths = [about["samples"] for about in batch.about]
        rows_of_samples = [v.shape[1] for v in batch.inputs.values() if v.ndim == 2]
        padded = max(lengths + rows_of_samples, default=0)
        answers = []
        for own in rows_of(batch):
            parts, gaps = [], []
            for row in own:
                share = lengths[row] / padded if lengths and padded else 1.0
                frames = logits[row][: max(1, round(share * logits.shape[1]))]
                parts.append(self._text(frames.argmax(axis=1), prepare))
                gaps += [float(two_largest(frames).min()) / 2] if len(frames) else []
            answers.append(Said(" ".join(" ".join(parts).split()), min(gaps, default=None)))
        return answers

    def right(self, answer: Said, truth: str) -> bool:
        return _folded(answer.text) == _folded(truth)

    def key(self, answer: Said) -> Hashable:
        return _folded(answer.text)

    def scores(self, answers: Sequence[Said], truths: Sequence[str]) -> list[Score]:
        """Word and character error rates: the insertions, deletions and substitutions of all
        utterances over the words, or characters, of the truth; they may exceed 1. And the share of
        utterances that are right throughout. The intervals draw utterances."""
        texts, real = [a.text for a in answers], list(truths)
        exact = np.array([self.right(a, t) for a, t in zip(answers, truths, strict=True)])
        return [
            _rate("WER", texts, real, words=True),
            _rate("CER", texts, real, words=False),
            share_of("exact match", exact),
        ]

    def figure(self, answers: Sequence[Said], truths: Sequence[str]) -> float:
        figure, count = _rates([a.text for a in answers], truths, words=True)
        return figure(np.arange(count))

    def words(self, answer: Said) -> str:
        return answer.text

    def truth_words(self, truth: str) -> str:
        return truth

    def between(self, ours: Sequence[Said], theirs: Sequence[Said]) -> list[Score]:
        """The word error rate of the one with the other's texts for the truth."""
        texts, real = [a.text for a in ours], [b.text for b in theirs]
        return [_rate("word difference", texts, real, words=True)] if any(real) else []

    def _text(self, likeliest: NDArray[np.int64], prepare: Preparation) -> str:
        blank = getattr(prepare, "blank", None)
        blank = self._blank() if blank is None else int(blank)
        new = np.ones(len(likeliest), dtype=bool)
        new[1:] = likeliest[1:] != likeliest[:-1]
        ids = [int(i) for i in likeliest[new] if i != blank]
        decode = getattr(prepare, "decode", None)
        if decode is not None:
            return str(decode(ids))
        names = [self.labels[i] if self.labels else f"<{i}>" for i in ids]
        return "".join(" " if n == _SPACE else n for n in names if not _special(n))

    def _blank(self) -> int:
        return next((self.labels.index(name) for name in _BLANKS if name in self.labels), 0)


def _special(name: str) -> bool:
    return len(name) > 2 and (name[0] + name[-1]) in ("<>", "[]")


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _rate(name: str, texts: Sequence[str], real: Sequence[str], *, words: bool) -> Score:
    figure, count = _rates(texts, real, words=words)
    return score(name, Unit.RATIO, count, figure, better=-1)


def _rates(
    texts: Sequence[str], real: Sequence[str], *, words: bool
) -> tuple[Callable[[NDArray[np.int64]], float], int]:
    """The error rate of drawn pairs as a function of their places, and how many there are."""
    pairs = [(_folded(a), _folded(b)) for a, b in zip(texts, real, strict=True)]
    faults = np.array([_faults(a, b, words=words) for a, b in pairs])
    size = np.array([len(b.split()) if words else len(b) for _, b in pairs], dtype=np.float64)
    return ratio(faults, size), len(pairs)


def _faults(text: str, real: str, *, words: bool) -> float:
    """How many words, or characters, must be put in, taken out or changed."""
    library("torchmetrics")
    from torchmetrics.functional.text import char_error_rate, word_error_rate

    size = len(real.split()) if words else len(real)
    if not size:
        return float(len(text.split()) if words else len(text))
    rate = (word_error_rate if words else char_error_rate)([text], [real])
    return float(round(float(rate) * size))
