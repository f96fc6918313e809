"""The graph with its preprocessing inside does what Pillow does, and the proof would notice."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_sample_images

from fixtures.make import DIGITS, HOW, LABELS
from interop.data import pictures, prepare
from interop.errors import ConfigError, InteropError, ModelError
from interop.export import fused_preprocessing as prepared_graphs
from interop.export.fused_preprocessing import FILE, prepare_graph
from interop.facts import Preprocessing
from interop.proof.fused_preprocessing import NAME, TENSOR, prepared

IMAGENET = Preprocessing(
    resize=(72,), crop=(64, 64), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
GRAY = replace(IMAGENET, color="L", mean=(0.45,), std=(0.22,))
# Larger, smaller and narrower than the goal, odd and even, and a picture of five pixels.
SIZES = [
    (224, 224), (300, 61), (61, 300), (65, 64), (63, 64), (30, 40), (257, 259), (64, 64),
    (500, 100), (72, 71), (1, 5),
]  # fmt: skip


@pytest.fixture(scope="module")
def photos():
    """Two photographs as they are, cut to many sizes, and in other modes."""
    whole = [Image.fromarray(x) for x in load_sample_images().images]
    cut = [whole[0].crop((100, 50, 100 + w, 50 + h)) for w, h in SIZES]
    return [*whole, *cut, *(whole[1].convert(mode) for mode in ("L", "RGBA", "P"))]


@pytest.fixture(scope="module")
def digits():
    return [Image.open(p) for p in sorted((DIGITS / "heldout").rglob("*.png"))[::8]]


def averages(folder, channels=3, opset=20, size=("h", "w"), batch="batch"):
    """A model of pictures of any size: the mean of each channel, and ten sums of those. Its weights
    lie in model.safetensors, as a bundle's do."""
    weights = np.random.default_rng(0).standard_normal((10, channels), dtype=np.float32)
    held = numpy_helper.from_array(weights, "w")
    (folder / "model.safetensors").write_bytes(held.raw_data)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["output"], transB=1),
        ],
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, channels, *size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 10])],
        [held],
    )
    onnx.external_data_helper.set_external_data(held, "model.safetensors", 0, len(held.raw_data))
    held.ClearField("raw_data")
    del graph.initializer[:]
    graph.initializer.append(held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def run(path, picture):
    (given,) = (i.name for i in onnxruntime.InferenceSession(path).get_inputs())
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {given: np.asarray(picture.convert("RGB"))})


# ---------------------------------------------------------------- the bundle's own


@pytest.fixture
def digit_graph(bundle):
    """The prepared graph of the bundle, which lies beside it while a test runs."""
    out = bundle.folder / FILE
    facts = prepare_graph(bundle.folder / "model.onnx", out, HOW, labels=LABELS, softmax=True)
    yield out, facts
    out.unlink()


def test_every_digit_is_answered_alike(bundle, digit_graph, digits):
    out, _ = digit_graph
    proof = prepared(bundle.folder / "model.onnx", out, digits, HOW)
    assert proof.holds and proof.name == NAME
    assert proof.facts["pictures"] == len(digits) == 40
    assert proof.facts["levels"] <= 1 and proof.facts["flips"] == 0
    assert proof.facts["beside_levels"] < 1e-3 and proof.seconds > 0


def test_it_shares_the_weights(bundle, digit_graph):
    out, facts = digit_graph
    graph, model = (
        onnx.load(p, load_external_data=False) for p in (out, bundle.folder / "model.onnx")
    )
    onnx.checker.check_model(str(out), full_check=True)
    outside = {t.name: list(t.external_data) for t in model.graph.initializer if t.external_data}
    assert outside and outside == {
        t.name: list(t.external_data) for t in graph.graph.initializer if t.external_data
    }
    assert out.stat().st_size == facts["bytes"] < 150_000
    assert str(bundle.folder).encode() not in out.read_bytes()
    properties = {p.key: p.value for p in graph.metadata_props}
    # Who finds "preprocess" would prepare the picture a second time.
    assert "preprocess" not in properties
    assert json.loads(properties["preprocess_in_graph"]) == facts["preprocess"]
    assert json.loads(properties["labels"]) == list(LABELS)


