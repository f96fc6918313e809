"""What a bench report holds as raw samples becomes the figures that budgets are held against."""

from __future__ import annotations

import random
from typing import Any

import pytest

from interop.facts import Measurement, Report
from interop.facts.sections.export import ExportSection
from interop.gate import gate
from interop.gate.budget_metrics import derived as derived_of
from interop.gate.budget_metrics import p99_bounds
from interop.policy.policy import Policy
from tests.gate.test_gate import benched, exported, hashes


def lane(name: str, model: str, value: float, **more: Any) -> Measurement:
    interval, samples = more.pop("interval", None), more.pop("samples", ())
    conditions = {"model": model, "runtime": "onnxruntime", "batch": 1, "of": model, **more}
    return Measurement(name, "ms", value, interval, samples, conditions)


def latencies(model: str, count: int, scale: float) -> Measurement:
    draw = random.Random(model)
    samples = tuple(scale * (1 + draw.random()) for _ in range(count))
    return lane("latency", model, 1.5 * scale, samples=samples, p99=1.99 * scale)


def test_a_99th_percentile_is_bounded_by_order_statistics() -> None:
    low, high = p99_bounds(range(2000))
    assert low is not None and high is not None and 1960 < low < 1980 < high < 1995
    low, high = p99_bounds(range(100))
    assert high is None and low is not None, "a hundred runs bound no 99th percentile above"
    # How often the bounds hold the true one (0.99 of a uniform draw): 97.5 % or more.
    draw = random.Random(0)
    held = 0
    for _ in range(400):
        ends = p99_bounds([draw.random() for _ in range(600)])
        held += ends[0] is not None and ends[1] is not None and ends[0] <= 0.99 <= ends[1]
    assert held / 400 > 0.955


def test_p99_is_judged_by_its_whole_interval_and_few_runs_are_no_proof(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"p99-ratio": 1.2})
    slow = benched(a, b, latencies("A", 1000, 1.0), latencies("B", 1000, 1.6))
    made = gate(policy, [good, slow])
    assert made.exit_code == 1 and "99th percentile" in made.summary
    alike = benched(a, b, latencies("A", 1000, 1.0), latencies("B", 1000, 1.0))
    assert gate(policy, [good, alike]).exit_code == 0
    few = benched(a, b, latencies("A", 100, 1.0), latencies("B", 100, 1.0))
    made = gate(policy, [good, few])
    assert made.exit_code == 3 and "100 runs are too few" in made.summary


def test_throughput_must_be_at_least_its_budget(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"throughput-ratio": 0.9})
    first = lane("throughput", "A", 100.0, interval=(98.0, 102.0))
    for value, ends, code in ((60.0, (58.0, 62.0), 1), (95.0, (93.0, 97.0), 0)):
        second = lane("throughput", "B", value, interval=ends)
        assert gate(policy, [good, benched(a, b, first, second)]).exit_code == code
    made = gate(policy, [good, benched(a, b, first)])
    assert made.exit_code == 3 and "no 'throughput ratio'" in made.summary


def test_peak_memory_is_the_candidates(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"peak-memory-mb": 500.0})
    baseline, light, heavy = (
        lane("peak memory", "A", 9e8), lane("peak memory", "B", 4e8), lane("peak memory", "B", 6e8)
    )  # fmt: skip
    assert gate(policy, [good, benched(a, b, baseline, light)]).exit_code == 0
    made = gate(policy, [good, benched(a, b, baseline, light, heavy)])
    assert made.exit_code == 1 and "600 MB at its peak, 500 allowed" in made.summary
    assert gate(policy, [good, benched(a, b, baseline)]).exit_code == 3


@pytest.mark.parametrize(("providers", "elsewhere", "code"), [
    (["CUDAExecutionProvider", "CPUExecutionProvider"], [], 0),
    (["CUDAExecutionProvider", "CPUExecutionProvider"],
     ["Resize_12 (Resize) on CPUExecutionProvider"], 1),
    (["CPUExecutionProvider"], [], 1),
    ([], [], 3),
    ("CUDAExecutionProvider", [], 3),
    ({"0": "CUDAExecutionProvider"}, 1, 3),
    (["CUDAExecutionProvider"], 1, 1),
])  # fmt: skip
def test_nodes_run_on_allowed_providers_alone(
    good: Report, providers: Any, elsewhere: Any, code: int
) -> None:
    from dataclasses import replace

    a, b = hashes(good)
    told = {"B onnxruntime": {"providers": providers, "elsewhere": elsewhere}}
    made = gate(
        Policy(bench=True, providers=("CUDAExecutionProvider",)),
        [good, replace(benched(a, b), environment=told)],
    )
    assert made.exit_code == code
    if elsewhere and isinstance(elsewhere, list):
        assert "Resize_12 (Resize) for one" in made.summary


def test_the_opset_of_an_export_is_judged(good: Report) -> None:
    _, b = hashes(good)
    policy = Policy(budgets={"opset-max": 17.0})
    made = gate(policy, [good])
    assert made.exit_code == 3 and "budget on the opset" in made.summary
    assert gate(policy, [good, exported(b, details=ExportSection(opset=17))]).exit_code == 0
    made = gate(policy, [good, exported(b, details=ExportSection(opset=18))])
    assert made.exit_code == 1 and made.summary == "opset-unsupported: opset 18, at most 17 allowed"


def test_another_tasks_first_figure_is_judged_as_accuracy_is(good: Report) -> None:
    a, b = hashes(good)
    policy = Policy(bench=True, budgets={"accuracy-drop": 1.0})
    conditions = {"between": "models", "better": 1}
    for drop, ends, code in (
        (0.05, (-0.06, -0.04), 1),
        (0.05, (-0.2, 0.1), 3),
        (0, (-0.005, 0), 0),
    ):
        f1 = Measurement("F1 change", "points", -drop, ends, (), conditions)
        made = gate(policy, [good, benched(a, b, f1)])
        assert made.exit_code == code
        assert "F1" in made.summary or not code


def test_a_report_without_samples_gives_no_figures() -> None:
    assert derived_of(benched("a", "b"), Policy()) == ()
