"""ONNX models written by onnx and torch: interface, operators, and where the weights lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.benign import OUT, counted
from interop.errors import ReadError
from interop.reading import read
from interop.reading.values.comparison import array, values
from tests.reading.conftest import stored_bytes, tensors

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def _model(**options: object) -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["y"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("If", ["flag"], ["out"], then_branch=branch, else_branch=branch),
        helper.make_node("Odd", ["out"], ["odd"], domain="my.domain"),
    ]
    weights = [
        numpy_helper.from_array(WEIGHT, "w"),
        helper.make_tensor("listed", TensorProto.INT64, [3], [1, -2, 3]),
        helper.make_tensor("floats", TensorProto.FLOAT, [2], [0.5, -1.5]),
        helper.make_tensor("halves", TensorProto.FLOAT16, [2], [1.0, 2.0]),
        numpy_helper.from_array(np.array(True), "flag"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]),
        ],
        [helper.make_tensor_value_info("odd", TensorProto.FLOAT16, [None, 4])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 2)]
    model = helper.make_model(graph, producer_name="me", producer_version="1", opset_imports=opsets)
    helper.set_model_props(model, {"classes": "a,b"})
    return model


def test_the_interface_and_the_operators(tmp_path: Path) -> None:
    onnx.save(_model(), str(tmp_path / "m.onnx"))
    manifest = read(tmp_path / "m.onnx")
    graph = manifest.graph
    assert manifest.container == "onnx" and graph is not None
    assert [(p.name, p.dtype, p.shape) for p in graph.inputs] == [("x", "float32", ("batch", 3))]
    assert [(p.name, p.dtype, p.shape) for p in graph.outputs] == [("odd", "float16", ("?", 4))]
    assert graph.opsets == {"": 17, "my.domain": 2}
    assert graph.producer == "me 1"
    assert graph.operators == {"MatMul": 1, "If": 1, "Relu": 2, "my.domain::Odd": 1}
    assert manifest.metadata == {"classes": "a,b"}


def test_the_weights_lie_where_they_are_said_to(tmp_path: Path) -> None:
    model = _model()
    onnx.save(model, str(tmp_path / "m.onnx"))
    found = tensors(read(tmp_path / "m.onnx"))
    assert stored_bytes(found["w"]) == WEIGHT.tobytes()
    for tensor in model.graph.initializer:
        expected = numpy_helper.to_array(tensor)
        assert found[tensor.name].shape == expected.shape
        assert found[tensor.name].dtype == str(expected.dtype)
        assert np.array_equal(array(found[tensor.name]), expected), tensor.name
    assert len(list(values(list(found.values())))) == 5


def _external(path: Path) -> None:
    onnx.save_model(
        _model(), str(path), save_as_external_data=True, location="w.bin", size_threshold=0
    )


def test_external_data_is_found_and_hashed(tmp_path: Path) -> None:
    _external(tmp_path / "m.onnx")
    spec = tensors(read(tmp_path / "m.onnx"))["w"]
    assert spec.storage is not None and spec.storage.file == str(tmp_path / "w.bin")
    assert stored_bytes(spec) == WEIGHT.tobytes()
    before = read(tmp_path / "m.onnx", content_hash=True).content_sha256
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[spec.storage.offset] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert read(tmp_path / "m.onnx", content_hash=True).content_sha256 != before


def test_the_size_counts_the_files_that_hold_the_weights(tmp_path: Path) -> None:
    _external(tmp_path / "m.onnx")
    (tmp_path / "beside.bin").write_bytes(b"of something else")
    sizes = [(tmp_path / name).stat().st_size for name in ("m.onnx", "w.bin")]
    assert read(tmp_path / "m.onnx").size == sum(sizes)
    onnx.save(_model(), tmp_path / "whole.onnx")
    assert read(tmp_path / "whole.onnx").size == (tmp_path / "whole.onnx").stat().st_size


def test_external_data_that_is_missing_or_short_is_truncated(tmp_path: Path) -> None:
    _external(tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(b"short")
    for _ in range(2):
        with pytest.raises(ReadError) as error:
            read(tmp_path / "m.onnx")
        assert error.value.rule == "file-truncated"
        (tmp_path / "w.bin").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/hostname", "link.bin", "a/../../s", ""]
)
def test_external_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for outside in ("secret.bin", "s"):
        (tmp_path / outside).write_bytes(b"x" * 100)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = _model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ReadError) as error:
        read(folder / "m.onnx")
    assert error.value.rule == "external-data-escapes-folder"


def test_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = _model().SerializeToString()
    rules = set()
    for length in range(1, len(whole)):
        (tmp_path / "m.onnx").write_bytes(whole[:length])
        try:
            read(tmp_path / "m.onnx")
        except ReadError as error:
            rules.add(error.rule)
        else:
            # Cut between two fields, behind the graph: what is left is a model.
            assert length > len(whole) - 40
    assert rules <= {"file-truncated", "file-unrecognised"} and "file-truncated" in rules


def test_embedded_weights_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.ones((1 << 20,), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(big, "w")],
    )
    model = helper.make_model(graph)
    onnx.save(model, str(tmp_path / "a.onnx"))
    model.graph.initializer[0].raw_data = (big * 2).tobytes()
    onnx.save(model, str(tmp_path / "b.onnx"))
    a, b = read(tmp_path / "a.onnx"), read(tmp_path / "b.onnx")
    assert a.header_sha256 == b.header_sha256


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x07\x12\x02me",
        b"\x08\x07" + bytes(range(256)),
        b"\x3a\x00",
        b"\x08\x07:\x04\x12\x02gg",
        b"\x12\x07pytorch\x1a\x03one",
        b"(((((((((",
        b"\x42\x02\x10\x11",
    ],
)
def test_other_protobuf_is_not_onnx(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ReadError) as error:
        read(tmp_path / "m.onnx")
    assert error.value.rule == "file-unrecognised"


def test_weights_of_branches_functions_and_constants_are_listed() -> None:
    found = tensors(read(OUT / "subgraph.onnx"))
    shifts = {"choice/then_branch/w": 0, "choice/else_branch/w": 10, "k": 30, "Shifted/s": 40}
    for name, shift in shifts.items():
        assert np.array_equal(array(found.pop(name)), counted(9, shift).reshape(3, 3)), name
    sparse = found.pop("sparse")
    assert not found and sparse.layout == "sparse_coo" and sparse.shape == (3, 3)
    parts = {part.name: array(part) for part in sparse.parts}
    assert np.array_equal(parts["values"], counted(2, 50))
    assert parts["indices"].tolist() == [1, 5]


def test_constants_in_protobufs_lists_are_found_by_the_way_to_them(tmp_path: Path) -> None:
    def body(shift: int) -> onnx.GraphProto:
        values = list(range(shift, shift + 20))
        weight = helper.make_tensor("w", TensorProto.INT64, [20], values)
        node = helper.make_node("Add", ["x", "w"], ["y"])
        output = helper.make_tensor_value_info("y", TensorProto.INT64, [20])
        return helper.make_graph([node], "b", [], [output], [weight])

    few = helper.make_tensor("", TensorProto.INT64, [2], [1, 2])
    many = helper.make_tensor("", TensorProto.INT64, [17], list(range(17)))
    nodes = [
        helper.make_node("Constant", [], ["few"], value=few),
        helper.make_node("Constant", [], ["many"], value=many),
        helper.make_node("If", ["flag"], ["z"], then_branch=body(0), else_branch=body(40)),
    ]
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    output = helper.make_tensor_value_info("z", TensorProto.INT64, [20])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [flag], [output])), tmp_path / "m")
    found = tensors(read(tmp_path / "m"))
    assert set(found) == {"many", "z/then_branch/w", "z/else_branch/w"}
    assert array(found["many"]).tolist() == list(range(17))
    assert array(found["z/else_branch/w"]).tolist() == list(range(40, 60))
    assert array(found["z/then_branch/w"]).tolist() == list(range(20))


def test_quantized_weights_say_what_makes_numbers_of_them() -> None:
    apart = tensors(read(OUT / "qdq.onnx"))
    weight = apart["onnx::Conv_16_quantized"]
    scales, zeros = weight.parts
    assert weight.quantizer == "per_channel_affine axis 0" and weight.dtype == "int8"
    assert (scales.name, zeros.name) == ("scales", "zero_points")
    plain = array(tensors(read(OUT / "model.onnx"))["onnx::Conv_16"])
    axes = (2, 1, 1, 1)
    steps = array(scales).reshape(axes)
    again = (array(weight).astype("f4") - array(zeros).reshape(axes)) * steps
    assert (abs(again - plain) <= steps / 2 + 1e-6).all()
    assert apart["x_scale"].quantizer == ""


def test_one_scale_and_zero_point_are_told_in_words() -> None:
    whole = tensors(read(OUT / "qlinear.onnx"))
    for name in ("onnx::Conv_16", "fc.weight"):
        scale, zero = array(whole[f"{name}_scale"]), array(whole[f"{name}_zero_point"])
        words = whole[f"{name}_quantized"].quantizer.split()
        assert np.float32(words[2]) == scale.item() and int(words[5]) == zero.item()
        assert not whole[f"{name}_quantized"].parts


def test_a_zero_point_that_ends_in_the_middle_of_a_number(tmp_path: Path) -> None:
    listed = b"\x08\x01\x10\x06\x2a\x02\x01\x80B\x01z"  # int32_data: 1, and half of another
    cut = listed.replace(b"\x2a\x02\x01\x80", b"\x2a\x01\x80")
    for zero, fault in ((listed, "damaged"), (cut, "damaged")):
        weight = b"\x08\x02\x10\x03B\x01wJ\x02\0\0"
        scale = b"\x08\x01\x10\x01B\x01sJ\x04\0\0\x80?"
        node = b"\x0a\x01w\x0a\x01s\x0a\x01z\x12\x01y\x22\x10DequantizeLinear"
        graph = b"".join(
            bytes([tag, len(one)]) + one
            for tag, one in ((10, node), (42, weight), (42, scale), (42, zero))
        )
        path = tmp_path / "cut.onnx"
        path.write_bytes(b"\x08\x08\x42\x02\x10\x11:" + bytes([len(graph)]) + graph)
        with pytest.raises(ReadError, match=fault):
            read(path)
