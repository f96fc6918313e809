"""Runtimes and inputs -> latency, runs interleaved so that what disturbs one disturbs all alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from interop.bench.contender import Contender
from interop.facts import Json, Measurement
from interop.runtimes import Runtime

LEAST_ROUNDS, MOST_ROUNDS = 10, 300
WARM_UP_RUNS, WARM_UP_SECONDS = 30, 3.0
RESAMPLES = 2000
SEED = 0
AGAIN = "again"


@dataclass(slots=True)
class Lane:
    """One runtime of one model, its input, and its samples in milliseconds.

    `again` marks the second lane of the same runtime: what it differs by is the host's noise.
    """

    role: str
    runtime: Runtime
    batch: NDArray[np.float32]
    again: bool = False
    samples: list[float] = field(default_factory=list)

    @property
    def of(self) -> str:
        return f"{self.role} {self.runtime.name}"

    def run(self) -> float:
        """One run, host array in to host array out, in milliseconds."""
        start = perf_counter_ns()
        self.runtime.run(self.batch)
        return (perf_counter_ns() - start) / 1e6


def measure(
    contenders: Sequence[Contender],
    inputs: Sequence[NDArray[np.float32]],
    batches: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
) -> list[Measurement]:
    """Latency and ratios at each batch size; `inputs` holds prepared samples for each model."""
    found: list[Measurement] = []
    for size in batches:
        lanes = [
            Lane(c.role, runtime, _filled(samples, size))
            for c, samples in zip(contenders, inputs, strict=True)
            for runtime in c.runtimes
        ]
        first = lanes[0]
        lanes.append(Lane(first.role, first.runtime, first.batch, again=True))
        interleave(lanes, seconds, partial(_say_round, say, size))
        found += [_latency(lane, size) for lane in lanes if not lane.again]
        found += _ratios(lanes, size)
    return found


def interleave(lanes: Sequence[Lane], seconds: float, say: Callable[[int], None]) -> None:
    """Warm up each lane, then run all of them once a round, in an order drawn anew each round."""
    for lane in lanes:
        warm_up(lane)
    order = list(lanes)
    shuffle = random.Random(SEED).shuffle
    end = perf_counter() + seconds
    for n in range(MOST_ROUNDS):
        if n >= LEAST_ROUNDS and perf_counter() > end:
            break
        shuffle(order)
        for lane in order:
            lane.samples.append(lane.run())
        say(n + 1)


def warm_up(lane: Lane) -> None:
    """Run until three times in a row are within a tenth of the best, or the bound is reached."""
    end = perf_counter() + WARM_UP_SECONDS
    times: list[float] = []
    while len(times) < WARM_UP_RUNS and (len(times) < 3 or perf_counter() < end):
        times.append(lane.run())
        if len(times) >= 3 and max(times[-3:]) <= 1.1 * min(times):
            return


def ratio(top: Sequence[float], bottom: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The ratio of medians, with a 95 % percentile bootstrap interval over rounds.

    The rounds are resampled as pairs: both runs of a round saw the same state of the host.
    """
    a, b = np.asarray(top), np.asarray(bottom)
    picks = np.random.default_rng(SEED).integers(0, len(a), (RESAMPLES, len(a)))
    spread = np.median(a[picks], axis=1) / np.median(b[picks], axis=1)
    low, high = np.quantile(spread, (0.025, 0.975))
    return float(np.median(a) / np.median(b)), (float(low), float(high))


def _latency(lane: Lane, size: int) -> Measurement:
    samples = np.asarray(lane.samples)
    p50, p90, p99 = (float(v) for v in np.quantile(samples, (0.5, 0.9, 0.99)))
    picks = np.random.default_rng(SEED).integers(0, len(samples), (RESAMPLES, len(samples)))
    low, high = np.quantile(np.median(samples[picks], axis=1), (0.025, 0.975))
    conditions: dict[str, Json] = {
        "group": "latency",
        "of": lane.of,
        "model": lane.role,
        "runtime": lane.runtime.name,
        "batch": size,
        "p90": p90,
        "p99": p99,
        "per_second": 1000 * size / p50,
        "rounds": len(samples),
    }
    return Measurement(
        "latency", "ms", p50, (float(low), float(high)), tuple(lane.samples), conditions
    )


def _ratios(lanes: Sequence[Lane], size: int) -> list[Measurement]:
    made = []
    first, again = lanes[0], lanes[-1]
    pairs = [(lanes[n + 1], lanes[n], "runtimes") for n in range(0, len(lanes) - 1, 2)]
    if len(lanes) > 3:
        pairs += [(lanes[2], lanes[0], "models"), (lanes[3], lanes[1], "models")]
    for top, bottom, between in pairs:
        value, interval = ratio(top.samples, bottom.samples)
        of = f"{top.of} / {bottom.of}"
        conditions = {"group": "latency ratio", "of": of, "between": between, "batch": size}
        made.append(Measurement("latency ratio", "ratio", value, interval, (), conditions))
    value, interval = ratio(again.samples, first.samples)
    conditions = {
        "group": "latency ratio",
        "of": f"{first.of} / itself",
        "between": "runs",
        "batch": size,
    }
    made.append(Measurement("latency noise", "ratio", value, interval, (), conditions))
    return made


def _say_round(say: Callable[[str], None], size: int, number: int) -> None:
    say(f"latency, batch {size}: round {number}")


def _filled(samples: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A batch of `size`, the samples repeated where there are fewer."""
    picks = np.arange(size) % len(samples)
    return np.ascontiguousarray(samples[picks])
