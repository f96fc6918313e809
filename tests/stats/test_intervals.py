"""Intervals and tests against cases whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from interop.stats.intervals import change, mcnemar, paired_interval, share, wilson
from tests.assess.cases import VECTORS


def test_no_difference_is_no_certainty() -> None:
    low, high = paired_interval(0, 0, 10_000)
    assert low == -high and 0 < high < 0.0005


def test_the_paired_interval_covers_what_it_should() -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(300, [0.03, 0.05, 0.92], size=2000)
    inside = [
        low <= 0.02 <= high for low, high in (paired_interval(b, c, 300) for b, c, _ in counts)
    ]
    assert 0.93 < np.mean(inside) < 0.98


def test_mcnemar_is_exact() -> None:
    # Two tails of a fair coin that fell six times the same way: 2 / 2 ** 6.
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(0, 0) == 1 and mcnemar(5, 5) == 1


def test_a_change_is_of_the_same_samples() -> None:
    before = np.array([True] * 8 + [False] * 2)
    after = np.array([True] * 6 + [False] * 3 + [True])
    points, test = change(before, after, {"of": "B"})
    assert points.value == pytest.approx(-0.1) and points.conditions["mcnemar_p"] == test.value
    assert test.value == pytest.approx(mcnemar(2, 1))


def test_a_share_has_wilsons_interval() -> None:
    found = share("flips", np.zeros(320, dtype=bool), {})
    # z ** 2 / (n + z ** 2), by hand.
    assert found.value == 0 and found.interval[0] == 0
    assert found.interval[1] == pytest.approx(1.959964**2 / (320 + 1.959964**2), rel=1e-5)


@pytest.mark.parametrize("name", sorted(VECTORS["mcnemar"]))
def test_mcnemar_of_other_libraries(name: str) -> None:
    """statsmodels' exact test; Edwards' corrected chi-square, which many mean by McNemar's, is
    another figure and p = 0 where no answer differs (M2)."""
    case = VECTORS["mcnemar"][name]
    assert mcnemar(case["b"], case["c"]) == pytest.approx(case["p"], rel=1e-8, abs=0)
    assert mcnemar(case["c"], case["b"]) == pytest.approx(case["p"], rel=1e-8, abs=0)
    assert case["edwards"] != pytest.approx(case["p"], rel=1e-4, abs=0)


@pytest.mark.parametrize("case", VECTORS["wilson"], ids=lambda c: f"{c['count']}/{c['n']}")
def test_wilson_of_other_libraries(case: dict[str, Any]) -> None:
    """statsmodels' and scipy's, without the continuity correction."""
    found = wilson(case["count"], case["n"], 1 - case["alpha"])
    assert found == pytest.approx(case["interval"], rel=1e-8, abs=1e-12)
    assert found != pytest.approx(case["corrected"], rel=1e-5)
