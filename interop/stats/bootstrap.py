"""A figure of records drawn anew, with replacement -> how far the figure may be off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 0


def bootstrapped(
    count: int, figure: Callable[[NDArray[np.int64]], float], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % percentile interval of `figure` over records drawn anew, with replacement.

    `figure` takes the places (n,) of the records that were drawn. NaN draws are left out. They are
    shifted so that their median is the figure of all: a calibration error, or an F1 with few
    samples a class, is off in a draw by as much again as it is off itself, and plain percentiles
    would leave the figure outside (on that bias: Efron and Tibshirani 1993, chapter 10).
    """
    rng = np.random.default_rng(SEED)
    # One draw at a time: all of them are 8 bytes x count x resamples.
    spread = np.array([figure(rng.integers(0, count, count)) for _ in range(resamples)])
    spread = spread[np.isfinite(spread)]
    if not len(spread):
        return float("nan"), float("nan")
    low, middle, high = np.quantile(spread, (0.025, 0.5, 0.975))
    shift = figure(np.arange(count)) - middle
    return float(low + shift), float(high + shift)
