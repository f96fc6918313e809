"""A task -> what is made small in training, and the figure by which epochs are compared.

The figures are those of bench; the losses are the usual ones, summed over samples, so that a step
of several batches is the same as one of all of them together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from interop.data.base import Preparation, Prepared, Record
from interop.errors import DataError, ModelError
from interop.facts import Unit
from interop.tasks import Task

Tensor = torch.Tensor


class Goal(ABC):
    """`name` is what the figure is called; `better` is 1 where more of it is better, else -1."""

    name: str
    unit: Unit
    better: int

    @abstractmethod
    def count(self, batch: Prepared) -> int:
        """Over how many things the loss is a sum."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Prepared) -> Tensor:
        """The loss summed over the batch. Raises ModelError where the outputs do not fit."""

    @abstractmethod
    def answers(self, outputs: Tensor, batch: Prepared) -> list[Any]:
        """What is kept of the outputs, an answer a record."""

    @abstractmethod
    def figure(self, answers: Sequence[Any], records: Sequence[Record]) -> float:
        """The one figure of all answers."""


class OfTask(Goal):
    """What the tasks of bench have in common."""

    def __init__(self, task: Task, prepare: Preparation, sample: Record) -> None:
        self.task, self.prepare = task, prepare
        self.name = task.headline
        self.unit = {"MAE": Unit.ABS, "WER": Unit.RATIO}.get(task.headline, Unit.SHARE)
        self.better = -1 if task.headline in ("MAE", "WER") else 1

    def count(self, batch: Prepared) -> int:
        return len(batch.records)

    def answers(self, outputs: Tensor, batch: Prepared) -> list[Any]:
        logits = outputs.detach().float().cpu().numpy()
        return self.task.answers({"logits": self.unscaled(logits)}, batch, self.prepare)

    def figure(self, answers: Sequence[Any], records: Sequence[Record]) -> float:
        return float(self.task.figure(answers, [r.truth for r in records]))

    def unscaled(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits


class Classes(OfTask):
    """Cross entropy of one class a record."""

    def loss(self, outputs: Tensor, batch: Prepared) -> Tensor:
        if outputs.shape != (len(batch.rows), len(self.task.labels)):
            raise _refuse(outputs, f"({len(batch.rows)}, {len(self.task.labels)})")
        truth = torch.tensor([batch.records[r].truth for r in batch.rows], device=outputs.device)
        return functional.cross_entropy(outputs.float(), truth, reduction="sum")


class Numbers(OfTask):
    """The squared error of numbers that were brought to mean 0 and variance 1.

    `mean` and `scale` (outputs,) are of the training set; the head learns (truth - mean) / scale.
    Without `centred` the mean is 0 and the scale the root mean square: for heads without a bias.
    """

    def __init__(self, task: Task, prepare: Preparation, training: Sequence[Record]) -> None:
        super().__init__(task, prepare, training[0])
        self.truth = np.stack([np.ravel(np.asarray(r.truth, np.float64)) for r in training])
        self.centre(True)

    def centre(self, centred: bool) -> None:
        self.mean = self.truth.mean(0) * centred
        self.scale = np.sqrt(((self.truth - self.mean) ** 2).mean(0))
        self.scale[self.scale == 0] = 1.0

    def loss(self, outputs: Tensor, batch: Prepared) -> Tensor:
        wide = len(self.mean)
        if outputs.numel() != len(batch.rows) * wide:
            raise _refuse(outputs, f"({len(batch.rows)}, {wide})")
        truth = np.stack([np.ravel(np.asarray(batch.records[r].truth)) for r in batch.rows])
        wanted = torch.from_numpy(((truth - self.mean) / self.scale).astype(np.float32))
        off = outputs.float().reshape(-1, wide) - wanted.to(outputs.device)
        return (off**2).mean(1).sum()

    def unscaled(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = logits.reshape(len(logits), -1) * self.scale + self.mean
        return values.astype(np.float32)


class AsWritten(Numbers):
    """The same of a module whose last layer holds mean and scale already."""

    def __init__(self, made: Numbers) -> None:
        for name, value in vars(made).items():
            setattr(self, name, value)
        self.mean, self.scale = np.zeros_like(made.mean), np.ones_like(made.scale)


class Tags(OfTask):
    """Cross entropy of each word's tag, at the word's first token; others do not count."""

    def count(self, batch: Prepared) -> int:
        return int((self._wanted(batch, 0) >= 0).sum()) or 1

    def loss(self, outputs: Tensor, batch: Prepared) -> Tensor:
        if outputs.ndim != 3 or outputs.shape[2] != len(self.task.labels):
            raise _refuse(outputs, f"({len(batch.rows)}, tokens, {len(self.task.labels)})")
        wanted = torch.from_numpy(self._wanted(batch, outputs.shape[1])).to(outputs.device)
        return functional.cross_entropy(
            outputs.float().flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum"
        )

    def _wanted(self, batch: Prepared, tokens: int) -> NDArray[np.int64]:
        index = {name: i for i, name in enumerate(self.task.labels)}
        rows = [about["words"] for about in batch.about]
        indices = np.full((len(rows), max(tokens, *map(len, rows))), -100, dtype=np.int64)
        for row, (words, record) in enumerate(zip(rows, batch.rows, strict=True)):
            tags = batch.records[record].truth
            seen: set[int] = set()
            for place, word in enumerate(words):
                if word is not None and word not in seen:
                    seen.add(word)
                    indices[row, place] = index[tags[word]]
        return indices


class Speech(OfTask):
    """Connectionist temporal classification (Graves et al. 2006), each record by its length."""

    def __init__(self, task: Task, prepare: Any, sample: Record, frames: Any = None) -> None:
        super().__init__(task, prepare, sample)
        self.frames = frames  # samples -> frames, where the model tells

    def loss(self, outputs: Tensor, batch: Prepared) -> Tensor:
        if outputs.ndim != 3 or outputs.shape[2] != len(self.task.labels):
            raise _refuse(outputs, f"({len(batch.rows)}, frames, {len(self.task.labels)})")
        targets = [self.written(batch.records[r]) for r in batch.rows]
        lengths = torch.tensor([max(len(t), 1) for t in targets])
        odds = functional.log_softmax(outputs.float(), dim=-1).transpose(0, 1)
        losses = functional.ctc_loss(
            odds,
            torch.tensor([i for t in targets for i in t], dtype=torch.int64, device=odds.device),
            self._heard(batch, outputs.shape[1]),
            torch.tensor([len(t) for t in targets]),
            blank=int(self.prepare.blank),  # type: ignore[attr-defined]
            reduction="none",
            zero_infinity=True,
        )
        return (losses / lengths.to(losses.device)).sum()

    def written(self, record: Record) -> list[int]:
        """The text's tokens, in the case that the vocabulary knows better."""
        tokenizer: Any = self.prepare.tokenizer  # type: ignore[attr-defined]
        unknown = tokenizer.unk_token_id
        ways = [tokenizer(way)["input_ids"] for way in _cases(record.truth)]
        best = min(ways, key=lambda ids: sum(i == unknown for i in ids))
        kept = [int(i) for i in best if i not in (unknown, self.prepare.blank)]  # type: ignore[attr-defined]
        if not kept:
            what = f"nothing of its transcript {record.truth[:40]!r} is in the vocabulary"
            fix = "write it in the tokenizer's alphabet, or take the row out"
            raise DataError(what, where=record.name, fix=fix)
        return kept

    def _heard(self, batch: Prepared, frames: int) -> Tensor:
        samples = [about["samples"] for about in batch.about]
        if self.frames is not None:
            lengths = [int(self.frames(s)) for s in samples]
        else:
            longest = max(samples)
            lengths = [round(frames * s / longest) for s in samples]
        return torch.tensor([min(max(n, 1), frames) for n in lengths])


def _cases(text: str) -> tuple[str, ...]:
    return text, text.upper(), text.lower()


def _refuse(outputs: Tensor, wanted: str) -> ModelError:
    return ModelError(
        f"gives {tuple(outputs.shape)} where {wanted} is needed",
        fix="let --model make a module that gives one row of outputs a sample, or name the --task",
    )
