"""What several tasks need: the output they look for, its rows by record, figures with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Prepared
from interop.errors import ExtraMissing, ModelError
from interop.facts import Unit
from interop.facts.sections.bench import ClassTables, Confused
from interop.stats.bootstrap import RESAMPLES, bootstrapped
from interop.tasks.base import Score

# More classes than these make a table that nobody reads, and a report of megabytes.
SHOWN_CLASSES = 100
_SHOWN_PAIRS = 20


def refuse(outputs: Mapping[str, Array], needs: str) -> ModelError:
    """The error for outputs that are none of the task; `needs` says what would be."""
    shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in outputs.items())
    return ModelError(
        f"gives {shapes or 'no output'} where {needs} is needed",
        fix="name the task that the model is made for, and its labels as the model counts them",
    )


def pick(
    outputs: Mapping[str, Array],
    names: Sequence[str],
    fits: Callable[[tuple[int, ...]], bool],
    needs: str,
) -> Array:
    """The output of one of these names if its shape fits, else the first floating one that does.

    Raises ModelError where none does.
    """
    order = [n for n in names if n in outputs] + [n for n in outputs if n not in names]
    for name in order:
        value = np.asarray(outputs[name])
        if value.dtype.kind == "f" and fits(value.shape):
            return value
    raise refuse(outputs, needs)


def rows_of(batch: Prepared) -> list[list[int]]:
    """The rows of each record, in order."""
    rows: list[list[int]] = [[] for _ in batch.records]
    for row, record in enumerate(batch.rows):
        rows[record].append(row)
    return rows


def library(name: str) -> None:
    """Raises ExtraMissing where a metric's library is not installed."""
    from importlib.util import find_spec

    if find_spec(name) is None:
        what = f"the figures of this task need {name}, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[bench]'")


def share_of(name: str, which: NDArray[np.bool_], better: int = 1) -> Score:
    """A share of records with Wilson's interval."""
    from interop.stats.intervals import share

    return Score(name, Unit.SHARE, float(which.mean()), share(name, which, {}).interval, better)


def score(
    name: str,
    unit: Unit,
    count: int,
    figure: Callable[[NDArray[np.int64]], float],
    better: int = 1,
    resamples: int = RESAMPLES,
    bounds: tuple[float, float] | None = None,
) -> Score:
    """`figure` of all records with its bootstrap interval, cut to the `bounds` of what it can be:
    0 to 1 for a share, else 0 or more, if not given."""
    low, high = bootstrapped(count, figure, resamples)
    least, most = bounds or (0.0, 1.0 if unit == Unit.SHARE else float("inf"))
    value = float(figure(np.arange(count)))
    # The figure is compared too: where all draws are the same, rounding parts them.
    interval = min(max(low, least), value), max(min(high, most), value)
    return Score(name, unit, value, interval, better)


def over(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """The quotient, 0 where there is nothing to divide by."""
    over: NDArray[np.float64] = np.zeros(np.shape(below))
    np.divide(above, below, out=over, where=below > 0)
    return over


def ratio(
    above: NDArray[np.float64], below: NDArray[np.float64]
) -> Callable[[NDArray[np.int64]], float]:
    """The figure sum(above) / sum(below) of the drawn records; NaN where nothing is below."""

    def figure(drawn: NDArray[np.int64]) -> float:
        whole = float(below[drawn].sum())
        return float(above[drawn].sum()) / whole if whole else float("nan")

    return figure


def with_confusion(
    tables: ClassTables, counts: NDArray[np.int64], names: Sequence[str]
) -> ClassTables:
    """The tables with the confusion matrix (rows the truth) of at most 100 classes, and the pairs
    that are most often taken for one another."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_SHOWN_PAIRS]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)]
    return replace(
        tables,
        confused=tuple(
            Confused(names[i], names[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]
        ),
        confusion=tuple(map(tuple, counts.tolist())) if len(names) <= SHOWN_CLASSES else None,
    )


def named(labels: Sequence[str], number: int) -> str:
    """A class for people: its label, or its number where there is none."""
    return labels[number] if 0 <= number < len(labels) else f"class {number}"


def two_largest(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The gap between the two largest along the last axis."""
    best = np.partition(values, -2, axis=-1)
    gap: NDArray[np.float32] = best[..., -1] - best[..., -2]
    return gap
