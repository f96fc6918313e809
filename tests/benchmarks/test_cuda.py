"""The GPU's script: without a GPU nothing is called CUDA, and its rehearsal runs the same code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import cuda


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    def make(path: Path, device: str) -> Path:
        return Path(shutil.copy(digits / "squeezenet.pth", path))

    monkeypatch.setattr(cuda, "MODELS", {"squeezenet": make})
    monkeypatch.setattr(cuda, "GROUPS", (cuda.GROUPS[0], cuda.GROUPS[2]))


def test_without_a_gpu_it_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda.main(["--out", str(tmp_path)]) == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small")
def test_the_rehearsal_measures_every_group_and_says_its_floors(tmp_path: Path) -> None:
    given = ["--device", "cpu", "--batch", "1", "2", "--seconds", "0", "--no-compile"]
    assert cuda.main([*given, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "cuda-rehearsal-cpu.json").read_text())
    assert found["card"]["matrix"]["operations_per_second"]["float32"] > 1e9
    (model,) = found["models"]
    assert model["outcome"] == "yes" and model["parity_device"] == "cpu"
    off, on = model["groups"]
    assert (off["tf32"], on["tf32"]) == (False, True)
    assert [s["rule"] for s in off["skipped"]] == ["A onnxruntime:cuda-graph"]
    rows = {(r["runtime"], r["batch"]): r for r in off["floors"]}
    assert set(rows) == {
        (r, b) for b in (1, 2)
        for r in ("pytorch", "pytorch torchscript", "onnxruntime", "onnxruntime io-binding")
    }  # fmt: skip
    assert rows["pytorch", 2]["flops"] == 2 * rows["pytorch", 1]["flops"] > 0
    assert all(r["times_the_floor"] > 0 and r["floor_ms"] > 0 for r in rows.values())
    assert {m["name"] for m in off["measurements"]} == {
        "latency", "latency ratio", "latency noise", "throughput",
    }  # fmt: skip


@pytest.mark.usefixtures("small")
def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    given = ["--device", "cpu", "--batch", "1", "--seconds", "0", "--bound", "0"]
    assert cuda.main([*given, "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "cuda-rehearsal-cpu.json").read_text())
    assert found["models"][0]["left_out"][0]["why"] == "no time within the bound"


@pytest.mark.usefixtures("small")
def test_a_rehearsal_is_short_and_leaves_float16_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interop.bench import latency

    for name in ("LEAST_ROUNDS", "MOST_ROUNDS", "WARM_UP_RUNS", "WINDOWS", "LEAST_RUNS"):
        monkeypatch.setattr(latency, name, getattr(latency, name))  # to be put back
    wide = cuda.Group("16 bits", ("pytorch:bfloat16", "pytorch:float16", "onnxruntime:float16"))
    assert cuda.without_float16(wide).specs == ("pytorch:bfloat16",)
    assert cuda.main(["--rehearse", "--no-compile", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "cuda-rehearsal-cpu.json").read_text())
    assert found["batches"] == [1] and found["complete"] is True
    (model,) = found["models"]
    assert {len(m["samples"]) for g in model["groups"] for m in g["measurements"]
            if m["name"] == "latency"} == {2}  # fmt: skip


@pytest.mark.usefixtures("small")
def test_a_run_that_is_killed_keeps_the_groups_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = cuda.Study._measured

    def killed(self: cuda.Study, name: str, group: cuda.Group) -> dict[str, Any]:
        if group is cuda.GROUPS[1]:
            raise KeyboardInterrupt
        return measured(self, name, group)

    monkeypatch.setattr(cuda.Study, "_measured", killed)
    given = ["--device", "cpu", "--batch", "1", "--seconds", "0", "--no-compile"]
    with pytest.raises(KeyboardInterrupt):
        cuda.main([*given, "--out", str(tmp_path)])
    found = json.loads((tmp_path / "cuda-rehearsal-cpu.json").read_text())
    assert len(found["models"][0]["groups"]) == 1 and found["complete"] is False


def test_the_bound_ends_the_process_whatever_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(cuda.os, "_exit", ended.append)
    cuda.stop_at(0.05).join(5)
    assert ended == [1]
    cuda.stop_at(60).cancel()
    assert ended == [1]


def test_operations_are_those_of_the_products() -> None:
    layer = torch.nn.Linear(6, 3)
    batch = {"input": torch.zeros(4, 6).numpy()}
    assert cuda.operations(layer, batch, "cpu") == 2 * 4 * 6 * 3
    cost = cuda.Cost(flops=10**9, weights=8, inputs=4, outputs=4)
    rates = {
        "matrix": {"operations_per_second": {"float32": 1e12, "float16": 4e12}},
        "device_to_device": 16e3,
    }
    whole = cost.floor(rates, "pytorch", False)
    assert whole == {"compute_ms": 1.0, "memory_ms": 1.0, "floor_ms": 1.0}
    half = cost.floor(rates, "onnxruntime:float16", False)
    assert half["compute_ms"] == 0.25 and half["floor_ms"] == half["memory_ms"] == 0.5
