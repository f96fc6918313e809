"""A lower precision is a second graph with the same interface, measured; nothing is promised."""

import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.make import DIGITS, HOW, LABELS
from interop.data import Folder
from interop.errors import ConfigError, DataError, InteropError, ModelError
from interop.export import embed
from interop.export.precision import FILES, compare, lower
from interop.proof.activation_ranges import on_the_way
from interop.runtimes import OnnxRuntime
from tests.helpers.processor import exact_int8

SKIPPED = [
    pytest.param(name, marks=exact_int8 if name.startswith("int8") else ()) for name in FILES
]


@pytest.fixture(scope="module")
def held_back():
    batches = list(Folder(DIGITS / "heldout", LABELS).batches(HOW, 32))
    return [b.pictures for b in batches], np.concatenate([b.labels for b in batches])


@pytest.fixture(scope="module")
def calibration():
    return [{"input": p[None]} for p in Folder(DIGITS / "heldout", LABELS).spread(HOW, 40)]


@pytest.fixture(scope="module")
def lowered(bundle, calibration, tmp_path_factory):
    """Each precision's graph, beside a bundle's folder, and what was said of it."""
    folder = tmp_path_factory.mktemp("lowered")
    model = bundle.folder / "model.onnx"
    return {p: (folder / f, lower(model, folder / f, p, calibration)) for p, f in FILES.items()}


def by_name(measured):
    return {m.name: m for m in measured}


def differ(native, other, held_back, labels=None):
    with OnnxRuntime(native) as a, OnnxRuntime(other) as b:
        return compare(a, b, held_back, labels)


# ---------------------------------------------------------------- the graphs


@pytest.mark.parametrize("precision", FILES)
def test_the_interface_stays_and_the_file_stands_alone(bundle, lowered, precision):
    out, facts = lowered[precision]
    model = bundle.folder / "model.onnx"
    made, given = onnx.load(out, load_external_data=False), embed.whole(model)
    onnx.checker.check_model(made, full_check=True)
    for side in ("input", "output"):
        ours, theirs = getattr(made.graph, side), getattr(given.graph, side)
        assert [v.name for v in ours] == [v.name for v in theirs]
        kinds = [v.type.tensor_type.elem_type for v in ours]
        assert kinds == [TensorProto.FLOAT]
        assert ours[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {p.key: p.value for p in made.metadata_props} == {
        p.key: p.value for p in given.metadata_props
    }
    assert not any(t.data_location for t in made.graph.initializer)
    assert {o.domain for o in made.opset_import} == {""}
    assert b"/tmp" not in out.read_bytes() and str(bundle.folder).encode() not in out.read_bytes()
    assert facts["precision"] == precision and facts["file"] == out.name == FILES[precision]
    assert facts["bytes_after"] == out.stat().st_size
    assert facts["bytes_after"] < 0.95 * facts["bytes_before"] == 0.95 * embed.nbytes(model)
    assert facts["tool"] and facts["version"]


@pytest.mark.parametrize("precision", FILES)
def test_the_same_bytes_again(bundle, lowered, calibration, precision, tmp_path):
    again = tmp_path / FILES[precision]
    facts = lower(bundle.folder / "model.onnx", again, precision, calibration)
    assert again.read_bytes() == lowered[precision][0].read_bytes()
    assert facts == lowered[precision][1]


def test_what_was_converted_is_said(lowered):
    half, dynamic, static = (lowered[p][1] for p in FILES)
    assert half["operators"]["Conv"] == 56 and half["operators"]["Gemm"] == 1
    assert half["clipped"] == [] and "Cast" not in half["operators"]
    # shufflenet has one product; its convolutions stay as they are.
    assert dynamic["operators"] == {"MatMulInteger": 1}
    assert dynamic["of"] == {"Conv": 56, "Gemm": 1} and "note" not in dynamic
    assert static["operators"]["Conv"] == 56 and static["operators"]["Gemm"] == 1
    assert static["calibration"] == {"batches": 40, "samples": 40, "method": "MinMax"}
    assert "calibration" not in dynamic


def test_a_scale_a_channel(lowered):
    graph = onnx.load(lowered["int8-static"][0]).graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    weights = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in held]
    kernels = [n for n in weights if held[n.input[0]].ndim == 4]
    assert len(kernels) == 56
    assert all(held[n.input[1]].shape == held[n.input[0]].shape[:1] for n in kernels)


