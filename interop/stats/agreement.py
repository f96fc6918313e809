"""Two models' answers to the same records, or their scores in the same folds -> what may be said.

Wilson's interval, McNemar's test and the change in accuracy are in `interop.stats.intervals`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interop.errors import ConfigError, DataError

# A spread below this share of the values is rounding.
SAME = 1e-12


def cohen_kappa(
    a: ArrayLike, b: ArrayLike, weights: Literal["linear", "quadratic"] | None = None
) -> float | None:
    """Cohen's kappa of the labels `a` and `b` (N,): (p_o - p_e) / (1 - p_e), from -1 to 1.

    None where both give one and the same label throughout: chance alone explains that, and the
    figure is 0 / 0. `weights` (Cohen 1968) make a disagreement count by the distance of the labels
    in sorted order, so that it is for ordered labels alone. Low at skewed classes even where most
    answers agree: show it beside the agreement itself. Cohen 1960.
    Raises DataError for unequal numbers of labels, or none.
    """
    from sklearn.metrics import cohen_kappa_score

    one, other = np.asarray(a), np.asarray(b)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise DataError(f"answers of shapes {one.shape} and {other.shape} are no pairs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the None says it
        kappa = float(cohen_kappa_score(one, other, weights=weights))
    return kappa if np.isfinite(kappa) else None


# ---------------------------------------------------------------- equivalence


def tost_paired(b: int, c: int, n: int, margin: float) -> float:
    """The p-value of equivalence: small where two accuracies differ by less than `margin`.

    Of all `n` pairs `b` are right by the first model alone and `c` by the second alone; the null
    hypotheses are (b - c) / n <= -margin and >= margin, a share of 1 (0.01 is one point), and p is
    the greater of the two one-sided ones (Schuirmann 1987). By the score test of Tango (Statistics
    in Medicine 1998), which needs evidence even where no answer differs: Wald's has p = 0 there.
    p < a says what `tango_interval` at 1 - 2a within the margin says.
    Raises DataError for counts that are none, ConfigError for a margin that is not within 0 and 1.
    """
    from scipy.stats import norm

    not_worse = not_worse_paired(b, c, n, margin)
    return max(not_worse, float(norm.cdf(_tango(b, c, n, margin))))


def not_worse_paired(b: int, c: int, n: int, margin: float) -> float:
    """The p-value of the first model not being worse than the second by `margin` or more: the lower
    side of `tost_paired` alone, whose terms these are. It says nothing against a gain."""
    from scipy.stats import norm

    _check_counts(b, c, n)
    if not 0 < margin < 1:
        raise ConfigError(f"a margin of {margin} is not between 0 and 1", fix="0.01 is one point")
    return float(norm.sf(_tango(b, c, n, -margin)))


def tango_interval(b: int, c: int, n: int, level: float = 0.9) -> tuple[float, float]:
    """The score interval of the difference (b - c) / n of two paired accuracies (Tango 1998).

    The differences that Tango's test does not refute at 1 - `level`, two-sided; never a point, even
    where no answer differs. At 0.9 it goes with `tost_paired` at 0.05.
    Raises DataError for counts that are none, ConfigError for a level that is not within 0 and 1.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    _check_counts(b, c, n)
    if not 0 < level < 1:
        raise ConfigError(f"a level of {level} is not between 0 and 1")
    z, edge, middle = float(norm.isf((1 - level) / 2)), 1 - 1e-12, (b - c) / n

    def end(sign: int) -> float:
        # z falls from the one end of (-1, 1) to the other, and is 0 at the difference itself.
        def beyond(d: float) -> float:
            return _tango(b, c, n, d) + sign * z

        near = min(max(middle, -edge), edge)
        if beyond(sign * edge) * sign >= 0:
            return float(sign)
        return float(brentq(beyond, near, sign * edge, xtol=1e-13))

    return end(-1), end(1)


def _check_counts(b: int, c: int, n: int) -> None:
    if min(b, c) < 0 or n < 1 or b + c > n:
        raise DataError(f"{b} and {c} of {n} pairs differ: no such counts")