def test_the_interface_says_what_it_takes_and_gives(digit_graph, digits):
    out, facts = digit_graph
    session = onnxruntime.InferenceSession(out)
    (image,) = session.get_inputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert image.shape == facts["input"]["shape"] == ["height", "width", 3]
    assert [o.name for o in session.get_outputs()] == facts["outputs"]
    assert facts["outputs"] == ["output", "probabilities", "label"]
    assert [o.shape for o in session.get_outputs()] == [[1, 10], [1, 10], [1]]
    scores, probabilities, label = run(out, digits[0])
    assert probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert label.tolist() == [LABELS[scores.argmax()]] == [LABELS[probabilities.argmax()]]
    # The first digits of the sorted folders are eights.
    assert label.tolist() == ["eight"]


def test_the_same_bytes_again(bundle, digit_graph):
    out, facts = digit_graph
    before = out.read_bytes()
    again = prepare_graph(bundle.folder / "model.onnx", out, HOW, labels=LABELS, softmax=True)
    assert out.read_bytes() == before and again == facts


# ---------------------------------------------------------------- all that a description may say


@pytest.mark.parametrize("color", ["RGB", "L"])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"interpolation": "bicubic"},
        {"interpolation": "nearest"},
        {"resize": (64, 64), "crop": None},
        {"resize": (40, 90), "crop": (63, 61), "interpolation": "bicubic"},
        {"resize": (96,), "crop": (131, 100)},
        {"resize": (48,), "crop": None, "interpolation": "nearest"},
        {"mean": (0.5,), "std": (0.5,)},
        {"scale": 1 / 127.5},
    ],
)
def test_it_does_what_pillow_does(tmp_path, photos, color, change):
    how = replace(IMAGENET if color == "RGB" else GRAY, **change)
    model = averages(tmp_path, 3 if color == "RGB" else 1)
    prepare_graph(model, tmp_path / FILE, how)
    proof = prepared(model, tmp_path / FILE, photos, how)
    assert proof.holds, proof.what
    assert proof.facts["share_of_pixels"] < 0.01
    if how.interpolation == "nearest":
        assert proof.facts["levels"] == 0


def test_blue_may_come_first_and_what_no_graph_does_is_refused(tmp_path, photos):
    model = averages(tmp_path)
    how = replace(IMAGENET, color="BGR")
    prepare_graph(model, tmp_path / FILE, how)
    assert prepared(model, tmp_path / FILE, photos, how).holds
    assert not prepared(model, tmp_path / FILE, photos, IMAGENET).holds
    with pytest.raises(ModelError, match="without antialiasing"):
        prepare_graph(model, tmp_path / FILE, replace(IMAGENET, antialias=False))


def test_noise_at_any_size_keeps_to_the_bound(tmp_path):
    """The hardest pictures: every sum is another, and black and white give the most ties."""
    random = np.random.default_rng(5)
    model = averages(tmp_path)
    for mode in ("bilinear", "bicubic", "nearest") * 7:
        resize = tuple(int(v) for v in random.integers(8, 200, random.integers(1, 3)))
        how = replace(IMAGENET, resize=resize, crop=None, interpolation=mode)
        shapes = random.integers(6, 300, (6, 2))
        noise = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
        noise[::2] = [np.where(n > 127, 255, 0).astype(np.uint8) for n in noise[::2]]
        prepare_graph(model, tmp_path / FILE, how)
        proof = prepared(model, tmp_path / FILE, [Image.fromarray(n) for n in noise], how)
        assert proof.holds, (how, proof.what)
        assert proof.facts["levels"] <= (0 if mode == "nearest" else 2)


