"""Two sets of detections in one picture -> how far apart they are, whatever their order.

Near ties change places from one runtime to the next; a box is compared with the one of its label
that covers it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.runtimes.base import Array

# Boxes of one label that overlap at least so far are the same detection.
SAME = 0.9


@dataclass(frozen=True, slots=True)
class Apart:
    """How two sets differ.

    `relative` is the largest difference within a pair: of scores as a share of the largest score,
    of coordinates as a share of the largest coordinate, of masks and key points likewise; `alone`
    how many detections of either set have no partner, of `count` in the larger one.
    """

    relative: float
    alone: int
    count: int


def apart(ours: Sequence[Array], theirs: Sequence[Array], names: Sequence[str]) -> Apart:
    """Matches two sets, given as arrays by the same names ("boxes", "labels", "scores", …)."""
    a = dict(zip(names, ours, strict=True))
    b = dict(zip(names, theirs, strict=True))
    pairs = _pairs(a, b)
    count = max(len(a["scores"]), len(b["scores"]))
    alone = len(a["scores"]) + len(b["scores"]) - 2 * len(pairs)
    worst = 0.0
    if pairs:
        i, j = (np.array(side) for side in zip(*pairs, strict=True))
        for name in names:
            if name == "labels":
                continue
            one, other = a[name][i].astype(np.float64), b[name][j].astype(np.float64)
            scale = float(np.abs(other).max()) or 1.0
            worst = max(worst, float(np.abs(one - other).max()) / scale)
    return Apart(worst, alone, count)


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


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (x1, y1, x2, y2); two of no area are alike if equal."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    union = area_a[:, None] + area_b[None, :] - inner
    same = np.abs(a[:, None] - b[None]).max(axis=2) <= 1e-3 * max(float(np.abs(b).max()), 1.0)
    found: NDArray[np.float64] = np.where(same, 1.0, inner / np.where(union > 0, union, 1.0))
    return found