def convolutions(folder):
    """A graph of one convolution, and no product."""
    random = np.random.default_rng(0)
    kernel = random.standard_normal((10, 3, 4, 4), dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "axes"], ["output"], keepdims=0),
    ]
    return written(folder, nodes, {"w": kernel, "axes": np.array([2, 3])}, ["n", 3, 16, 16])


def written(folder, nodes, held, shape, width=10):
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in held.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "model.onnx")
    return folder / "model.onnx"


def test_convolutions_where_there_is_nothing_else_and_that_is_said(tmp_path):
    facts = lower(convolutions(tmp_path), tmp_path / "out.onnx", "int8")
    assert facts["operators"] == {"ConvInteger": 1}
    assert "slow on a CPU" in facts["note"]


def test_over_1_8_gb_the_weights_lie_beside_it(
    bundle, calibration, lowered, held_back, tmp_path, monkeypatch
):
    monkeypatch.setattr(embed, "ROOM", 100_000)
    for precision, name in FILES.items():
        lower(bundle.folder / "model.onnx", tmp_path / name, precision, calibration[:3])
        assert (tmp_path / f"{name}_data").exists()
        with OnnxRuntime(tmp_path / name) as runtime:
            assert runtime.outputs(held_back[0][0])[0].shape == (32, 10)
    assert {p.name for p in tmp_path.iterdir()} == {
        n + s for n in FILES.values() for s in ("", "_data")
    }


# ---------------------------------------------------------------- what cannot be done


def test_int8_static_needs_samples(bundle, tmp_path):
    for none in (None, []):
        with pytest.raises(DataError, match="--data"):
            lower(bundle.folder / "model.onnx", tmp_path / "x.onnx", "int8-static", none)
    with pytest.raises(ConfigError, match="float16, int8, int8-static"):
        lower(bundle.folder / "model.onnx", tmp_path / "x.onnx", "int4")
    assert not list(tmp_path.iterdir())


def test_samples_that_do_not_fit_are_told(bundle, tmp_path):
    wrong = [{"elsewhere": np.zeros((1, 3, 64, 64), np.float32)}]
    with pytest.raises(ModelError, match="int8-static cannot be made"):
        lower(bundle.folder / "model.onnx", tmp_path / "x.onnx", "int8-static", wrong)


def test_nothing_to_quantise_is_told(tmp_path):
    nodes = [helper.make_node("Relu", ["input"], ["output"])]
    model = written(tmp_path, nodes, {}, ["n", 10])
    with pytest.raises(InteropError, match="changes nothing"):
        lower(model, tmp_path / "out.onnx", "int8")


def product(folder, by, back=1.0):
    """Scores times `by` and, by another node, times `back`."""
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["wide"], name="first"),
        helper.make_node("Mul", ["wide", "by"], ["large"], name="second"),
        helper.make_node("Mul", ["large", "back"], ["output"], name="third"),
    ]
    held = {"w": np.eye(10), "by": np.full((1, 10), by), "back": np.full((1, 10), back)}
    held = {n: v.astype(np.float32) for n, v in held.items()}
    return written(folder, nodes, held, ["n", 10])


def test_a_weight_beyond_float16_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"by holds 1e[+]05, and float16 ends at 65504"):
        lower(product(tmp_path, 1e5), tmp_path / "out.onnx", "float16")