def _tango(b: int, c: int, n: int, delta: float) -> float:
    """z of the hypothesis that the difference is `delta`, within -1 and 1 (Tango 1998)."""
    square, linear = 2 * n, -b - c + (2 * n - b + c) * delta
    root = (linear**2 + 4 * square * c * delta * (1 - delta)) if delta * c else linear**2
    q = (max(root, 0.0) ** 0.5 - linear) / (2 * square)
    variance = n * (2 * q + delta * (1 - delta))
    above = b - c - n * delta
    if variance <= 0:
        return 0.0 if above == 0 else float(np.copysign(np.inf, above))
    return float(above / variance**0.5)


# ---------------------------------------------------------------- orders


def weighted_tau(scores: Sequence[float | None], truth: Sequence[float | None]) -> float | None:
    """Weighted Kendall's tau of the models by a cheap score and by what they came to: 1, one order.

    Both are values of which more is better, never ranks: a swap among the best weighs most, by
    1 / (r + 1) of both ranks, and negating both changes the figure. It is the mean of the two ways
    to rank, so that the two may change places. A model whose score or outcome is None is left out;
    None where fewer than two remain, or all of one side tie. Vigna, WWW 2015.
    Raises DataError for unequal numbers of them, or NaN.
    """
    from scipy.stats import weightedtau

    if len(scores) != len(truth):
        raise DataError(f"{len(scores)} scores for {len(truth)} outcomes")
    pairs = [(s, t) for s, t in zip(scores, truth, strict=True) if s is not None and t is not None]
    if np.isnan(np.asarray(pairs, dtype=np.float64)).any():
        raise DataError("a score is NaN", fix="give None where a score is not defined")
    if len(pairs) < 2:
        return None
    tau = float(weightedtau(*np.array(pairs, dtype=np.float64).T).statistic)
    return tau if np.isfinite(tau) else None


# ---------------------------------------------------------------- folds


class Corrected(NamedTuple):
    """The corrected resampled t-test: its t, two-sided p, and the 95 % interval of the mean."""

    t: float | None
    p: float | None
    interval: tuple[float, float] | None


def corrected_t(differences: ArrayLike, test_over_train: float) -> Corrected:
    """Whether two models differ, from their differences (J,) in the same J folds x repeats.

    t = mean / sqrt(s^2 (1 / J + n_test / n_train)) with J - 1 degrees of freedom; the second term
    is for the folds' shared training samples (Nadeau and Bengio, Machine Learning 2003).
    `test_over_train` is 1 / (k - 1) in k folds. Differences that are all the same tell nothing of
    their spread: t and p are then None, or 0 and 1 where all are 0, and there is no interval.
    Raises DataError for fewer than two differences, values that are not finite, or a ratio that
    is not above 0.
    """
    from scipy.stats import t as student

    d = _resampled(differences, test_over_train)
    scale = _scale(d, test_over_train)
    if scale is None:
        return Corrected(0.0, 1.0, None) if abs(d.mean()) < SAME else Corrected(None, None, None)
    t = float(d.mean() / scale)
    return Corrected(t, float(2 * student.sf(abs(t), len(d) - 1)), _around(d, scale))


def corrected_interval(values: ArrayLike, test_over_train: float) -> tuple[float, float] | None:
    """The 95 % interval of the mean of `values` (J,) over folds x repeats, in their unit.

    By the variance of `corrected_t`; not held within 0 and 1. None where all values are the same:
    of shares of right answers `interop.stats.intervals.wilson` still tells something then.
    Raises DataError as `corrected_t` does.
    """
    d = _resampled(values, test_over_train)
    scale = _scale(d, test_over_train)
    return None if scale is None else _around(d, scale)


def _resampled(values: ArrayLike, test_over_train: float) -> NDArray[np.float64]:
    d = np.asarray(values, dtype=np.float64)
    if d.ndim != 1 or len(d) < 2 or not np.isfinite(d).all():
        raise DataError("a spread over folds needs two finite values or more")
    if not (np.isfinite(test_over_train) and test_over_train > 0):
        raise DataError(f"{test_over_train} test samples for each one trained on")
    return d


def _scale(d: NDArray[np.float64], test_over_train: float) -> float | None:
    """The standard error of the mean; None where the values do not differ."""
    spread = float(d.std(ddof=1))
    if spread < SAME * max(1.0, float(np.abs(d).max())):
        return None
    return float(spread * (1 / len(d) + test_over_train) ** 0.5)


def _around(d: NDArray[np.float64], scale: float) -> tuple[float, float]:
    from scipy.stats import t as student

    reach = float(student.isf(0.025, len(d) - 1)) * scale
    return float(d.mean()) - reach, float(d.mean()) + reach
