"""Runtimes and inputs -> latency, runs interleaved so that what disturbs one disturbs all alike.

After MLPerf's scenarios: single stream (one run after the other, each timed) and offline (as many
runs as fit into a window, timed as a whole).
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, perf_counter_ns, process_time_ns

import numpy as np
from numpy.typing import NDArray

from interop.bench.runners import Contender
from interop.facts import Group, Json, Measurement, Unit
from interop.models.signature import BATCH, Argument, Signature
from interop.runtimes import Runtime
from interop.runtimes.base import Array, Batch

LEAST_ROUNDS, MOST_ROUNDS = 10, 300
WARM_UP_RUNS, WARM_UP_SECONDS = 30, 3.0
# Offline windows of each runner, of which the interval is made, and the least runs in each.
WINDOWS, LEAST_RUNS = 5, 2
RESAMPLES = 2000
SEED = 0


@dataclass(slots=True)
class TimedRunner:
    """One runtime of one model, its input, and its samples in milliseconds.

    `again` marks the second runner of the same runtime: what it differs by is the host's noise.
    `samples` are wall time; `cpu` is the whole process's processor time of the same runs, and
    `device` the time between two events on the GPU's stream, where there is one. `warm_up` counts
    the runs before, and `stable` tells whether they had settled.
    """

    role: str
    runtime: Runtime
    batch: Batch
    again: bool = False
    samples: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    warm_up: int = 0
    stable: bool = False
    _ready: Callable[[], object] | None = None

    @property
    def of(self) -> str:
        return f"{self.role} {self.runtime.name}"

    def run(self) -> float:
        """One run, host array in to host array out, in milliseconds."""
        run = self.ready()
        start = perf_counter_ns()
        run()
        return (perf_counter_ns() - start) / 1e6

    def ready(self) -> Callable[[], object]:
        """The run itself, with nothing of ours around it that a hand-written loop would lack."""
        if self._ready is None:
            self._ready = self.runtime.ready(self.batch).run
        return self._ready

    def sample(self) -> None:
        """One run that counts, by all clocks; the wall's are the innermost."""
        stop = self.runtime.clock()
        busy = process_time_ns()
        self.samples.append(self.run())
        self.cpu.append((process_time_ns() - busy) / 1e6)
        if stop is not None:
            self.device.append(stop())


def measure(
    contenders: Sequence[Contender],
    inputs: Sequence[Batch],
    batches: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
) -> list[Measurement]:
    """Latency, ratios, throughput and, on CUDA, copies at each batch size.

    `inputs` holds prepared samples for each model: one array, or arrays by input name, rows first.
    A batch size takes `seconds` for the single stream and half as long for the offline windows,
    on CUDA a quarter for the copies.
    Models that take no batch of any size are measured at one input at a time.
    """
    # What a person's module prints is no part of any report. Once for all runs: it takes time.
    with contextlib.redirect_stdout(sys.stderr):
        measurements: list[Measurement] = []
        for size in sizes(contenders, batches):
            own = [
                TimedRunner(c.role, runtime, filled(samples, size, c.signature))
                for c, samples in zip(contenders, inputs, strict=True)
                for runtime in c.runtimes
            ]
            first = own[0]
            again = TimedRunner(first.role, first.runtime, first.batch, again=True)

            def tell(number: int, size: int = size) -> None:
                say(f"latency, batch {size}: round {number}")

            interleave([*own, again], seconds, tell)
            measurements += [_latency(runner, size) for runner in own]
            measurements += ratios([*own, again], size)
            say(f"throughput, batch {size}")
            measurements += throughput(own, size, seconds / 2)
            on_device = [x for x in own if x.runtime.device != "cpu"]
            measurements += copies(on_device, size, seconds / 4)
        return measurements


def interleave(runners: Sequence[TimedRunner], seconds: float, say: Callable[[int], None]) -> None:
    """Warm up each runner, then run all of them once a round, in an order drawn anew each round."""
    for runner in runners:
        warm_up(runner)
    order = list(runners)
    shuffle = random.Random(SEED).shuffle
    end = perf_counter() + seconds
    for n in range(MOST_ROUNDS):
        if n >= LEAST_ROUNDS and perf_counter() > end:
            break
        shuffle(order)
        for runner in order:
            runner.sample()
        say(n + 1)


