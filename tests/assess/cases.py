"""vectors.json -> the inputs that its reference values belong to, made again by their recipes; and
a place to have work done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())
FEATURES = sorted(VECTORS["features"])
PROBABILITIES = sorted(VECTORS["probabilities"])
PAIRS = sorted(VECTORS["pairs"])


def features(name: str) -> tuple[Array, Array]:
    """X (N, D) and labels (N,)."""
    case = VECTORS["features"][name]
    y = _labels(case)
    rng = np.random.default_rng(case["seed"])
    means = rng.standard_normal((case["C"], case["D"]))
    x = case["sep"] * means[y] + rng.standard_normal((len(y), case["D"]))
    match case.get("post"):
        case "const03":
            x[:, 3] = 0.3
        case "zero":
            x[:, 3] = 0
        case "zero_rolled":
            x[:, 3] = 0
            x = np.roll(x, -3, axis=1)
        case "offset":
            x = x + 10
        case "float32":
            x = x.astype(np.float32)
    return _checked(case, X=x, y=y)


def probabilities(name: str) -> tuple[Array, Array]:
    """P (N, S) and labels (N,)."""
    case = VECTORS["probabilities"][name]
    y = _labels(case)
    rng = np.random.default_rng(case["seed"])
    means = rng.standard_normal((case["C"], case["Cs"]))
    noise = rng.standard_normal((len(y), case["Cs"]))
    post = case.get("post")
    z = np.zeros_like(noise) if post == "uniform" else case["temp"] * means[y] + noise
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if post == "zerocol":
        p[:, 1] = 0
        p /= p.sum(axis=1, keepdims=True)
    if post == "float32":
        p = p.astype(np.float32)
    return _checked(case, P=p, y=y)


def pair(name: str) -> tuple[Array, Array]:
    """X (N, p) and Y (N, q)."""
    case = VECTORS["pairs"][name]
    rng = np.random.default_rng(case["seed"])
    x = rng.standard_normal((case["N"], case["p"]))
    turn = rng.standard_normal((case["p"], case["q"]))
    y = x @ turn * case.get("w", 0) + rng.standard_normal((case["N"], case["q"]))
    match case["kind"]:
        case "identical":
            y = x
        case "reverse_scale":
            y = 2.5 * x[:, ::-1]
        case "constcol":
            x[:, 1] = 0.3
        case "float32":
            x, y = x.astype(np.float32), y.astype(np.float32)
    return _checked(case, X=x, Y=y)


def raters(recipe: dict[str, Any]) -> tuple[Array, Array]:
    """Two raters' labels, of whom the second at times draws one."""
    rng = np.random.default_rng(recipe["seed"])
    a = rng.integers(0, recipe["C"], recipe["N"])
    other = rng.random(recipe["N"]) < recipe["p"]
    return a, np.where(other, rng.integers(0, recipe["C"], recipe["N"]), a)


def table(counts: list[list[int]]) -> tuple[Array, Array]:
    """Two raters' labels from their table."""
    cells = np.array(counts)
    rows, columns = np.indices(cells.shape)
    return np.repeat(rows.ravel(), cells.ravel()), np.repeat(columns.ravel(), cells.ravel())


def orders(recipe: dict[str, Any]) -> tuple[Array, Array]:
    """Two scores of the same things."""
    rng = np.random.default_rng(recipe["seed"])
    x, y = rng.standard_normal(recipe["n"]), rng.standard_normal(recipe["n"])
    match recipe["kind"]:
        case "corr":
            y = 0.7 * x + 0.5 * y
        case "ties":
            x = np.floor(2 * x)
            y = np.floor(2 * (0.7 * x + y))
        case "rev":
            y = -x
        case "same":
            y = x
    return x, y


def resampled(recipe: dict[str, Any]) -> tuple[Array, float]:
    """Differences over J folds, and test samples for each one trained on."""
    rng = np.random.default_rng(recipe["seed"])
    d = recipe["mu"] + recipe["sd"] * rng.standard_normal(recipe["J"])
    return d, recipe["n_test"] / recipe["n_train"]


@contextmanager
def cluster(**given: Any) -> Iterator[str]:
    """The address of a scheduler of dask's with two workers, or as `given` to its LocalCluster."""
    from dask.distributed import LocalCluster

    usual = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**{**usual, **given}) as made:
        yield made.scheduler_address


def _labels(case: dict[str, Any]) -> Array:
    if "counts" in case:
        return np.repeat(np.arange(len(case["counts"])), case["counts"])
    if "label_set" in case:
        return np.array(case["label_set"])[np.arange(case["N"]) % len(case["label_set"])]
    return np.arange(case["N"]) % case["C"]


def _checked(case: dict[str, Any], **arrays: Array) -> tuple[Array, Array]:
    """The arrays, once their sum, first and last value are those of the recipe's own run."""
    for key, array in arrays.items():
        found = [array.sum(dtype=np.float64), array.flat[0], array.flat[-1]]
        np.testing.assert_allclose(found, case["checks"][key], rtol=1e-6, atol=1e-9)
    first, second = arrays.values()
    return first, second
