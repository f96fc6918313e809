"""A map of class scores -> a class a pixel, and how far that covers the truth.

The map is brought to the size of the truth's mask before the largest score of each pixel is taken,
as the evaluations of torchvision and transformers do.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared
from interop.errors import DataError
from interop.facts import TaskName, Unit
from interop.facts.sections.bench import ClassTables, Figures
from interop.tasks.base import Score, Task
from interop.tasks.shared import named, over, pick, ratio, refuse, rows_of, score, with_confusion

IGNORED = 255
_AT_ONCE = 1 << 23  # scores of pixels, 32 MB
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Segmented:
    """One picture: `mask`, zlib of its classes as uint16 (height, width), row by row, `size`; of
    the `classes` x `classes` confusion matrix, rows the truth, the `cells` that are not 0 (numbered
    row by row) and their `counts` of pixels."""

    mask: bytes
    size: tuple[int, int]
    classes: int
    cells: NDArray[np.int64]
    counts: NDArray[np.int64]

    def pixels(self) -> NDArray[np.uint16]:
        """The class of each pixel, (height, width)."""
        return np.frombuffer(zlib.decompress(self.mask), dtype=np.uint16).reshape(self.size)


class Segmentation(Task):
    """A class a pixel; scores (rows, classes, height, width), raised bilinearly (align_corners
    False) to the mask's size. Pixels whose truth is 255 do not count."""

    name = TaskName.IMAGE_SEGMENTATION
    headline = "mIoU"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Segmented]:
        rows, classes = len(batch.rows), len(self.labels)
        needs = f"one output ({rows}, {classes or 'classes'}, height, width)"

        def fits(shape: tuple[int, ...]) -> bool:
            return len(shape) == 4 and shape[0] == rows and shape[1] == (classes or shape[1])

        maps = pick(outputs, ("out", "logits"), fits, needs)
        if maps.shape[1] < 2:
            raise refuse(outputs, "a score for each of two classes or more")
        answers = []
        for record, own in zip(batch.records, rows_of(batch), strict=True):
            truth = np.asarray(record.truth)
            if truth.ndim != 2 or not own:
                raise DataError("has no mask (height, width)", where=record.name)
            answers.append(
                _compared(_classes(maps[own[0]], truth.shape), truth, maps.shape[1], record.name)
            )
        return answers

    def right(self, answer: Segmented, truth: Array) -> None:
        """No yes or no: no two masks are the same."""

    def key(self, answer: Segmented) -> Hashable:
        """The mask with its classes numbered by the order of the labels' names."""
        if not self.labels:
            return answer.size, answer.mask
        rank = np.argsort(np.argsort(np.array(self.labels), kind="stable")).astype(np.uint16)
        return answer.size, _packed(rank[answer.pixels()])

    def scores(self, answers: Sequence[Segmented], truths: Sequence[Array]) -> list[Score]:
        """The mean over classes that occur in truth or answers of TP / (TP + FP + FN), pixels of
        all pictures counted together, and the share of pixels that are right. The intervals draw
        pictures."""
        hits, there, answered = (part.astype(np.float64) for part in _by_class(answers))

        def mean_iou(drawn: NDArray[np.int64]) -> float:
            times = np.bincount(drawn, minlength=len(answers)).astype(np.float64)
            joint = times @ (there + answered - hits)
            seen = joint > 0
            return (
                float(((times @ hits)[seen] / joint[seen]).mean()) if seen.any() else float("nan")
            )

        pixels = ratio(hits.sum(axis=1), there.sum(axis=1))
        return [
            score("mIoU", Unit.SHARE, len(answers), mean_iou),
            score("pixel accuracy", Unit.SHARE, len(answers), pixels),
        ]

    def words(self, answer: Segmented) -> str:
        return self._shares(answer.pixels())

    def truth_words(self, truth: Array) -> str:
        return self._shares(np.asarray(truth)[np.asarray(truth) != IGNORED])

    def between(self, ours: Sequence[Segmented], theirs: Sequence[Segmented]) -> list[Score]:
        """The share of pixels that have the same class in both."""
        same, pixels = np.zeros(len(ours)), np.ones(len(ours))
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            pixels[i] = a.size[0] * a.size[1]
            same[i] = (a.pixels() == b.pixels()).sum() if a.size == b.size else 0
        return [score("pixel agreement", Unit.SHARE, len(ours), ratio(same, pixels))]

    def tables(self, of: str, answers: Sequence[Segmented], truths: Sequence[Array]) -> ClassTables:
        """IoU, recall ("accuracy") and the truth's pixels of each class that occurs,
        and the confusion matrix in pixels, rows the truth."""
        hits, there, answered = (part.sum(axis=0) for part in _by_class(answers))
        classes = answers[0].classes
        counts = np.zeros(classes * classes, dtype=np.int64)
        for answer in answers:
            counts[answer.cells] += answer.counts
        iou, recall = over(hits, there + answered - hits), over(hits, there)
        rows: tuple[Figures, ...] = tuple(
            {
                "class": named(self.labels, int(i)),
                "iou": float(iou[i]),
                "accuracy": float(recall[i]),
                "pixels": int(there[i]),
            }
            for i in np.flatnonzero(there + answered)
        )
        names = [named(self.labels, int(i)) for i in range(classes)]
        tables = ClassTables(of=of, labels=self.labels, classes=rows)
        return with_confusion(tables, counts.reshape(classes, classes), names)

    def _shares(self, pixels: Array) -> str:
        numbers, counts = np.unique(pixels, return_counts=True)
        parts = [
            f"{named(self.labels, int(numbers[i]))} {100 * counts[i] / counts.sum():.0f} %"
            for i in np.argsort(-counts, kind="stable")[:_SHOWN]
        ]
        return ", ".join(parts) or "nothing"


