"""Proofs hold no more than they need: sessions give back, the canary reads two weights alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from interop.proof import canary, graph
from interop.proof.canary import perturbed
from interop.proof.parity import Reference
from interop.runtimes import OnnxRuntime

SIZE = 64


def layers(folder: Path, size: int = SIZE, count: int = 4) -> Path:
    """A chain of matrices that lie beside the graph."""
    random = np.random.default_rng(0)
    weights = [
        random.standard_normal((size, size), dtype=np.float32) / size**0.5 for _ in range(count)
    ]
    tensors, at = [], 0
    with (folder / "weights").open("wb") as file:
        for i, weight in enumerate(weights):
            file.write(weight.tobytes())
            tensor = numpy_helper.from_array(weight, f"w{i}")
            set_external_data(tensor, "weights", at, weight.nbytes)
            tensor.ClearField("raw_data")
            tensors.append(tensor)
            at += weight.nbytes
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(count)]
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", size])
        for n in ("x0", f"x{count}")
    ]
    made = helper.make_graph(nodes, "chain", ports[:1], ports[1:], tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def asked(path: Path) -> Reference:
    batch = {"x0": np.ones((1, SIZE), np.float32)}
    with OnnxRuntime(path) as runtime:
        answer = runtime.outputs(batch)
    return Reference((batch,), (answer,), (answer,), ((1e-5,),), (1e-7,), "native", labels=("1",))


def test_the_canary_reads_the_two_weights_that_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = layers(tmp_path)
    held, read, values = asked(path), [], graph.values
    monkeypatch.setattr(graph, "values", lambda t, f: read.append(t.name) or values(t, f))
    proof = canary(path, held)
    assert proof.holds, proof.what
    assert {proof.facts[p]["tensor"] for p in ("input", "head")} == {"w0", "w3"}
    assert set(read) == {"w0", "w3"}


def test_a_weight_beside_the_graph_is_changed_as_one_inside_it(tmp_path: Path) -> None:
    path = layers(tmp_path)
    held = graph.read(path)
    weight = perturbed(graph.values(held.graph.initializer[1], tmp_path), 0.01)
    graph.embed(held, "w1", weight)
    batch = np.ones((1, SIZE), np.float32)
    with (
        OnnxRuntime(path, instead={"w1": weight}) as given,
        OnnxRuntime(held.SerializeToString(), folder=tmp_path) as inside,
        OnnxRuntime(path) as before,
    ):
        assert np.array_equal(given.run(batch), inside.run(batch))
        assert not np.array_equal(given.run(batch), before.run(batch))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shape", [(), (5,), (300, 7, 3)])
def test_a_perturbation_has_the_share_that_was_asked_for(dtype: type, shape: tuple) -> None:
    weight = np.asarray(np.random.default_rng(3).standard_normal(shape) + 1).astype(dtype)
    changed = perturbed(weight, 0.25)
    assert (changed.dtype, changed.shape) == (weight.dtype, weight.shape)
    distance = np.linalg.norm((changed.astype(float) - weight).reshape(-1))
    assert distance == pytest.approx(0.25 * np.linalg.norm(weight.astype(float)), rel=0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_closed_session_gives_its_memory_back(tmp_path: Path) -> None:
    path = layers(tmp_path, 2048)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    with OnnxRuntime(path) as runtime:
        runtime.run(np.ones((1, 2048), np.float32))
        assert runtime.input_shapes == {"x0": ("batch", 2048)}
        during = resident()
    assert during - resident() > 40e6  # of 67 MB