def warm_up(runner: TimedRunner) -> None:
    """Run until three times in a row are within a tenth of the best, or the bound is reached."""
    end = perf_counter() + WARM_UP_SECONDS
    times: list[float] = []
    while len(times) < WARM_UP_RUNS and (len(times) < 3 or perf_counter() < end):
        times.append(runner.run())
        if len(times) >= 3 and max(times[-3:]) <= 1.1 * min(times):
            runner.stable = True
            break
    runner.warm_up = len(times)


def throughput(runners: Sequence[TimedRunner], size: int, seconds: float) -> list[Measurement]:
    """Samples per second over windows of back-to-back runs, the runners' windows in random order.

    `seconds` is what all windows together take. The value is all samples by all time, and the
    interval a percentile bootstrap over the windows.
    """
    order = [runner for runner in runners for _ in range(WINDOWS)]
    random.Random(SEED).shuffle(order)
    windows: dict[int, list[tuple[int, float]]] = {id(runner): [] for runner in runners}
    for runner in order:
        windows[id(runner)].append(_window(runner, seconds / len(order)))
    return [_throughput(runner, size, windows[id(runner)]) for runner in runners]


def _window(runner: TimedRunner, seconds: float) -> tuple[int, float]:
    """Runs one after the other for so long: their number, and the seconds that they took."""
    run = runner.ready()
    run()  # what the last runner left in the caches is not this one's
    start = perf_counter()
    runs, took = 0, 0.0
    while runs < LEAST_RUNS or took < seconds:
        run()
        runs += 1
        took = perf_counter() - start
    return runs, took


def _throughput(
    runner: TimedRunner, size: int, windows: Sequence[tuple[int, float]]
) -> Measurement:
    runs, took = (np.array(x, dtype=np.float64) for x in zip(*windows, strict=True))
    picks = np.random.default_rng(SEED).integers(0, len(runs), (RESAMPLES, len(runs)))
    spread = size * runs[picks].sum(axis=1) / took[picks].sum(axis=1)
    low, high = (float(v) for v in np.quantile(spread, (0.025, 0.975)))
    conditions = _of(runner, size, Group.THROUGHPUT) | {
        "windows": len(runs), "runs": int(runs.sum()), "seconds": float(took.sum()),
    }  # fmt: skip
    value = float(size * runs.sum() / took.sum())
    samples = tuple(float(v) for v in size * runs / took)
    return Measurement("throughput", Unit.PER_SECOND, value, (low, high), samples, conditions)


def copies(runners: Sequence[TimedRunner], size: int, seconds: float) -> list[Measurement]:
    """The share of a run that goes into copies between host and device, and what is around them.

    Each round runs every runner once as it is and once with inputs and outputs left on the device;
    the share is one less the ratio of the medians.
    """
    bindings = [runner.runtime.bind(runner.batch) for runner in runners]
    whole: list[list[float]] = [[] for _ in runners]
    alone: list[list[float]] = [[] for _ in runners]
    for bound in bindings:
        bound.run()
    end = perf_counter() + seconds
    for n in range(MOST_ROUNDS if runners else 0):
        if n >= LEAST_ROUNDS and perf_counter() > end:
            break
        for place, runner in enumerate(runners):
            whole[place].append(runner.run())
            start = perf_counter_ns()
            bindings[place].run()
            alone[place].append((perf_counter_ns() - start) / 1e6)
    measurements = []
    for runner, with_them, without in zip(runners, whole, alone, strict=True):
        value, (low, high) = ratio(without, with_them)
        conditions = _of(runner, size, Group.COPIES) | {"bound_ms": float(np.median(without))}
        interval = (1 - high, 1 - low)
        measurements.append(
            Measurement("copies", Unit.SHARE, 1 - value, interval, tuple(without), conditions)
        )
    return measurements


