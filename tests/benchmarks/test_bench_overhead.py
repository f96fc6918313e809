"""bench's own cost: the comparison finds what a loop adds; loading is what was waited for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bench_overhead
from interop.bench.latency import TimedRunner
from interop.runtimes import Bound


class Sleeper:
    name, device = "sleeper", "cpu"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def clock(self) -> None:
        return None

    def run(self, batch: Any) -> None:
        time.sleep(self.seconds)

    def ready(self, batch: Any) -> Bound:
        return Bound(lambda: self.run(batch))


def test_a_loop_of_the_same_runs_is_one_and_a_slower_harness_is_not() -> None:
    batch = np.zeros(1)
    same = bench_overhead.compared(
        TimedRunner("A", Sleeper(0.005), batch),  # type: ignore[arg-type]
        lambda: time.sleep(0.005),
        12,
    )
    assert same["ratio"] == pytest.approx(1, abs=0.1)
    slower = bench_overhead.compared(
        TimedRunner("A", Sleeper(0.008), batch),  # type: ignore[arg-type]
        lambda: time.sleep(0.005),
        12,
    )
    assert not slower["holds"] and slower["interval"][0] > 1.2


def test_loading_is_the_time_that_batches_took_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench_overhead.pictures(tmp_path, 12)
    assert len(list(folder.rglob("*.jpg"))) == 12
    found = bench_overhead.loading(folder, 1)
    assert found["pictures"] == 12
    assert 0 < found["share"] < 1
    assert found["holds"] == (found["share"] <= bench_overhead.MOST_LOADING)

    from interop.data.preparing import Pictures

    plain = Pictures.__call__

    def slow(self: Pictures, records: Any) -> Any:
        time.sleep(2 * found["wall_seconds"])
        return plain(self, records)

    monkeypatch.setattr(Pictures, "__call__", slow)
    assert bench_overhead.loading(folder, 1)["share"] > found["share"] + 0.2