def test_pillow_before_13_always_went_horizontally_first(tmp_path, photos, monkeypatch):
    """The order shows where the height loses over twice what the width does, and only there."""
    monkeypatch.setattr(prepared_graphs.PIL, "__version__", "12.0.0")
    how = replace(IMAGENET, resize=(40, 90), crop=None, interpolation="bicubic")
    model = averages(tmp_path)
    facts = prepare_graph(model, tmp_path / FILE, how)
    assert facts["resize_order"] == "horizontal first"
    monkeypatch.undo()
    wide = [p for p in photos if p.height - 40 <= 2 * (p.width - 90)]
    assert prepared(model, tmp_path / FILE, wide, how).holds
    if prepared_graphs._chooses_order():
        tall = [photos[4]]
        assert tall[0].size == (61, 300)
        assert prepared(model, tmp_path / FILE, tall, how).facts["levels"] > 1


# ---------------------------------------------------------------- the proof notices


def bent(out, change):
    """The graph with something changed in it."""
    graph = onnx.load(out, load_external_data=False)
    change(graph.graph)
    out.write_bytes(graph.SerializeToString())


def another_mean(by):
    def change(graph):
        name = next(n for n in graph.node if n.op_type == "Sub" and "div" in n.input[0]).input[1]
        for tensor in graph.initializer:
            if tensor.name == name:
                moved = numpy_helper.to_array(tensor) + np.float32(by)
                tensor.CopyFrom(numpy_helper.from_array(moved, name))

    return change


def attributes(operator, **values):
    """Other values for attributes that an operator has; None leaves one out."""

    def change(graph):
        for node in graph.node:
            if node.op_type == operator and {a.name for a in node.attribute} >= set(values):
                kept = [a for a in node.attribute if a.name not in values]
                new = [helper.make_attribute(n, v) for n, v in values.items() if v is not None]
                del node.attribute[:]
                node.attribute.extend([*kept, *new])

    return change


def swapped(graph):
    """Red where blue was."""
    node = next(n for n in graph.node if n.op_type == "Unsqueeze")
    order = numpy_helper.from_array(np.array([2, 1, 0]), "order")
    graph.initializer.append(order)
    at = list(graph.node).index(node)
    gather = helper.make_node("Gather", [node.input[0], "order"], ["swapped"], axis=0)
    node.input[0] = "swapped"
    nodes = [*graph.node[:at], gather, *graph.node[at:]]
    del graph.node[:]
    graph.node.extend(nodes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_mean(0.1), "levels apart"),
        (another_mean(0.001), "another mean or std"),
        (another_mean(1 / 255), "% of the pixels differ"),
        (attributes("Resize", antialias=0, exclude_outside=None), "levels apart"),
        (attributes("Resize", antialias=0), "refuses the prepared graph"),
        (attributes("Resize", exclude_outside=0), "levels apart"),
        (attributes("Resize", mode="cubic"), "levels apart"),
        (attributes("Transpose", perm=[2, 1, 0]), "levels apart"),
        (swapped, "levels apart"),
    ],
)
def test_a_wrong_graph_does_not_pass(tmp_path, photos, change, said):
    noise = np.random.default_rng(0).integers(0, 256, (150, 130, 3), dtype=np.uint8)
    shown = [*photos[:3], Image.fromarray(noise)]  # what is wrong at the edges shows in noise
    how = replace(IMAGENET, resize=(72, 64), crop=None)  # and those a crop would take away
    model = averages(tmp_path)
    prepare_graph(model, tmp_path / FILE, how)
    assert prepared(model, tmp_path / FILE, shown, how).holds
    bent(tmp_path / FILE, change)
    proof = prepared(model, tmp_path / FILE, shown, how)
    assert not proof.holds
    assert said in proof.what


def test_other_weights_do_not_pass(tmp_path, photos):
    model = averages(tmp_path)
    prepare_graph(model, tmp_path / FILE, IMAGENET)

    def other(graph):
        tensor = next(t for t in graph.initializer if t.name == "w")
        values = numpy_helper.to_array(tensor, base_dir=str(tmp_path)) * 1.001
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), "w"))

    bent(tmp_path / FILE, other)
    proof = prepared(model, tmp_path / FILE, photos[:3], IMAGENET)
    assert not proof.holds and "own nodes answer" in proof.what


