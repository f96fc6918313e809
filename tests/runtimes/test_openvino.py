"""OpenVINO gives the same numbers as ONNX Runtime, in float32, from the same two files."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from interop.errors import DeviceMissing, ExtraMissing, ModelError
from interop.models.signature import seeded
from interop.runtimes import OnnxRuntime, OpenVinoRuntime
from tests.proof.conftest import SHAPE, made, small

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return made(small(), tmp_path_factory.mktemp("openvino"))


def test_the_same_numbers_from_weights_at_an_offset_in_the_safetensors_file(exported):
    batch = seeded(SHAPE, 3)
    with OpenVinoRuntime(exported.model) as ours, OnnxRuntime(exported.model) as theirs:
        (found,), (right,) = ours.outputs(batch), theirs.outputs(batch)
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-4 * np.abs(right).max())
        (again,) = ours.outputs({"input": batch[:1]})
        np.testing.assert_allclose(again, right[:1], rtol=0, atol=1e-4 * np.abs(right).max())
        # The first answer is no view of what the second call wrote.
        assert found.shape == right.shape
        assert ours.input_shape == (None, *SHAPE)
        conditions = ours.conditions()
    assert conditions["precision"] == "f32"
    assert conditions["dtype"] == "float32"
    assert conditions["device"] == "cpu"
    assert conditions["threads"] >= 1


def test_several_inputs_go_by_name(tmp_path):
    kinds = {"ids": TensorProto.INT64, "x": TensorProto.FLOAT, "y": TensorProto.FLOAT}
    ports = [helper.make_tensor_value_info(n, kinds[n], ["batch", 2]) for n in kinds]
    nodes = [helper.make_node("Cast", ["ids"], ["c"], to=TensorProto.FLOAT),
             helper.make_node("Sub", ["x", "c"], ["y"])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "two.onnx")
    with OpenVinoRuntime(tmp_path / "two.onnx", threads=1) as runtime:
        batch = {"x": np.ones((1, 2), np.float32), "ids": np.array([[3, 4]])}
        np.testing.assert_array_equal(runtime.run(batch), [[-2, -3]])
        assert set(runtime.input_shapes) == {"ids", "x"}
        assert runtime.conditions()["threads"] == 1


def test_what_it_cannot_do_is_said(tmp_path, exported, monkeypatch):
    with pytest.raises(DeviceMissing, match="CPU alone"):
        OpenVinoRuntime(exported.model, "cuda")
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="OpenVINO refuses"):
        OpenVinoRuntime(tmp_path / "no.onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExtraMissing, match="not installed"):
        OpenVinoRuntime(exported.model)