def ratio(top: Sequence[float], bottom: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The ratio of medians, with a 95 % percentile bootstrap interval over rounds.

    The rounds are resampled as pairs: both runs of a round saw the same state of the host.
    """
    a, b = np.asarray(top), np.asarray(bottom)
    picks = np.random.default_rng(SEED).integers(0, len(a), (RESAMPLES, len(a)))
    spread = np.median(a[picks], axis=1) / np.median(b[picks], axis=1)
    low, high = np.quantile(spread, (0.025, 0.975))
    return float(np.median(a) / np.median(b)), (float(low), float(high))


def _of(runner: TimedRunner, size: int, group: Group) -> dict[str, Json]:
    return {
        "group": group,
        "of": runner.of,
        "model": runner.role,
        "runtime": runner.runtime.name,
        "batch": size,
    }


def _latency(runner: TimedRunner, size: int) -> Measurement:
    samples = np.asarray(runner.samples)
    p50, p90, p99 = (float(v) for v in np.quantile(samples, (0.5, 0.9, 0.99)))
    picks = np.random.default_rng(SEED).integers(0, len(samples), (RESAMPLES, len(samples)))
    low, high = np.quantile(np.median(samples[picks], axis=1), (0.025, 0.975))
    conditions = _of(runner, size, Group.LATENCY) | {
        "p90": p90,
        "p99": p99,
        "per_second": 1000 * size / p50,
        "rounds": len(samples),
        "warm_up_runs": runner.warm_up,
        "stable": runner.stable,
        "cpu_ms": float(np.median(runner.cpu)),
        "cpu_samples": list(runner.cpu),
    }
    if runner.device:
        conditions |= {
            "device_ms": float(np.median(runner.device)), "device_samples": list(runner.device),
        }  # fmt: skip
    interval = (float(low), float(high))
    return Measurement("latency", Unit.MS, p50, interval, tuple(runner.samples), conditions)


def ratios(runners: Sequence[TimedRunner], size: int) -> list[Measurement]:
    """Each further runtime of a model against its first, B against A in each, and the noise.

    The last of `runners` is the first of them again.
    """
    ratios = []
    first, again = runners[0], runners[-1]
    of: dict[str, list[TimedRunner]] = {}
    for runner in runners[:-1]:
        of.setdefault(runner.role, []).append(runner)
    pairs = [(top, own[0], "runtimes") for own in of.values() for top in own[1:]]
    roles = list(of)
    for top in of[roles[1]] if len(roles) > 1 else ():
        pairs += [(top, x, "models") for x in of[roles[0]] if x.runtime.name == top.runtime.name]
    for top, bottom, between in pairs:
        value, interval = ratio(top.samples, bottom.samples)
        name = f"{top.of} / {bottom.of}"
        conditions = {"group": Group.LATENCY_RATIO, "of": name, "between": between, "batch": size}
        ratios.append(Measurement("latency ratio", Unit.RATIO, value, interval, (), conditions))
    value, interval = ratio(again.samples, first.samples)
    name = f"{first.of} / itself"
    conditions = {"group": Group.LATENCY_RATIO, "of": name, "between": "runs", "batch": size}
    ratios.append(Measurement("latency noise", Unit.RATIO, value, interval, (), conditions))
    return ratios


def sizes(contenders: Sequence[Contender], batches: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes that all of them take."""
    return tuple(batches) if all(c.signature.batched for c in contenders) else (1,)


def filled(samples: Batch, size: int, takes: Signature) -> Batch:
    """A batch of `size`, the samples repeated where there are fewer."""
    if not isinstance(samples, Mapping):
        return _rows(samples, size, takes.arguments[0])
    by_name = {a.name: a for a in takes.arguments}
    return {n: _rows(a, size, by_name[n]) for n, a in samples.items() if n in by_name}


def _rows(array: Array, size: int, argument: Argument) -> Array:
    """As many rows as that; of an input without a batch axis, one sample as it is taken."""
    if BATCH in argument.axes:
        picks: NDArray[np.int64] = np.arange(size) % len(array)
        return np.ascontiguousarray(array[picks])
    if array.ndim > len(argument.axes):
        return np.ascontiguousarray(array[0])
    axis = argument.axes[0] if argument.axes else None
    return np.ascontiguousarray(array[:axis] if isinstance(axis, int) else array)
