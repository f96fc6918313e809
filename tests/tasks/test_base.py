"""The bootstrap that all tasks use."""

from __future__ import annotations

import numpy as np
import pytest

from interop.stats.bootstrap import bootstrapped


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrapped(400, lambda drawn: float(values[drawn].mean()))
    reach = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - reach, abs=0.015)
    assert high == pytest.approx(values.mean() + reach, abs=0.015)


def test_a_figure_that_draws_make_larger_lies_within_its_interval() -> None:
    # The mean over classes of |wrong - expected| grows with noise: each draw adds to it.
    rng = np.random.default_rng(2)
    values, groups = rng.normal(size=300), np.arange(300) % 30

    def figure(drawn: np.ndarray) -> float:
        return float(np.abs(np.bincount(groups[drawn], values[drawn], 30)).mean())

    plain = [figure(rng.integers(0, 300, 300)) for _ in range(300)]
    assert figure(np.arange(300)) < np.quantile(plain, 0.025), "the trap is there"
    low, high = bootstrapped(300, figure)
    assert low < figure(np.arange(300)) < high


def test_draws_without_a_figure_are_left_out() -> None:
    low, _ = bootstrapped(5, lambda drawn: float("nan"))
    assert np.isnan(low)