def test_another_crop_and_no_picture_do_not_pass(tmp_path, photos):
    model = averages(tmp_path)
    prepare_graph(model, tmp_path / FILE, replace(IMAGENET, crop=(60, 64)))
    proof = prepared(model, tmp_path / FILE, photos[:2], IMAGENET)
    assert not proof.holds and "(3, 60, 64)" in proof.what
    assert not prepared(model, tmp_path / FILE, [], IMAGENET).holds


def test_the_tensor_between_is_the_one_that_python_prepares(tmp_path, photos):
    """Without the proof's own arithmetic: the nearest mode is equal bit for bit."""
    how = replace(IMAGENET, interpolation="nearest")
    prepare_graph(averages(tmp_path), tmp_path / FILE, how)
    graph = onnx.load(tmp_path / FILE)
    graph.graph.output.append(helper.make_empty_tensor_value_info(TENSOR))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for picture in photos:
        rgb = np.asarray(picture.convert("RGB"))
        tensor = session.run([TENSOR], {"image": rgb})[0]
        np.testing.assert_array_equal(tensor[0], prepare(picture, how))


# ---------------------------------------------------------------- what cannot be done


@pytest.mark.parametrize("opset", [13, 17])
def test_an_older_opset_is_brought_up(tmp_path, photos, opset):
    model = averages(tmp_path, opset=opset)
    facts = prepare_graph(model, tmp_path / FILE, IMAGENET, labels=LABELS)
    assert facts["opset"] == 18
    (tensor,) = (t for t in onnx.load(tmp_path / FILE, load_external_data=False).graph.initializer
                 if t.name == "w")  # fmt: skip
    assert tensor.data_location == TensorProto.EXTERNAL
    assert prepared(model, tmp_path / FILE, photos[:3], IMAGENET).holds


def test_one_that_cannot_be_brought_up_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("no adapter from 17 to 18")

    monkeypatch.setattr(onnx.version_converter, "convert_version", refuse)
    with pytest.raises(ModelError, match=r"of opset 17 and cannot be brought to 18.*no adapter"):
        prepare_graph(averages(tmp_path, opset=17), tmp_path / FILE, IMAGENET)


@pytest.mark.parametrize(
    ("options", "how", "said"),
    [
        ({"batch": 4}, IMAGENET, "4 pictures at once"),
        ({"channels": 1}, IMAGENET, r"gives \(3, 64, 64\)"),
        ({"size": (32, 32)}, IMAGENET, r"takes \(C, H, W\) = \(3, 32, 32\)"),
    ],
)
def test_a_model_that_takes_something_else_is_told(tmp_path, options, how, said):
    with pytest.raises(ModelError, match=said):
        prepare_graph(averages(tmp_path, **options), tmp_path / FILE, how)
    assert not (tmp_path / FILE).exists()


def test_labels_of_another_count_and_places_elsewhere_are_told(tmp_path):
    model = averages(tmp_path)
    with pytest.raises(ModelError, match="10 scores, and there are 2 labels"):
        prepare_graph(model, tmp_path / FILE, IMAGENET, labels=("a", "b"))
    (tmp_path / "sub").mkdir()
    with pytest.raises(InteropError, match="beside the graph"):
        prepare_graph(model, tmp_path / "sub" / FILE, IMAGENET)
    with pytest.raises(ConfigError):
        prepare_graph(model, tmp_path / FILE, replace(IMAGENET, color="HSV"))


def test_a_fixed_batch_of_one_and_labels_of_any_script(tmp_path, photos):
    model = averages(tmp_path, batch=1)
    names = [*"abcdefgh", "鳥", "čáp"]
    prepare_graph(model, tmp_path / FILE, IMAGENET, labels=names)
    for picture in photos[:2]:
        scores, label = run(tmp_path / FILE, picture)
        assert label.tolist() == [names[scores.argmax()]]


def test_pictures_module_stays_the_measure():
    """What is reproduced here is what data.pictures names; a new mode needs a new step."""
    assert set(pictures._FILTERS) == {"nearest", *prepared_graphs._MODES}