def test_a_mask_beyond_float16_is_clipped_and_told(tmp_path):
    lowest = float(np.finfo(np.float32).min)
    nodes = [helper.make_node("Add", ["input", "mask"], ["output"])]
    model = written(tmp_path, nodes, {"mask": np.array([lowest] * 10, np.float32)}, ["n", 10])
    assert lower(model, tmp_path / "out.onnx", "float16")["clipped"] == ["mask"]


def masked(folder, never):
    """Scores of ten places, of which the last three never count, as attention masks them."""
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["scores"], name="scores"),
        helper.make_node("Add", ["scores", "mask"], ["masked"], name="masked"),
        helper.make_node("Softmax", ["masked"], ["share"], name="share"),
        helper.make_node("MatMul", ["share", "v"], ["output"], name="answer"),
    ]
    random = np.random.default_rng(0)
    held = {n: random.standard_normal((10, 10), dtype=np.float32) for n in ("w", "v")}
    held["mask"] = np.array([0] * 7 + [never] * 3, np.float32)
    return written(folder, nodes, held, ["n", 10])


@pytest.mark.parametrize("never", [-np.inf, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("precision", SKIPPED)
def test_a_mask_is_neither_an_overflow_nor_a_scale(tmp_path, never, precision):
    model, out = masked(tmp_path, never), tmp_path / FILES[precision]
    batch = {"input": np.random.default_rng(1).standard_normal((64, 10), dtype=np.float32)}
    facts = lower(model, out, precision, [batch])
    assert facts.get("left_for_masks", 2) == 2  # what adds the mask, and what takes the sum
    with OnnxRuntime(model) as a, OnnxRuntime(out) as b:
        found = by_name(compare(a, b, [batch["input"]]))
    assert found["largest output difference"].value < 0.05
    if precision == "float16":
        assert found["float16 range used"].value < 0.01


def test_an_overflow_on_the_way_is_told_with_its_node(tmp_path):
    model, out = product(tmp_path, 6e4, 1e-4), tmp_path / "out.onnx"
    lower(model, out, "float16")
    batch = np.full((2, 10), 3, np.float32)
    assert on_the_way(out, [batch / 3, batch]) == (float("inf"), "second (Mul)")
    # ONNX Runtime on a CPU gives finite outputs all the same: it computes in float32.
    with pytest.raises(ModelError, match=r"out\.onnx: .*not finite in float16.*second"):
        differ(model, out, [batch / 3, batch])
    used = by_name(differ(model, out, [batch / 3]))["float16 range used"]
    assert used.value == pytest.approx(6e4 / 65504, rel=1e-3)
    assert used.conditions["node"] == "second (Mul)"


def test_an_output_that_is_not_finite_is_told_with_its_node(tmp_path):
    (tmp_path / "other").mkdir()
    model, other = product(tmp_path, 1.0), product(tmp_path / "other", float("inf"))
    with pytest.raises(ModelError, match=r"outputs that are not finite; .*second \(Mul\)"):
        differ(model, other, [np.ones((2, 10), np.float32)])


# ---------------------------------------------------------------- what it did to the answers


@pytest.mark.parametrize("precision", SKIPPED)
def test_all_held_back_digits(bundle, lowered, held_back, precision):
    batches, labels = held_back
    found = by_name(differ(bundle.folder / "model.onnx", lowered[precision][0], batches, labels))
    assert found["flips"].value <= 2
    assert found["flipped share"].interval[1] < 0.03
    assert found["agreement"].value == pytest.approx(1 - found["flipped share"].value)
    most = {"float16": 0.01, "int8": 0.01, "int8-static": 0.1}[precision]
    assert 0 < found["mean output difference"].value < found["largest output difference"].value
    assert found["largest output difference"].value < most
    assert found["margin"].conditions["quantiles"]["0 %"] > 0
    assert found["accuracy change"].interval[0] < 0 < found["accuracy change"].interval[1]
    assert found["McNemar's exact test"].value > 0.4
    assert ("float16 range used" in found) == (precision == "float16")
    assert found["flips"].conditions["samples"] == 320
    assert found["flips"].conditions["of"] == FILES[precision]
    assert found["flips"].conditions["against"] == "model.onnx"


def test_without_labels_no_accuracy(bundle, lowered, held_back):
    found = by_name(differ(bundle.folder / "model.onnx", lowered["int8"][0], held_back[0][:2]))
    assert "flips" in found and "top-1" not in found and "accuracy change" not in found


def test_another_model_is_told_by_every_figure(bundle, held_back, tmp_path):
    """The head's rows moved by one: every answer is another class."""
    graph = embed.whole(bundle.folder / "model.onnx")
    for tensor in graph.graph.initializer:
        if tensor.name in ("fc.weight", "fc.bias"):
            moved = np.roll(numpy_helper.to_array(tensor), 1, axis=0)
            tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    embed.save(graph, tmp_path / "model_int8.onnx")
    batches, labels = held_back
    found = by_name(
        differ(bundle.folder / "model.onnx", tmp_path / "model_int8.onnx", batches, labels)
    )
    assert found["flips"].value == 320 and found["agreement"].value == 0
    assert found["largest output difference"].value > 1
    assert found["smallest margin kept"].value is None
    assert found["margin of flipped"].value == found["margin"].value
    assert found["largest margin that flipped"].value > 5
    assert found["accuracy change"].value < -0.9
    assert found["McNemar's exact test"].value < 1e-9


def test_flips_are_where_the_margin_is_small(tmp_path):
    """One sample of four lies close to another class, and one weight is rounded past it."""
    model = product(tmp_path, 1.0)
    (tmp_path / "other").mkdir()
    other = product(tmp_path / "other", 1.0)
    graph = onnx.load(other)
    bent = numpy_helper.to_array(graph.graph.initializer[0]).copy()
    bent[0, 0] = 0.9
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(bent, "w"))
    onnx.save(graph, other)
    batch = np.zeros((4, 10), np.float32)
    batch[:, 1] = [0.95, 0.5, 2, 0]
    batch[:, 0] = 1
    found = by_name(differ(model, other, [batch[:1], batch[1:]], np.array([0, 0, 1, 0])))
    assert found["flips"].value == 1
    assert found["largest margin that flipped"].value == pytest.approx(0.05)
    assert found["smallest margin kept"].value == pytest.approx(0.5)
    assert found["accuracy change"].value == pytest.approx(-0.25)
    assert found["largest output difference"].value == pytest.approx(0.05)


def test_no_class_scores_get_differences_alone(tmp_path):
    nodes = [helper.make_node("MatMul", ["input", "w"], ["output"])]
    held = {"w": np.linspace(0, 1, 10, dtype=np.float32)[:, None]}
    model = written(tmp_path, nodes, held, ["n", 10], width=1)
    out = tmp_path / "model_fp16.onnx"
    lower(model, out, "float16")
    batch = np.random.default_rng(0).standard_normal((5, 10), dtype=np.float32)
    found = by_name(differ(model, out, [batch], np.zeros(5, int)))
    assert set(found) == {
        "largest output difference",
        "mean output difference",
        "float16 range used",
    }


def test_no_sample_is_no_comparison(bundle, lowered):
    with pytest.raises(DataError, match="no sample"):
        differ(bundle.folder / "model.onnx", lowered["int8"][0], [])


def test_it_needs_the_weights_beside_the_graph(bundle, tmp_path):
    shutil.copy(bundle.folder / "model.onnx", tmp_path)
    for precision in FILES:
        with pytest.raises(InteropError):
            lower(
                tmp_path / "model.onnx",
                tmp_path / "x.onnx",
                precision,
                [{"input": np.zeros((1, 3, 64, 64), np.float32)}],
            )
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
