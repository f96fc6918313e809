"""Interleaving, warm-up and ratios, on runtimes whose speed is known."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from interop.bench.latency import LEAST_ROUNDS, Lane, interleave, ratio, warm_up


class Sleeper:
    """Answers after a while; keeps the order of calls in a list that several share."""

    name, device = "sleeper", "cpu"

    def __init__(self, seconds: float, calls: list[Any], cold: float = 0.0) -> None:
        self.seconds, self.calls, self.cold = seconds, calls, cold

    def run(self, batch: Any) -> Any:
        self.calls.append(self)
        time.sleep(self.seconds + self.cold)
        self.cold = 0.0
        return batch


def lane(runtime: Any, again: bool = False) -> Lane:
    return Lane("A", runtime, np.zeros((1, 3), np.float32), again)


def test_lanes_take_turns_in_an_order_that_changes() -> None:
    calls: list[Any] = []
    slow, fast = Sleeper(0.004, calls), Sleeper(0.001, calls)
    lanes = [lane(slow), lane(fast)]
    interleave(lanes, 0.0, lambda n: None)
    assert [len(x.samples) for x in lanes] == [LEAST_ROUNDS, LEAST_ROUNDS]
    rounds = calls[-2 * LEAST_ROUNDS :]
    pairs = {(rounds[i], rounds[i + 1]) for i in range(0, len(rounds), 2)}
    assert pairs == {(slow, fast), (fast, slow)}
    value, (low, high) = ratio(lanes[0].samples, lanes[1].samples)
    assert low <= value <= high and low > 1.5, "four times slower, sleeping overhead included"


def test_the_cold_run_is_not_a_sample() -> None:
    cold = lane(Sleeper(0.001, [], cold=0.2))
    warm_up(cold)
    interleave([cold], 0.0, lambda n: None)
    assert max(cold.samples) < 200


def test_a_runtime_against_itself_has_a_ratio_around_one() -> None:
    rng = np.random.default_rng(0)
    times = rng.normal(10, 0.5, 200)
    value, (low, high) = ratio(list(times), list(rng.permutation(times)))
    assert value == pytest.approx(1) and low < 1 < high
    value, (low, high) = ratio(list(2 * times), list(times))
    assert value == pytest.approx(2) and low > 1.9


def test_rounds_are_resampled_as_pairs() -> None:
    # The host slows down tenfold half way: the ratio of each round stays two, and so does ours.
    base = np.r_[np.full(50, 1.0), np.full(51, 10.0)] * np.linspace(1, 1.01, 101)
    _, (low, high) = ratio(list(2 * base), list(base))
    assert (low, high) == pytest.approx((2, 2), rel=1e-9)