def _classes(scores: Array, size: tuple[int, ...]) -> NDArray[np.uint16]:
    """The class of the largest score of each pixel, the first of equal ones. `scores`
    (classes, h, w).

    Some classes at a time: all of them at a large picture's size are gigabytes.
    """
    import torch
    from torch.nn.functional import interpolate

    small = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float32))
    goal = int(size[0]), int(size[1])
    best = torch.full(goal, -torch.inf)
    chosen = torch.zeros(goal, dtype=torch.int64)
    step = max(1, _AT_ONCE // (goal[0] * goal[1]))
    for start in range(0, len(small), step):
        part = small[None, start : start + step]
        raised = interpolate(part, size=goal, mode="bilinear", align_corners=False)[0]
        largest, where = raised.max(dim=0)
        chosen = torch.where(largest > best, where + start, chosen)
        best = torch.maximum(best, largest)
    classes: NDArray[np.uint16] = chosen.numpy().astype(np.uint16)
    return classes


def _compared(answer: NDArray[np.uint16], truth: Array, classes: int, where: str) -> Segmented:
    counted = truth != IGNORED
    real = truth[counted].astype(np.int64)
    if real.size and not 0 <= int(real.min()) <= int(real.max()) < classes:
        what = f"has a mask of classes up to {int(real.max())}, and the model has {classes}"
        fix = "number the mask's classes as the model's labels are, 255 where none counts"
        raise DataError(what, where=where, fix=fix)
    # bincount makes all classes x classes cells: 150 classes are 22,500, few beside the pixels.
    counts = np.bincount(real * classes + answer[counted], minlength=classes * classes)
    cells = np.flatnonzero(counts)
    height, width = answer.shape
    return Segmented(_packed(answer), (height, width), classes, cells, counts[cells])


def _packed(mask: NDArray[np.uint16]) -> bytes:
    return zlib.compress(np.ascontiguousarray(mask).tobytes(), 1)


def _by_class(answers: Sequence[Segmented]) -> tuple[NDArray[np.int64], ...]:
    """Pixels of each picture by class, (pictures, classes): right, of the truth, answered."""
    shape = len(answers), answers[0].classes
    hits, there, answered = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for i, answer in enumerate(answers):
        real, chosen = np.divmod(answer.cells, answer.classes)
        np.add.at(there[i], real, answer.counts)
        np.add.at(answered[i], chosen, answer.counts)
        same = real == chosen
        hits[i, real[same]] = answer.counts[same]
    return hits, there, answered
