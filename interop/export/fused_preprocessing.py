"""A graph that takes a prepared tensor -> a second one that takes the picture as it was decoded.

Every step of `facts.Preprocessing` becomes ONNX operators that compute what Pillow does, before the
same nodes and the same weights: both graphs point into one model.safetensors. That ONNX Runtime
computes as Pillow does is proved; not every runtime does (OpenVINO 2026.4 resizes otherwise).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL
from onnx import TensorProto, helper, numpy_helper

from interop.data import pictures
from interop.errors import InteropError, ModelError, first_line
from interop.facts import Json, Preprocessing
from interop.identity.metadata import preprocessing_json
from interop.proof import graph as graphs
from interop.proof.fused_preprocessing import TENSOR

FILE = "model_prepared.onnx"
OPSET = 18  # the first with antialiasing, and with axes for Resize and Pad
_PREFIX = "prepare/"
_MODES = {"bilinear": "linear", "bicubic": "cubic"}
# Pillow's integers for the luma of ITU-R 601: 0.299, 0.587 and 0.114 of 65536.
_LUMA, _LUMA_ONE = (19595, 38470, 7471), 65536
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def prepare_graph(
    model: Path,
    out: Path,
    how: Preprocessing,
    *,
    labels: Sequence[str] | None = None,
    softmax: bool = False,
) -> dict[str, Json]:
    """Writes to `out`, beside `model`, the graph with its preprocessing; facts of it come back.

    Its input "image" is one picture as decoders give it, uint8 (height, width, 3) in RGB, of any
    size; its outputs are the model's for a batch of 1. With `softmax` a further output
    "probabilities" (1, classes), with `labels` a further one "label", a string (1,). Raises
    InteropError where the graph takes no one picture, or what `how` does not give.
    """
    pictures.check(how)
    if not how.antialias and how.interpolation != "nearest":
        what = f"{how.interpolation} interpolation without antialiasing cannot be put into a graph"
        raise _unfit(what, model.name)
    if out.parent.resolve() != model.parent.resolve():
        what = "must lie beside the graph whose weights it shares"
        raise InteropError(what, where=str(out), fix=f"write it into {model.parent}")
    graph = _upgraded(graphs.read(model), model.name)
    inner = _checked_input(graph, how, model.name)
    steps = _Steps()
    image = _free("image", graph)
    _write_steps(steps, image, how, inner)
    tail = _Steps()
    _join(graph, steps, tail, inner, image, _answers(tail, graph, labels, softmax, model.name))
    _describe(graph, how)
    out.write_bytes(graph.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(out))
    return {
        "file": out.name,
        "input": {"name": image, "dtype": "uint8", "shape": ["height", "width", 3]},
        "outputs": [o.name for o in graph.graph.output],
        "preprocess": preprocessing_json(how),
        "opset": _opset(graph),
        "resize_order": "as Pillow 13" if _chooses_order() else "horizontal first",
        "bytes": out.stat().st_size,
    }


# ---------------------------------------------------------------- writing operators


class _Steps:
    """Nodes under way, each with one output, and the constants that they take."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node; gives the name of its output, `output` or a new one."""
        name = output or f"{_PREFIX}{operator.lower()}_{len(self.nodes)}"
        node = helper.make_node(operator, inputs, [name], name=f"{name}_node", **attributes)
        self.nodes.append(node)
        return name

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        array = np.asarray(values, dtype=dtype)
        shape = "x".join(map(str, array.shape)) or "scalar"
        words = "_".join(str(v) for v in array.ravel().tolist())
        name = f"{_PREFIX}{array.dtype}_{shape}_{words}"
        self.constants[name] = numpy_helper.from_array(array, name)
        return name


def _write_steps(to: _Steps, image: str, how: Preprocessing, inner: onnx.ValueInfoProto) -> None:
    pixels = _planes(to, image, how.color)
    size = to("Shape", image, end=2)  # height, width
    goal = _goal(to, size, how.resize)
    if how.interpolation == "nearest":
        pixels = _nearest(to, pixels, size, goal)
    else:
        pixels = _filtered(to, pixels, size, goal, _MODES[how.interpolation])
    if how.crop is not None:
        pixels = _cropped(to, pixels, goal, how.crop)
    # The very operations of data.pictures, in its order: equal pixels give equal tensors.
    if how.color == "BGR":
        pixels = to("Gather", pixels, to.constant([2, 1, 0]), axis=1)
    if how.scale == 1 / 255:
        scaled = to("Div", pixels, to.constant(255, np.float32))
    else:
        scaled = to("Mul", pixels, to.constant(how.scale, np.float32))
    mean, std = (np.reshape(v, (1, -1, 1, 1)) for v in (how.mean, how.std))
    moved = to("Sub", scaled, to.constant(mean, np.float32))
    to("Div", moved, to.constant(std, np.float32), output=TENSOR)
    to("Cast", TENSOR, output=inner.name, to=inner.type.tensor_type.elem_type)


