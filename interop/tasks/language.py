"""Logits of the next token -> how surprised a language model is by each text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared
from interop.facts import TaskName, Unit
from interop.tasks.base import Score, Task
from interop.tasks.shared import pick, ratio, refuse, rows_of, score


@dataclass(frozen=True, slots=True)
class Told:
    """One text: the sum `nll` of -log p(token | those before) in nats, over so many `tokens`, and a
    `hash` of the tokens that were thought likeliest."""

    nll: float
    tokens: int
    hash: str


class TextGeneration(Task):
    """A causal language model: logits (rows, tokens, vocabulary), those at a place for the token
    that follows. The first token of a row and padding (attention_mask 0) do not count."""

    name = TaskName.TEXT_GENERATION
    headline = "perplexity"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Told]:
        if "input_ids" not in batch.inputs:
            raise refuse(outputs, "an input named input_ids (the tokens that are to be foretold)")
        ids = np.asarray(batch.inputs["input_ids"])
        mask = np.asarray(batch.inputs.get("attention_mask", np.ones_like(ids))) > 0

        def fits(shape: tuple[int, ...]) -> bool:
            return len(shape) == 3 and shape[:2] == ids.shape and shape[2] > int(ids.max())

        needs = f"one output {(*ids.shape, 'vocabulary')}, a score a token, wider than its number,"
        logits = pick(outputs, ("logits",), fits, needs)
        return [_told(logits[own], ids[own], mask[own]) for own in rows_of(batch)]

    def right(self, answer: Told, truth: None) -> None:
        """No yes or no: a text is more or less likely."""

    def key(self, answer: Told) -> Hashable:
        """The tokens that were thought likeliest, as a hash."""
        return answer.hash

    def scores(self, answers: Sequence[Told], truths: Sequence[None]) -> list[Score]:
        """Perplexity: exp of all texts' summed nll over all their tokens (Jelinek et al. 1977). It
        hangs on the tokenizer and on how long the texts are that it was given."""
        mean = ratio(*_sums(answers))

        def perplexity(drawn: NDArray[np.int64]) -> float:
            with np.errstate(over="ignore"):
                return float(np.exp(mean(drawn)))

        return [score("perplexity", Unit.RATIO, len(answers), perplexity, better=-1)]

    def words(self, answer: Told) -> str:
        per_token = answer.nll / answer.tokens if answer.tokens else float("nan")
        return f"{per_token:.3g} nats a token"

    def truth_words(self, truth: None) -> str:
        return "the text itself"

    def between(self, ours: Sequence[Told], theirs: Sequence[Told]) -> list[Score]:
        """The mean over texts of how far their nll a token lie apart, in nats."""
        (a, m), (b, n) = _sums(ours), _sums(theirs)
        apart = np.abs(a / np.maximum(m, 1) - b / np.maximum(n, 1))
        mean = score(
            "nll difference a token", Unit.ABS, len(a), lambda p: float(apart[p].mean()), -1
        )
        return [mean]


def _told(logits: Array, ids: Array, mask: NDArray[np.bool_]) -> Told:
    """One text, of one row or more."""
    nll, tokens, likeliest = 0.0, 0, sha256()
    for scores, own, real in zip(logits, ids, mask, strict=True):
        counted = real[:-1] & real[1:]
        scores, following = scores[:-1][counted].astype(np.float32), own[1:][counted]
        nll += float((_logsumexp(scores) - scores[np.arange(len(scores)), following]).sum())
        tokens += len(following)
        if len(scores):
            likeliest.update(scores.argmax(axis=1).astype("<i8").tobytes())
    return Told(nll, tokens, likeliest.hexdigest())


def _logsumexp(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """log sum exp of each row (n, vocabulary), summed in float64 without a float64 copy."""
    if not len(scores):
        return np.zeros(0)
    top = scores.max(axis=1, keepdims=True)
    whole = np.exp(scores - top).sum(axis=1, dtype=np.float64)
    logsumexp: NDArray[np.float64] = np.log(whole) + top[:, 0]
    return logsumexp


def _sums(answers: Sequence[Told]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([a.nll for a in answers]), np.array([a.tokens for a in answers], np.float64)
