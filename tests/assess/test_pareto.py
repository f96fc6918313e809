"""Which points are on the front, where it can be told by hand, and what is unknown."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.assess.pareto import front
from interop.errors import ConfigError

BETTER = {"accuracy": 1, "latency": -1}
FIGURE = st.integers(0, 4).map(float)


def test_the_front_by_hand() -> None:
    points = [
        {"accuracy": 0.9, "latency": 10.0},
        {"accuracy": 0.8, "latency": 5.0},
        {"accuracy": 0.8, "latency": 6.0},  # slower than the second, and no better
        {"accuracy": 0.95, "latency": 20.0},
        {"accuracy": 0.9, "latency": 10.0},  # the first again
    ]
    assert front(points, BETTER) == [True, True, False, True, True]
    assert front(points, {"accuracy": 1}) == [False, False, False, True, False]
    assert front(points, {"accuracy": 1, "latency": 1}) == [False, False, False, True, False]


def test_what_is_unknown_is_neither_beaten_nor_beats() -> None:
    good, bad = {"accuracy": 0.9, "latency": 5.0}, {"accuracy": 0.5, "latency": 9.0}
    for unknown in ({"accuracy": 0.6, "latency": None}, {"accuracy": 0.6}, {"latency": 8.0}):
        assert front([good, unknown, bad], BETTER) == [True, True, False]
        assert front([unknown, bad], BETTER) == [True, True]
    assert front([good, {**bad, "latency": float("nan")}], BETTER) == [True, True]


def test_an_axis_that_none_has_a_figure_of_says_nothing() -> None:
    points = [{"accuracy": 0.9, "latency": None}, {"accuracy": 0.5, "latency": None}]
    assert front(points, BETTER) == [True, False]
    assert front([{}, {}], BETTER) == [True, True]


@given(st.lists(st.tuples(FIGURE, FIGURE, FIGURE), max_size=12))
def test_each_point_off_the_front_is_dominated_by_one_on_it(rows: list[tuple[float, ...]]) -> None:
    better = {"a": 1, "b": -1, "c": 1}
    points = [dict(zip(better, row, strict=True)) for row in rows]
    kept = front(points, better)
    assert any(kept) or not points

    def dominates(p: dict[str, float], q: dict[str, float]) -> bool:
        gains = [(p[axis] - q[axis]) * way for axis, way in better.items()]
        return min(gains) >= 0 and max(gains) > 0

    for (p, on), (q, other) in itertools.permutations(zip(points, kept, strict=True), 2):
        assert not (on and other and dominates(p, q))
    best = [p for p, on in zip(points, kept, strict=True) if on]
    for q, on in zip(points, kept, strict=True):
        assert on or any(dominates(p, q) for p in best)


@pytest.mark.parametrize("better", [{}, {"accuracy": 0}, {"accuracy": 2}])
def test_axes_need_a_way(better: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="Pareto"):
        front([{"accuracy": 1.0}], better)
