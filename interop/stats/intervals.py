"""Right and wrong answers -> shares with intervals, and the tests of whether two sets differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interop.facts import Json, Measurement, Unit


def share(name: str, which: NDArray[np.bool_], conditions: Mapping[str, Json]) -> Measurement:
    """A share of samples with its 95 % interval."""
    count, n = int(which.sum()), len(which)
    return Measurement(name, Unit.SHARE, count / n, wilson(count, n), conditions=conditions)


def wilson(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, `count` of `n`, without continuity correction (1927)."""
    from scipy.stats import binomtest

    ci = binomtest(count, n).proportion_ci(level, "wilson")
    return float(ci.low), float(ci.high)


def paired_interval(lost: int, won: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a change in accuracy, on n samples of which `won` became right.

    Wald's interval for matched proportions after half a sample is added to each of the four cells
    (Agresti and Min 2005): unlike a bootstrap it does not claim certainty where nothing differed.
    """
    b, c, size = lost + 0.5, won + 0.5, n + 2
    middle = (c - b) / size
    reach = 1.959964 * ((b + c) - (c - b) ** 2 / size) ** 0.5 / size
    return middle - reach, middle + reach


def mcnemar(lost: int, won: int) -> float:
    """The p-value of McNemar's exact test: the two-sided binomial test on the samples that only
    one of the two gets right (McNemar 1947; exact form after Conover 1999, section 3.5)."""
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def change(
    before: NDArray[np.bool_], after: NDArray[np.bool_], conditions: Mapping[str, Json]
) -> tuple[Measurement, Measurement]:
    """The change in accuracy on the same samples, in points, and McNemar's exact test of it.

    `before` and `after` (n,) tell which answers were right.
    """
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    p = mcnemar(lost, won)
    value, interval = float(after.mean() - before.mean()), paired_interval(lost, won, len(before))
    about = {**conditions, "mcnemar_p": p}
    points = Measurement("accuracy change", Unit.POINTS, value, interval, conditions=about)
    return points, Measurement("McNemar's exact test", Unit.P, p, conditions=conditions)
