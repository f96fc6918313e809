"""Batches, made of nothing but what a test says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from interop.data.base import Preparation, Prepared, Record
from interop.tasks.base import Score


class Plain(Preparation):
    """A preparation that is never called; it may have what a task asks of one."""

    def __init__(self, **has: Any) -> None:
        self.__dict__.update(has)

    def __call__(self, records: Sequence[Record]) -> Prepared:
        raise AssertionError("the outputs are there already")


def batch(
    truths: Sequence[Any],
    raws: Sequence[Any] | None = None,
    rows: Sequence[int] | None = None,
    about: Sequence[Any] = (),
    **inputs: Any,
) -> Prepared:
    raws = [None] * len(truths) if raws is None else raws
    records = tuple(
        Record(f"record {i}", f"h{i}", raw, truth)
        for i, (raw, truth) in enumerate(zip(raws, truths, strict=True))
    )
    own = tuple(range(len(truths)) if rows is None else rows)
    return Prepared({n: np.asarray(v) for n, v in inputs.items()}, records, own, tuple(about))


def by_name(found: Sequence[Score]) -> dict[str, Score]:
    """Scores by name, after a look at what all must hold."""
    for score in found:
        assert score.better in (1, -1)
        if score.interval is not None:
            assert score.interval[0] <= score.value <= score.interval[1], score
    return {score.name: score for score in found}
