"""Agreement, equivalence, orders and folds against cases of other libraries, and by properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interop.errors import ConfigError, DataError
from interop.stats.agreement import (
    cohen_kappa,
    corrected_interval,
    corrected_t,
    tango_interval,
    tost_paired,
    weighted_tau,
)
from tests.assess import cases

KAPPA, TOST = cases.VECTORS["kappa"], cases.VECTORS["tost"]
TAU, RESAMPLED = cases.VECTORS["tau"], cases.VECTORS["resampled"]
few = settings(max_examples=60, deadline=None)


# ---------------------------------------------------------------- kappa


@pytest.mark.parametrize("name", sorted(KAPPA))
def test_kappa(name: str) -> None:
    """In T4 both raters use one label alone: 0 / 0, NaN in scikit-learn and statsmodels."""
    case = KAPPA[name]
    a, b = cases.raters(case["recipe"]) if "recipe" in case else cases.table(case["table"])
    if "sums" in case:
        assert [a.sum(), b.sum()] == case["sums"]
    expected = case["sklearn_unweighted"]
    assert (expected is None) == name.startswith("T4")
    assert cohen_kappa(a, b) == (
        pytest.approx(expected, rel=1e-8) if expected is not None else None
    )
    assert case["statsmodels_kappa"] == expected
    for weights in ("linear", "quadratic"):
        if f"sklearn_{weights}" in case:
            found = cohen_kappa(a, b, weights=weights)  # type: ignore[arg-type]
            assert found == pytest.approx(case[f"sklearn_{weights}"], rel=1e-8)


def test_kappa_is_none_by_weights_too_and_takes_names() -> None:
    assert cohen_kappa(["a"] * 4, ["a"] * 4, weights="quadratic") is None
    assert cohen_kappa(["a", "b", "a"], ["a", "b", "a"]) == 1
    # One label against another: agreement by chance is 0, so kappa is.
    assert cohen_kappa(["a"] * 4, ["b"] * 4) == 0


@pytest.mark.parametrize(("a", "b"), [([1], [1, 2]), ([], []), ([[1]], [[1]])])
def test_kappa_needs_pairs(a: Any, b: Any) -> None:
    with pytest.raises(DataError, match="no pairs"):
        cohen_kappa(a, b)


# ---------------------------------------------------------------- equivalence

COUNTS = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 300))


def counts(drawn: tuple[int, int, int]) -> tuple[int, int, int]:
    b, c, same = drawn
    return b, c, b + c + same


@pytest.mark.parametrize("name", sorted(TOST))
def test_equivalence_by_the_score_test(name: str) -> None:
    """Wald's p is smaller throughout, and 0 in E7, where no answer differs: only the score test
    asks for samples there."""
    case = TOST[name]
    (both, b), (c, neither) = case["table"]
    n = both + b + c + neither
    found = tost_paired(b, c, n, case["margin"])
    assert found == pytest.approx(case["tango_score_tost_p"], rel=1e-8, abs=0)
    for level, key in ((0.95, "tango_ci95"), (0.9, "tango_ci90")):
        assert tango_interval(b, c, n, level) == pytest.approx(case[key], rel=1e-7)
    if name.startswith("E7"):
        assert case["wald_p"] == 0 < found


@few
@given(COUNTS, st.floats(0.001, 0.5), st.floats(0.001, 0.4))
def test_a_wider_margin_is_met_more_easily(
    drawn: tuple[int, int, int], margin: float, more: float
) -> None:
    b, c, n = counts(drawn)
    assert tost_paired(b, c, n, margin + more) <= tost_paired(b, c, n, margin) + 1e-12
    assert tost_paired(c, b, n, margin) == pytest.approx(tost_paired(b, c, n, margin), abs=1e-9)


@few
@given(COUNTS, st.floats(0.002, 0.6), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_is_within_the_margin_where_the_test_says_equivalent(
    drawn: tuple[int, int, int], margin: float, level: float
) -> None:
    b, c, n = counts(drawn)
    low, high = tango_interval(b, c, n, level)
    assert -1 <= low < high <= 1 and low <= (b - c) / n <= high
    assume(min(abs(low + margin), abs(high - margin)) > 1e-7)
    within = -margin < low and high < margin
    assert within == (tost_paired(b, c, n, margin) < (1 - level) / 2)


def test_the_score_test_keeps_its_level() -> None:
    # Two models that differ by just the margin must not pass more often than 1 in 20.
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(400, [0.07, 0.02, 0.91], size=3000)
    passed = [tost_paired(b, c, 400, 0.05) < 0.05 for b, c, _ in drawn]
    assert 0.02 < np.mean(passed) < 0.06
    inside = [low <= 0.05 <= high for low, high in (tango_interval(b, c, 400) for b, c, _ in drawn)]
    assert 0.87 < np.mean(inside) < 0.93


def test_one_side_alone_right_reaches_the_end() -> None:
    assert tango_interval(8, 0, 8)[1] == 1 and tango_interval(0, 8, 8)[0] == -1
    assert 0 < tango_interval(8, 0, 8)[0] < 1
    assert tost_paired(8, 0, 8, 0.5) > 0.9


@pytest.mark.parametrize(("b", "c", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_counts_that_cannot_be_are_said(b: int, c: int, n: int) -> None:
    with pytest.raises(DataError, match="no such counts"):
        tost_paired(b, c, n, 0.1)
    with pytest.raises(DataError, match="no such counts"):
        tango_interval(b, c, n)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, float("nan")])
def test_a_margin_is_a_share(margin: float) -> None:
    with pytest.raises(ConfigError, match="one point"):
        tost_paired(1, 2, 10, margin)
    with pytest.raises(ConfigError, match="level"):
        tango_interval(1, 2, 10, level=margin)


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize("name", sorted(TAU))
def test_weighted_tau(name: str) -> None:
    """scipy's rank=None goes by one side's order alone, rank=False by the samples' order; the
    default is the mean of both sides' and symmetric. Negated scores are another figure: the best
    weigh most."""
    case = TAU[name]
    x, y = cases.orders(case["recipe"])
    if "x" in case:
        np.testing.assert_allclose(np.stack([x, y]), [case["x"], case["y"]], rtol=1e-9)
    found = weighted_tau(x.tolist(), y.tolist())
    assert found == pytest.approx(case["default_rank_True"], rel=1e-8)
    assert found == pytest.approx((case["rank_None"] + case["swapped_rank_None"]) / 2, rel=1e-8)
    assert weighted_tau(y.tolist(), x.tolist()) == pytest.approx(found)
    negated = weighted_tau((-x).tolist(), (-y).tolist())
    assert negated == pytest.approx(case["negated_scores"], rel=1e-8)
    if name.startswith("V3"):
        assert abs(negated - found) > 0.05


def test_tau_leaves_out_what_is_unknown() -> None:
    assert weighted_tau([3.0, None, 1.0, 2.0], [9.0, 1.0, 5.0, None]) == 1
    assert weighted_tau([3.0, None], [9.0, 1.0]) is None
    assert weighted_tau([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) is None
    assert weighted_tau([float("inf"), 1.0, 0.5], [3.0, 2.0, 1.0]) == 1
    assert weighted_tau([], []) is None
    with pytest.raises(DataError, match="2 scores for 1"):
        weighted_tau([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="NaN"):
        weighted_tau([1.0, float("nan")], [1.0, 2.0])


def test_a_swap_among_the_best_weighs_most() -> None:
    truth = [5.0, 4.0, 3.0, 2.0, 1.0]
    best, worst = [4.0, 5.0, 3.0, 2.0, 1.0], [5.0, 4.0, 3.0, 1.0, 2.0]
    assert weighted_tau(best, truth) < weighted_tau(worst, truth) < 1


# ---------------------------------------------------------------- folds


@pytest.mark.parametrize("name", sorted(RESAMPLED))
def test_corrected_t(name: str) -> None:
    """An example of scikit-learn once had 1 / (n_train + n_test) for 1 / J, which is the same in N1
    alone. In N6 all differences are the same: public code divides by rounding, and t = 1e16."""
    case = RESAMPLED[name]
    d, ratio = cases.resampled(case["recipe"])
    assert d.mean() == pytest.approx(case["mean"], rel=1e-8)
    found = corrected_t(d, ratio)
    if name.startswith("N6"):
        assert found == (None, None, None) and case["t_corrected"] > 1e15
        return
    assert found.t == pytest.approx(case["t_corrected"], rel=1e-8)
    assert found.p == pytest.approx(case["p_two_sided"], rel=1e-8, abs=0)
    assert found.interval == pytest.approx(case["ci95_corrected"], rel=1e-8)
    assert corrected_interval(d, ratio) == found.interval
    old = case["t_with_1_over_n_total_(stored sklearn example)"]
    assert (found.t == pytest.approx(old, rel=1e-6)) is name.startswith("N1")
    assert abs(found.t) < abs(case["t_uncorrected_scipy_ttest_1samp"])


def test_values_that_are_all_the_same_claim_no_certainty() -> None:
    assert corrected_t([0.0] * 5, 0.25) == (0.0, 1.0, None)
    assert corrected_t([0.02] * 5, 0.25) == (None, None, None)
    assert corrected_interval([1.0] * 5, 0.25) is None
    assert corrected_interval([1e6, 1e6, np.nextafter(1e6, 2e6)], 0.25) is None
    assert corrected_interval([1.0, 1.0, 0.99], 0.25) is not None


@few
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(0.01, 2))
def test_the_interval_holds_zero_where_the_test_finds_no_difference(
    values: list[float], ratio: float
) -> None:
    found = corrected_t(values, ratio)
    assume(found.interval is not None and abs(found.p - 0.05) > 1e-6)
    low, high = found.interval
    assert (low <= 0 <= high) == (found.p > 0.05)
    assert (low + high) / 2 == pytest.approx(np.mean(values), abs=1e-9)


def test_the_interval_covers_a_mean_over_folds() -> None:
    """Folds share their training samples: with a correlation of n_test / (n_train + n_test) between
    them, the plain interval is too narrow, and the corrected one is not."""
    rng = np.random.default_rng(0)
    rho, j = 0.2, 5
    d = np.sqrt(rho) * rng.normal(size=(4000, 1)) + np.sqrt(1 - rho) * rng.normal(size=(4000, j))
    inside = [low <= 0 <= high for low, high in (corrected_interval(row, 0.25) for row in d)]
    plain = [low <= 0 <= high for low, high in (corrected_interval(row, 1e-9) for row in d)]
    assert 0.93 < np.mean(inside) < 0.97 and np.mean(plain) < 0.9


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ([0.1], 0.25),
        ([0.1, float("nan")], 0.25),
        ([[0.1, 0.2]], 0.25),
        ([0.1, 0.2], 0),
        ([1, 2], np.inf),
    ],
)
def test_folds_that_tell_nothing_are_said(values: Any, ratio: float) -> None:
    with pytest.raises(DataError):
        corrected_t(values, ratio)
    with pytest.raises(DataError):
        corrected_interval(values, ratio)
