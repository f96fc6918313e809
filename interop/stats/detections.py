"""Two sets of detections in one picture -> how far apart they are, whatever their order.

Near ties change places from one runtime to the next; a box is compared with the one of its label
that covers it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Boxes of one label that overlap at least so far are the same detection.
SAME = 0.9
# Which of two is the last that there is room for, rounding decides where their scores are as close
# as this share of the largest.
TIE = 1e-4
JUMP = 0.01  # of the largest coordinate: a key point that is so far off is another place
FULL = 100  # the shortest list that a detector cuts


@dataclass(frozen=True, slots=True)
class DetectionDistance:
    """How two sets differ.

    `relative` is the largest difference within a pair: of scores as a share of the largest score,
    of coordinates as a share of the largest coordinate, of key points likewise; of masks the mean
    over the pixels, as a share of the mask's own mean, for a mask is pasted at whole pixels and its
    rim moves by one where a box moves by a millionth. `alone` is how many detections of either set
    have no partner, of `count` in the larger one, and how many pairs have a key point that jumped:
    it is the highest of a map of scores, and rounding chooses among its near ties. `ties` are
    those that rounding alone put in another's place: the last that there was room for.
    """

    relative: float
    alone: int
    count: int
    ties: int = 0


def apart(
    ours: Sequence[Array], theirs: Sequence[Array], names: Sequence[str]
) -> DetectionDistance:
    """Matches two sets, given as arrays by the same names ("boxes", "labels", "scores", …)."""
    a, b = dict(zip(names, ours, strict=True)), dict(zip(names, theirs, strict=True))
    pairs = _pairs(a, b)
    count = max(len(a["scores"]), len(b["scores"]))
    left = [i for i in range(len(a["scores"])) if i not in {p[0] for p in pairs}]
    right = [j for j in range(len(b["scores"])) if j not in {p[1] for p in pairs}]
    ties = _ties(a, b, left, right)
    alone = len(left) + len(right) - 2 * ties
    worst = 0.0
    if pairs:
        i, j = (np.array(side) for side in zip(*pairs, strict=True))
        for name in names:
            if name == "labels":
                continue
            one, other = a[name][i].astype(np.float64), b[name][j].astype(np.float64)
            if name == "masks":
                worst = max(worst, _masks(one, other))
                continue
            scale = float(np.abs(other).max()) or 1.0
            distance = np.abs(one - other) / scale
            if name == "keypoints":
                jumped = distance.reshape(len(distance), -1).max(axis=1) > JUMP
                alone += int(jumped.sum())
                distance = distance[~jumped]
            worst = max(worst, float(distance.max(initial=0.0)))
    return DetectionDistance(worst, alone, count, ties)


def _masks(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """The largest mean distance of two masks, as a share of what the mean mask of its set has."""
    axes = tuple(range(1, ours.ndim))
    scale = float(np.abs(theirs).mean()) or 1.0
    return float(np.abs(ours - theirs).mean(axis=axes).max()) / scale


def _pairs(a: dict[str, Array], b: dict[str, Array]) -> list[tuple[int, int]]:
    """Each of A's detections, the surest first, with the free one of B that covers it best."""
    if not len(a["scores"]) or not len(b["scores"]):
        return []
    overlap = _overlap(a["boxes"].astype(np.float64), b["boxes"].astype(np.float64))
    overlap[a["labels"][:, None] != b["labels"][None, :]] = 0
    free = np.ones(len(b["scores"]), dtype=bool)
    pairs = []
    for i in np.argsort(-a["scores"], kind="stable"):
        j = int(np.argmax(np.where(free, overlap[i], -1)))
        if free[j] and overlap[i, j] >= SAME:
            free[j] = False
            pairs.append((int(i), j))
    return pairs


def _ties(a: dict[str, Array], b: dict[str, Array], left: list[int], right: list[int]) -> int:
    """How many of the lonely ones of A stand where one of B does that rounding put there.

    Only at the end of a list that is cut: a box in the midst that has no partner has moved.
    """
    if not left or not right or not len(a["scores"]) == len(b["scores"]) >= FULL:
        return 0
    scale = TIE * max(float(np.abs(b["scores"]).max()), float(np.abs(a["scores"]).max()))
    least = max(float(a["scores"].min()), float(b["scores"].min())) + scale
    free, ties = list(right), 0
    for i in left:
        for j in free:
            one, other = float(a["scores"][i]), float(b["scores"][j])
            if abs(one - other) <= scale and max(one, other) <= least:
                free.remove(j)
                ties += 1
                break
    return ties


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (x1, y1, x2, y2); two of no area are alike if equal."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    union = area_a[:, None] + area_b[None, :] - inner
    same = np.abs(a[:, None] - b[None]).max(axis=2) <= 1e-3 * max(float(np.abs(b).max()), 1.0)
    overlap: NDArray[np.float64] = np.where(same, 1.0, inner / np.where(union > 0, union, 1.0))
    return overlap