def _planes(to: _Steps, image: str, color: str) -> str:
    """uint8 (height, width, 3) as float32 (1, channels, height, width), in `color`."""
    if color == "L":
        weighted = to("Mul", to("Cast", image, to=TensorProto.INT32), to.constant(_LUMA, np.int32))
        total = to("ReduceSum", weighted, to.constant([2]), keepdims=1)
        rounded = to("Add", total, to.constant(_LUMA_ONE // 2, np.int32))
        image = to("Div", rounded, to.constant(_LUMA_ONE, np.int32))
    batch = to("Unsqueeze", to("Transpose", image, perm=[2, 0, 1]), to.constant([0]))
    return to("Cast", batch, to=TensorProto.FLOAT)


def _goal(to: _Steps, size: str, resize: tuple[int, ...]) -> str:
    """Height and width to resize to; a side that follows from the shorter is rounded down."""
    if len(resize) == 2:
        return to.constant(resize)
    shorter = to("ReduceMin", size, to.constant([0]), keepdims=1)
    return to("Div", to("Mul", size, to.constant([resize[0]])), shorter)


def _filtered(to: _Steps, pixels: str, size: str, goal: str, mode: str) -> str:
    """Two passes, one an axis, each stored in 8 bits: that is how Pillow resizes."""
    if _chooses_order():
        less = to("Sub", size, goal)
        height, width = (to("Gather", less, to.constant([i])) for i in (0, 1))
        shrinks = to("Greater", height, to.constant([0]))
        vertical = to("And", shrinks, to("Greater", height, to("Mul", width, to.constant([2]))))
        between = to("Where", to("Concat", vertical, to("Not", vertical), axis=0), goal, size)
    else:
        between = to("Where", to.constant([False, True], np.bool_), goal, size)
    for sizes in (between, goal):
        resized = to(
            "Resize", pixels, "", "", sizes,
            mode=mode, axes=[2, 3], antialias=1, cubic_coeff_a=-0.5,
            coordinate_transformation_mode="half_pixel",
            # Pillow's filter ends at the picture's edge; ONNX's default repeats the edge instead.
            exclude_outside=1,
        )  # fmt: skip
        half_up = to("Floor", to("Add", resized, to.constant(0.5, np.float32)))
        bounds = to.constant(0, np.float32), to.constant(255, np.float32)
        pixels = to("Clip", half_up, *bounds)
    return pixels


def _chooses_order() -> bool:
    """Whether Pillow may resize vertically first: since 13, where the height loses more pixels than
    twice what the width does."""
    return int(PIL.__version__.split(".")[0]) >= 13


def _nearest(to: _Steps, pixels: str, size: str, goal: str) -> str:
    """By indexes, which Pillow adds up step by step in float64: Resize would round otherwise."""
    for axis in (0, 1):
        index = to.constant([axis])
        have, want = to("Gather", size, index), to("Gather", goal, index)
        wide = [to("Cast", v, to=TensorProto.DOUBLE) for v in (have, want)]
        step = to("Div", *wide)
        half = to("Mul", step, to.constant([0.5], np.float64))
        rest = to("Expand", step, to("Sub", want, to.constant([1])))
        places = to("CumSum", to("Concat", half, rest, axis=0), to.constant(0))
        whole = to("Cast", to("Floor", places), to=TensorProto.INT64)
        last = to("Sub", have, to.constant([1]))
        pixels = to("Gather", pixels, to("Min", whole, last), axis=axis + 2)
    return pixels


def _cropped(to: _Steps, pixels: str, size: str, crop: tuple[int, int]) -> str:
    """From the centre; black around a picture that is smaller, the odd pixel right and below."""
    wanted = to.constant(crop)
    canvas = to("Max", size, wanted)
    margin = to("Sub", canvas, size)
    before = to("Div", margin, to.constant([2]))
    pads = to("Concat", before, to("Sub", margin, before), axis=0)
    axes = to.constant([2, 3])
    padded = to("Pad", pixels, pads, to.constant(0, np.float32), axes)
    over = to("Cast", to("Sub", canvas, wanted), to=TensorProto.FLOAT)
    # Half to even, as Python's round and so torchvision's crop.
    middle = to("Round", to("Mul", over, to.constant(0.5, np.float32)))
    start = to("Cast", middle, to=TensorProto.INT64)
    return to("Slice", padded, start, to("Add", start, wanted), axes)


# ---------------------------------------------------------------- joining it to the model


def _checked_input(graph: onnx.ModelProto, how: Preprocessing, name: str) -> onnx.ValueInfoProto:
    """The model's one input, where it is what `how` gives."""
    constants = {t.name for t in graph.graph.initializer}
    inputs = [i for i in graph.graph.input if i.name not in constants]
    kind = inputs[0].type.tensor_type if len(inputs) == 1 else None
    if kind is None or kind.elem_type not in _FLOATS or len(kind.shape.dim) != 4:
        raise _unfit("does not take one batch of pictures (N, C, H, W)", name)
    batch, *rest = (d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    if batch not in (None, 1):
        raise _unfit(f"takes {batch} pictures at once, and the prepared graph takes one", name)
    given = (how.channels, *(how.size or (None, None)))
    for has, gets in zip(rest, given, strict=True):
        if has is not None and gets is not None and has != gets:
            raise _unfit(f"takes (C, H, W) = {tuple(rest)}, the preprocessing gives {given}", name)
    value: onnx.ValueInfoProto = inputs[0]
    return value


def _unfit(what: str, name: str) -> ModelError:
    return ModelError(what, where=name, fix="leave --with-preprocess away, or correct --preprocess")


def _upgraded(graph: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The same graph in an opset that can resize as Pillow does."""
    have = _opset(graph)
    if have >= OPSET:
        return graph
    constants = {t.name: t for t in graph.graph.initializer}
    try:
        converted = onnx.version_converter.convert_version(graph, OPSET)
    except Exception as error:  # the converter's own
        line = first_line(error)
        what = (
            f"is of opset {have} and cannot be brought to {OPSET}, the first that resizes with "
            f"antialiasing: {line}"
        )
        raise ModelError(what, where=name, fix="leave --with-preprocess away") from None
    # The converter need not know where bytes outside of the graph lie.
    for tensor in converted.graph.initializer:
        if tensor.name in constants:
            tensor.CopyFrom(constants[tensor.name])
    return converted


def _opset(graph: onnx.ModelProto) -> int:
    return next((int(o.version) for o in graph.opset_import if o.domain in ("", "ai.onnx")), 0)


def _answers(
    to: _Steps, graph: onnx.ModelProto, labels: Sequence[str] | None, softmax: bool, name: str
) -> list[onnx.ValueInfoProto]:
    """Probabilities and the label's name, of the first output (1, classes)."""
    if labels is None and not softmax:
        return []
    scores = graph.graph.output[0]
    dims = scores.type.tensor_type.shape.dim
    classes = dims[1].dim_value if len(dims) == 2 else 0
    if not classes:
        what = "its first output is no row of class scores"
        raise ModelError(what, where=name, fix="leave labels away")
    answers = []
    if softmax:
        probabilities = to("Softmax", scores.name, output=_free("probabilities", graph), axis=1)
        kind = scores.type.tensor_type.elem_type
        answers.append(helper.make_tensor_value_info(probabilities, kind, [1, classes]))
    if labels is not None:
        if len(labels) != classes:
            what = f"gives {classes} scores, and there are {len(labels)} labels"
            raise ModelError(what, where=name, fix="give the model's labels with --labels")
        words = numpy_helper.from_array(np.array(labels, dtype=object), f"{_PREFIX}labels")
        to.constants[words.name] = words
        best = to("ArgMax", scores.name, output=f"{_PREFIX}best", axis=1, keepdims=0)
        label = to("Gather", words.name, best, output=_free("label", graph), axis=0)
        answers.append(helper.make_tensor_value_info(label, TensorProto.STRING, [1]))
    return answers


def _join(
    graph: onnx.ModelProto,
    steps: _Steps,
    tail: _Steps,
    inner: onnx.ValueInfoProto,
    image: str,
    extra: Sequence[onnx.ValueInfoProto],
) -> None:
    """The steps before the model's nodes, the answers after them."""
    first = inner.type.tensor_type.shape.dim[0]
    body = graph.graph
    nodes = [*steps.nodes, *body.node, *tail.nodes]
    inputs = [i for i in body.input if i.name != inner.name]
    _one_picture(body, first.dim_param)
    del body.node[:], body.input[:], body.value_info[:]  # shapes follow anew, for a batch of 1
    body.node.extend(nodes)
    shape: list[str | int | None] = ["height", "width", 3]
    body.input.append(helper.make_tensor_value_info(image, TensorProto.UINT8, shape))
    body.input.extend(inputs)
    body.output.extend(extra)
    body.initializer.extend((steps.constants | tail.constants).values())


def _one_picture(body: onnx.GraphProto, batch: str) -> None:
    for output in body.output:
        for dim in output.type.tensor_type.shape.dim:
            if batch and dim.dim_param == batch:
                dim.dim_value = 1


def _describe(graph: onnx.ModelProto, how: Preprocessing) -> None:
    """Who reads "preprocess" prepares the input: here that is done, under another name."""
    kept = {p.key: p.value for p in graph.metadata_props if p.key != "preprocess"}
    kept["preprocess_in_graph"] = json.dumps(preprocessing_json(how))
    del graph.metadata_props[:]
    helper.set_model_props(graph, dict(sorted(kept.items())))


def _free(name: str, graph: onnx.ModelProto) -> str:
    """The name, or one like it that no value of the graph has."""
    body = graph.graph
    taken = {v.name for v in (*body.input, *body.output, *body.initializer)}
    taken |= {o for n in body.node for o in n.output}
    while name in taken:
        name += "_"
    return name
