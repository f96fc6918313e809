"""Interleaving, warm-up and ratios, on runtimes whose speed is known."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from interop.bench.latency import (
    LEAST_ROUNDS,
    WARM_UP_RUNS,
    WINDOWS,
    TimedRunner,
    copies,
    filled,
    interleave,
    measure,
    ratio,
    throughput,
    warm_up,
)
from interop.models.signature import Argument, Signature
from interop.runtimes import Bound, OnnxRuntime, Runtime, TorchRuntime
from tests.runtimes.test_runtimes import graph


class Sleeper:
    """Answers after a while; keeps the order of calls in a list that several share."""

    device = "cpu"

    def __init__(
        self, seconds: float, calls: list[Any], cold: float = 0.0, name: str = "sleeper"
    ) -> None:
        self.seconds, self.calls, self.cold, self.name = seconds, calls, cold, name

    def clock(self) -> Any:
        return None

    def run(self, batch: Any) -> Any:
        self.calls.append(self)
        time.sleep(self.seconds + self.cold)
        self.cold = 0.0
        return batch

    def ready(self, batch: Any) -> Bound:
        return Bound(lambda: self.run(batch))


class OnDevice(Sleeper):
    """Half of a run are copies; its clock says 7 ms of everything."""

    device = "cuda"

    def clock(self) -> Any:
        return lambda: 7.0

    def bind(self, batch: Any) -> Bound:
        return Bound(lambda: time.sleep(self.seconds * 0.5))


PICTURES = Signature((Argument("input", ("batch", 3)),))


class Model:
    """What `measure` needs of a contender."""

    def __init__(self, role: str, *runtimes: Any, signature: Signature = PICTURES) -> None:
        self.role, self.runtimes, self.signature = role, runtimes, signature


def runner(runtime: Any, again: bool = False) -> TimedRunner:
    return TimedRunner("A", runtime, np.zeros((1, 3), np.float32), again)


def test_lanes_take_turns_in_an_order_that_changes() -> None:
    calls: list[Any] = []
    slow, fast = Sleeper(0.004, calls), Sleeper(0.001, calls)
    runners = [runner(slow), runner(fast)]
    interleave(runners, 0.0, lambda n: None)
    assert [len(x.samples) for x in runners] == [LEAST_ROUNDS, LEAST_ROUNDS]
    rounds = calls[-2 * LEAST_ROUNDS :]
    pairs = {(rounds[i], rounds[i + 1]) for i in range(0, len(rounds), 2)}
    assert pairs == {(slow, fast), (fast, slow)}
    value, (low, high) = ratio(runners[0].samples, runners[1].samples)
    assert low <= value <= high and low > 1.5, "four times slower, sleeping overhead included"


def test_the_cold_run_is_not_a_sample() -> None:
    cold = runner(Sleeper(0.001, [], cold=0.2))
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


def test_every_sample_has_its_wall_processor_and_device_time() -> None:
    plain, gpu = runner(Sleeper(0.002, [])), runner(OnDevice(0.002, []))
    interleave([plain, gpu], 0.0, lambda n: None)
    assert len(plain.cpu) == len(plain.samples) == LEAST_ROUNDS and not plain.device
    assert np.median(plain.cpu) < 1 < np.median(plain.samples), "it sleeps: no processor time"
    assert gpu.device == [7.0] * LEAST_ROUNDS

    class Busy(Sleeper):
        def run(self, batch: Any) -> Any:
            end = time.process_time() + 0.004
            while time.process_time() < end:
                pass

    busy = runner(Busy(0, []))
    interleave([busy], 0.0, lambda n: None)
    assert np.median(busy.cpu) >= 4


def ours_within(run: Any) -> list[str]:
    """The names of the functions of this package that a call goes through."""
    seen: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and (module.startswith("interop.") or module == "contextlib"):
            seen.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize("how", ["eager", "script", "plain"])
def test_the_timed_span_holds_the_models_call_and_no_bookkeeping(tmp_path: Path, how: str) -> None:
    runtime: Runtime
    if how == "plain":
        runtime = OnnxRuntime(graph(tmp_path / "relu.onnx"))
    else:
        runtime = TorchRuntime(nn.Linear(6, 2).eval(), how=how)
    with runtime:
        timed = TimedRunner("A", runtime, np.zeros((1, 6), np.float32))
        timed.run()
        # Inputs are looked up, stdout is turned away and outputs are sorted, but not in the span.
        assert "outputs" in ours_within(lambda: runtime.run(timed.batch))
        assert set(ours_within(timed.ready())) <= {"<lambda>", "run"}


def test_what_a_module_prints_while_it_is_measured_is_no_part_of_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Chatty(nn.Module):
        def forward(self, x: Any) -> Any:
            print("here I am")
            return x

    with TorchRuntime(Chatty()) as runtime:
        model = Model("A", runtime)
        inputs = [np.zeros((4, 3), np.float32)]
        measure([model], inputs, (1,), 0.0, lambda _: None)  # type: ignore[list-item]
    out, err = capsys.readouterr()
    assert not out and "here I am" in err


def test_warm_up_says_whether_it_settled() -> None:
    steady = runner(Sleeper(0.01, []))
    warm_up(steady)
    assert steady.stable and 3 <= steady.warm_up < WARM_UP_RUNS

    class Restless(Sleeper):
        def run(self, batch: Any) -> Any:
            self.seconds = 0.003 - self.seconds  # never three alike in a row
            time.sleep(self.seconds)

    restless = runner(Restless(0.001, []))
    warm_up(restless)
    assert not restless.stable and restless.warm_up == WARM_UP_RUNS


def test_throughput_counts_samples_in_windows() -> None:
    slow, fast = runner(Sleeper(0.004, [])), runner(Sleeper(0.001, []))
    one, other = throughput([slow, fast], 8, 0.3)
    assert one.unit == "per second" and len(one.samples) == WINDOWS
    assert one.value is not None and other.value is not None and one.interval is not None
    assert 0.5 * 2000 < one.value <= 2000, "8 samples in 4 ms"
    assert other.value > 2 * one.value
    assert one.interval[0] <= one.value <= one.interval[1]
    seconds, runs = one.conditions["seconds"], one.conditions["runs"]
    assert one.value == pytest.approx(8 * runs / seconds)


def test_copies_are_what_a_bound_run_leaves_out() -> None:
    (share,) = copies([runner(OnDevice(0.006, []))], 1, 0.1)
    assert share.value == pytest.approx(0.5, abs=0.15)
    assert share.interval is not None and share.interval[0] <= share.interval[1]
    assert share.conditions["bound_ms"] == pytest.approx(3, abs=1)


def test_all_lanes_are_compared_with_the_first_and_models_with_each_other() -> None:
    a = Model("A", Sleeper(0, [], name="x"), Sleeper(0, [], name="y"), Sleeper(0, [], name="z"))
    b = Model("B", Sleeper(0, [], name="x"), Sleeper(0, [], name="z"))
    inputs = [np.zeros((4, 3), np.float32)] * 2
    found = measure([a, b], inputs, (2,), 0.0, lambda line: None)  # type: ignore[list-item]
    of = [m.conditions["of"] for m in found if m.name == "latency ratio"]
    assert of == ["A y / A x", "A z / A x", "B z / B x", "B x / A x", "B z / A z"]
    (noise,) = (m for m in found if m.name == "latency noise")
    assert noise.conditions["of"] == "A x / itself"
    assert [m.name for m in found].count("throughput") == 5
    assert not [m for m in found if m.name == "copies"], "nothing is copied on the CPU"


def test_a_batch_has_rows_of_every_input_and_only_what_the_model_takes() -> None:
    takes = Signature((Argument("ids", ("batch", "sequence"), "int64"), Argument("x", ("batch",))))
    given = {"ids": np.arange(6).reshape(2, 3), "x": np.arange(2), "other": np.arange(2)}
    made = filled(given, 3, takes)
    assert isinstance(made, dict) and set(made) == {"ids", "x"}
    np.testing.assert_array_equal(made["ids"], given["ids"][[0, 1, 0]])
    one = Signature((Argument("image", (3, "height", "width")),), kind="detections")
    assert filled(np.zeros((5, 3, 8, 9)), 4, one).shape == (3, 8, 9)  # type: ignore[union-attr]
    assert filled(np.zeros((3, 8, 9)), 4, one).shape == (3, 8, 9)  # type: ignore[union-attr]
    fixed = Signature((Argument("ids", (1, "sequence"), "int64"),))
    assert filled(np.zeros((5, 8)), 4, fixed).shape == (1, 8)  # type: ignore[union-attr]
    calls: list[Any] = []
    model = Model("A", Sleeper(0, calls), signature=fixed)
    found = measure([model], [np.zeros((5, 8))], (4, 8), 0.0, lambda _: None)  # type: ignore[list-item]
    assert {m.conditions["batch"] for m in found} == {1}
