"""The proof "structure", and each way in which it fails."""

import numpy as np
import pytest
from onnx import numpy_helper

from interop.proof import graph as graphs
from interop.proof import structure
from tests.proof.conftest import fed, made, small


def prove(exported, **options):
    proof, runtime, _ = structure(exported.model, fed(), **options)
    if runtime is not None:
        runtime.close()
    return proof


def test_it_holds(exported):
    proof = prove(exported, width=5)
    assert proof.holds
    assert proof.facts["outputs"] == [[1, 5]]
    assert proof.facts["opset"]["ai.onnx"] >= 18


def test_an_output_of_another_width_than_the_head_fails(exported):
    proof = prove(exported, width=91)
    assert not proof.holds
    assert "output width 5, the head has 91 rows" in proof.what


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_fail(tmp_path, value):
    module = small()
    module.again.weight[1, 1, 1, 1] = value
    proof = prove(made(module, tmp_path), width=5)
    assert not proof.holds
    assert "weights that are not finite: again.weight" in proof.what


def test_a_graph_that_the_checker_refuses_fails(exported):
    model = graphs.read(exported.model)
    model.graph.node[0].input[0] = "from nowhere"
    exported.model.write_bytes(model.SerializeToString())
    proof = prove(exported)
    assert not proof.holds
    assert "onnx.checker refuses it" in proof.what


def test_an_operator_that_onnx_runtime_lacks_fails(exported):
    model = graphs.read(exported.model)
    model.graph.node[-1].domain = "somebody.else"
    model.opset_import.add(domain="somebody.else", version=1)
    exported.model.write_bytes(model.SerializeToString())
    proof, runtime, _ = structure(exported.model, fed())
    assert not proof.holds
    assert runtime is None
    assert "ONNX Runtime refuses the graph" in proof.what


def test_weights_that_are_gone_fail(exported):
    exported.weights.unlink()
    proof = prove(exported)
    assert not proof.holds
    assert "its weights cannot be read" in proof.what


def test_a_graph_that_does_not_run_fails(exported):
    model = graphs.read(exported.model)
    for tensor in model.graph.initializer:
        if tensor.name == "head.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((3, 1, 7), np.float32), tensor.name))
    exported.model.write_bytes(model.SerializeToString())
    proof = prove(exported)
    assert not proof.holds
    assert "ONNX Runtime" in proof.what
