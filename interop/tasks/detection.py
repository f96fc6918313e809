"""Boxes with labels and scores -> how many of the things in a picture were found, and how well.

Boxes are matched with the truth by pycocotools, once; the average precision is its 101-point one,
computed here so that pictures can be drawn anew without matching them again.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Boxes, Preparation, Prepared
from interop.facts import Json, TaskName, Unit
from interop.facts.sections.bench import ClassTables, Figures
from interop.tasks.base import Score, Task
from interop.tasks.shared import library, named, over, ratio, refuse, rows_of, score

MOST = 100  # detections a picture, as COCO counts
SURE = 0.5  # what people are shown
# Each counts all detections again; 100 give an interval's ends to about a tenth of its width.
RESAMPLES = 100
_BACKGROUND = {"background", "__background__"}
_NEEDS = "boxes (n, 4), labels (n,) and scores (n,), or logits (rows, n, classes) and pred_boxes"


class Detection(Task):
    """Boxes in pictures. An answer is `Boxes` of at most 100 detections, the surest first, labels
    as places in `labels`, coordinates in pixels of the stored picture.

    torchvision's detectors give boxes, labels and scores of one picture, in pixels as it was fed;
    they count classes from 1, 0 being the background, so that a number is a place in `labels` if
    those begin with the background and one more if not. transformers' give logits and pred_boxes
    (centre, width, height as shares of the picture): with one class more than labels (DETR, YOLOS)
    a softmax whose last class is "no object", with as many (Deformable DETR, RT-DETR) a sigmoid.
    """

    name = TaskName.OBJECT_DETECTION
    headline = "mAP"

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Boxes]:
        if {"boxes", "labels", "scores"} <= outputs.keys():
            return [self._of_torchvision(outputs, batch)]
        if {"logits", "pred_boxes"} <= outputs.keys():
            return self._of_transformers(outputs, batch)
        raise refuse(outputs, _NEEDS)

    def right(self, answer: Boxes, truth: Boxes) -> None:
        """No yes or no: a picture holds many things."""

    def key(self, answer: Boxes) -> Hashable:
        """How many of each class were found with a score of 0.5 or more. Boxes are never equal to
        the bit: `between` matches them."""
        return tuple(sorted(self._counts(_sure(answer)).items()))

    def scores(self, answers: Sequence[Boxes], truths: Sequence[Boxes]) -> list[Score]:
        """COCO's mean average precision over IoU 0.50 to 0.95, at 0.50 and at 0.75; the intervals
        are of 100 resamples of the pictures. A class that is in no picture's truth counts not."""
        matched = _matched(answers, truths)
        picks = {"mAP": slice(None), "mAP50": slice(0, 1), "mAP75": slice(5, 6)}
        seen: dict[bytes, NDArray[np.float64]] = {}

        def precisions(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
            # The three figures are of the same draws.
            key = drawn.tobytes()
            if key not in seen:
                times = np.bincount(drawn, minlength=len(answers)).astype(np.float64)
                seen[key] = np.stack([m.precision(times) for m in matched.values()])
            return seen[key]

        def of(which: slice, drawn: NDArray[np.int64]) -> float:
            means = precisions(drawn)[:, which].mean(axis=1)
            known = means[np.isfinite(means)]
            return float(known.mean()) if len(known) else float("nan")

        if not matched:
            return [Score(name, Unit.SHARE, float("nan")) for name in picks]
        count = len(answers)
        return [
            score(name, Unit.SHARE, count, partial(of, which), resamples=RESAMPLES)
            for name, which in picks.items()
        ]

    def words(self, answer: Boxes) -> str:
        return self._listed(_sure(answer))

    def truth_words(self, truth: Boxes) -> str:
        return self._listed(truth.labels)

    def between(self, ours: Sequence[Boxes], theirs: Sequence[Boxes]) -> list[Score]:
        """The share of either's detections that have a partner in the other: the same label, an IoU
        of 0.9 or more."""
        from interop.stats.detections import apart

        names = ("boxes", "labels", "scores")
        paired, all_of_them = np.zeros(len(ours)), np.zeros(len(ours))
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            one, other = (_parts(side) for side in (a, b))
            all_of_them[i] = len(a.labels) + len(b.labels)
            paired[i] = all_of_them[i] - apart(one, other, names).alone
        if not all_of_them.any():
            return []
        return [score("detections matched", Unit.SHARE, len(ours), ratio(paired, all_of_them))]

    def tables(self, of: str, answers: Sequence[Boxes], truths: Sequence[Boxes]) -> ClassTables:
        """The average precision (over IoU 0.50 to 0.95, and at 0.50) of each class in the truth,
        and how many there are."""
        once = np.ones(len(answers))
        rows: list[Figures] = []
        for number, matched in sorted(_matched(answers, truths).items()):
            precision = matched.precision(once)
            rows.append(
                {
                    "class": named(self.labels, number),
                    "ap": float(precision.mean()),
                    "ap50": float(precision[0]),
                    "support": int(matched.truths.sum()),
                }
            )
        return ClassTables(of=of, labels=self.labels, classes=tuple(rows))

    def _of_torchvision(self, outputs: Mapping[str, Array], batch: Prepared) -> Boxes:
        boxes, labels, scores = (np.asarray(outputs[n]) for n in ("boxes", "labels", "scores"))
        n = len(scores)
        if (boxes.shape, labels.shape, scores.shape) != ((n, 4), (n,), (n,)):
            raise refuse(outputs, _NEEDS)
        if len(batch.records) != 1:
            raise refuse(outputs, f"a set of boxes for each of {len(batch.records)} pictures")
        height, width = batch.about[0]["size"]
        fed_height, fed_width = batch.about[0]["scaled"]
        scale = np.array([width / fed_width, height / fed_height] * 2, dtype=np.float32)
        shift = 0 if self.labels and self.labels[0].lower() in _BACKGROUND else 1
        numbers = labels.astype(np.int64) - shift
        if n and self.labels and not 0 <= numbers.min() <= numbers.max() < len(self.labels):
            raise refuse(
                {"labels": labels},
                f"classes of 1 to {len(self.labels) - 1 + shift} (found {labels.min()} to "
                f"{labels.max()}; 0 is the background)",
            )
        return _surest(boxes.astype(np.float32) * scale, numbers, scores.astype(np.float32))

    def _of_transformers(self, outputs: Mapping[str, Array], batch: Prepared) -> list[Boxes]:
        logits, shares = np.asarray(outputs["logits"]), np.asarray(outputs["pred_boxes"])
        rows, classes = len(batch.rows), len(self.labels)
        wide = logits.shape[-1] if logits.ndim == 3 else 0
        fits = wide > 1 and (not classes or wide - classes in (0, 1))
        if not fits or logits.shape[0] != rows or shares.shape != (*logits.shape[:2], 4):
            raise refuse(outputs, _NEEDS)
        sets = []
        for own in rows_of(batch):
            height, width = batch.about[own[0]]["size"]
            boxes = _corners(shares[own[0]].astype(np.float32)) * np.array(
                [width, height] * 2, dtype=np.float32
            )
            sets.append(_read(logits[own[0]].astype(np.float32), boxes, nothing=wide != classes))
        return sets

    def _counts(self, labels: NDArray[np.int64]) -> Counter[str]:
        return Counter(named(self.labels, int(n)) for n in labels)

    def _listed(self, labels: NDArray[np.int64]) -> str:
        parts = [f"{count} {name}" for name, count in sorted(self._counts(labels).items())]
        return ", ".join(parts) or "nothing"


def _read(logits: NDArray[np.float32], boxes: NDArray[np.float32], *, nothing: bool) -> Boxes:
    """One picture's queries -> boxes: logits (n, classes), the last "no object" if `nothing`.

    With it a query is of its likeliest class; without, every pair of query and class is a
    detection, and the surest are kept, as transformers' image processors do.
    """
    from scipy.special import expit, softmax

    if nothing:
        shares = softmax(logits, axis=1)[:, :-1]
        return _surest(boxes, shares.argmax(axis=1), shares.max(axis=1))
    shares = expit(logits)
    best = np.argsort(-shares, axis=None, kind="stable")[:MOST]
    queries, labels = np.unravel_index(best, shares.shape)
    return _surest(boxes[queries], labels, shares[queries, labels])


def _corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre, width, height -> x1, y1, x2, y2."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _surest(boxes: Array, labels: Array, scores: Array) -> Boxes:
    order = np.argsort(-scores, kind="stable")[:MOST]
    return Boxes(boxes[order], labels[order].astype(np.int64), scores[order])


def _sure(answer: Boxes) -> NDArray[np.int64]:
    return answer.labels[_array(answer.scores) >= SURE]


def _parts(answer: Boxes) -> tuple[Array, Array, Array]:
    return answer.boxes, answer.labels, _array(answer.scores)


def _array(value: Array | None) -> Array:
    assert value is not None  # an answer has scores
    return value


# ---------------------------------------------------------------- average precision


@dataclass(frozen=True, slots=True)
class _Matched:
    """One class's detections in all pictures, the surest first: of which picture (n,), whether
    right and whether wrong at each IoU (10, n); how many `truths` each picture has."""

    picture: NDArray[np.int64]
    hits: NDArray[np.bool_]
    misses: NDArray[np.bool_]
    truths: NDArray[np.float64]

    def precision(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The average precision at each IoU (10,), each picture counted so many times; NaN where
        there is nothing to find.

        The mean over recalls 0, 0.01, …, 1 of the best precision at that recall or a higher one
        (COCO; Lin et al. 2014).
        """
        wanted = float(times @ self.truths)
        if not wanted:
            return np.full(len(self.hits), np.nan)
        if not len(self.picture):
            return np.zeros(len(self.hits))
        weight = times[self.picture]
        hits, misses = (np.cumsum(part * weight, axis=1) for part in (self.hits, self.misses))
        precision = np.maximum.accumulate(over(hits, hits + misses)[:, ::-1], axis=1)[:, ::-1]
        averages = np.zeros(len(hits))
        recalls = np.linspace(0, 1, 101)
        for i, (recall, best) in enumerate(zip(hits / wanted, precision, strict=True)):
            place = np.searchsorted(recall, recalls, side="left")
            averages[i] = best[place[place < len(best)]].sum() / len(recalls)
        return averages


def _matched(answers: Sequence[Boxes], truths: Sequence[Boxes]) -> dict[int, _Matched]:
    """Each class that occurs in the truth, matched by pycocotools as COCO matches."""
    library("pycocotools")
    from pycocotools.coco import COCO  # type: ignore[import-untyped]
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

    numbers = sorted({int(n) for t in truths for n in t.labels})
    if not numbers:
        return {}
    real, answered = COCO(), COCO()
    for coco, sets in ((real, truths), (answered, answers)):
        coco.dataset = _as_coco(sets, numbers)
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    evaluation = COCOeval(real, answered, "bbox")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [MOST]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    each = len(answers)
    return {
        number: _of_class(evaluation.evalImgs[i * each : (i + 1) * each])
        for i, number in enumerate(numbers)
    }


def _of_class(pictures: Sequence[dict[str, Any] | None]) -> _Matched:
    """pycocotools' account of one class, a picture each, None where it has neither."""
    there = [(i, p) for i, p in enumerate(pictures) if p is not None]
    truths = np.zeros(len(pictures))
    for i, p in there:
        truths[i] = len(p["gtIgnore"]) - np.count_nonzero(p["gtIgnore"])
    scores = np.concatenate([np.asarray(p["dtScores"], np.float64) for _, p in there])
    picture = np.concatenate([np.full(len(p["dtScores"]), i, np.int64) for i, p in there])
    match = np.concatenate([np.asarray(p["dtMatches"]) for _, p in there], axis=1) > 0
    ignored = np.concatenate([np.asarray(p["dtIgnore"]) for _, p in there], axis=1) > 0
    order = np.argsort(-scores, kind="mergesort")
    # One that lies on a crowd has a match that is ignored: neither a hit nor a miss.
    hits, misses = match & ~ignored, ~match
    return _Matched(picture[order], hits[:, order], misses[:, order], truths)


def _as_coco(sets: Sequence[Boxes], numbers: Sequence[int]) -> dict[str, Json]:
    """Boxes as COCO's data set of the same pictures: x, y, width, height; ids from 1, for a match
    is stored as an id and 0 is none."""
    things: list[dict[str, Json]] = []
    for picture, boxes in enumerate(sets):
        corners = np.asarray(boxes.boxes, dtype=np.float64).reshape(-1, 4)
        sizes = corners[:, 2:] - corners[:, :2]
        for i, label in enumerate(boxes.labels):
            thing = {
                "id": len(things) + 1,
                "image_id": picture,
                "category_id": int(label),
                "bbox": [*corners[i, :2].tolist(), *sizes[i].tolist()],
                "area": float(sizes[i].prod()),
                "iscrowd": int(boxes.crowd is not None and bool(boxes.crowd[i])),
            }
            if boxes.scores is not None:
                thing["score"] = float(boxes.scores[i])
            things.append(thing)
    return {
        "images": [{"id": i} for i in range(len(sets))],
        "categories": [{"id": n} for n in numbers],
        "annotations": things,
    }
