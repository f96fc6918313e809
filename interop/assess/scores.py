"""Features, a head's outputs and labels -> scores that need no training, and how far they hold."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.assess import similarity, transferability
from interop.assess.candidates import Seen
from interop.errors import InteropError
from interop.stats.agreement import weighted_tau

Array = NDArray[Any]
MOST = 5000  # rows; what scores cost grows with their number, and they settle long before
MOST_NEIGHBOURS = 3000


def scores(
    seen: Seen, truth: Array, classes: int, rows: Array, seed: int
) -> dict[str, float | None]:
    """Each score of a candidate on some rows; None where it is not defined (no head, one class).

    Higher is better for all. TransRate is of features whose mean square is 1: it grows with their
    scale, which says nothing.
    """
    assert seen.features is not None
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST])
    x, y = seen.features[rows], truth[rows]  # as float32, so that rank is cut by its own rounding
    # With as many features as samples any labels are fitted: the plain H-score says nothing then.
    saturated = x.shape[1] >= len(x) - 1
    if not classes:
        return {"LogME": _tried(lambda: transferability.logme_regression(x, y))}
    near = np.random.default_rng(seed).permutation(len(x))[:MOST_NEIGHBOURS]
    unit = x / np.float32(np.sqrt((x.astype(np.float64) ** 2).mean()) or 1.0)
    asked: dict[str, Callable[[], float]] = {
        "LogME": lambda: transferability.logme(x, y),
        "H-score": lambda: transferability.h_score(x, y),
        "regularised H-score": lambda: transferability.regularized_h_score(x, y),
        "TransRate": lambda: transferability.transrate(unit, y),
        "NLEEP": lambda: transferability.nleep(x, y, seed=seed),
        "PARC": lambda: transferability.parc(x, y, seed=seed),
        "kNN probe": lambda: float(similarity.knn_accuracy(x[near], y[near], seed=seed).mean()),
    }
    outputs = None if seen.outputs is None or len(seen.outputs) <= rows.max() else (
        seen.outputs[rows]
    )  # fmt: skip
    if outputs is not None and outputs.shape[1] > 1:
        sure = _softmax(outputs)
        asked["LEEP"] = lambda: transferability.leep(sure, y)
        asked["NCE"] = lambda: transferability.nce(sure.argmax(axis=1), y)
    values = {name: _tried(score) for name, score in asked.items()}
    return {**values, "H-score": None} if saturated else values


def _tried(score: Callable[[], float]) -> float | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(score())
    except InteropError:
        return None
    return value if np.isfinite(value) else None


def _softmax(outputs: Array) -> Array:
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    softmax: Array = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float64)
    return softmax


def held_to(
    scored: Mapping[str, Mapping[str, float | None]],
    outcome: Mapping[str, float],
    names: Sequence[str],
) -> dict[str, float | None]:
    """How well each score predicted the order of the outcomes: weighted Kendall's tau, 1 the same
    order. `scored` has each candidate's scores by name, `outcome` what each came to."""
    return {
        kind: weighted_tau([scored[n].get(kind) for n in names], [outcome[n] for n in names])
        for kind in dict.fromkeys(k for s in scored.values() for k in s)
    }
