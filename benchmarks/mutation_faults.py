"""Seeded faults: what goes wrong in graphs, each put into a right one at a place that is drawn.

A fault says which proofs are for it; any of them counts. One that finds no place in a graph raises
NotHere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx

from benchmarks.mutation_graph import Graph

Draw = np.random.Generator
T = TypeVar("T")
WEIGHTS, PARITY, STRUCTURE, INTERFACE = "same weights", "parity", "structure", "interface"


class NotHere(Exception):
    """The graph has no place for the fault."""


@dataclass(frozen=True)
class Fault:
    """`put` changes the graph; `proofs` are those that should refuse what it becomes."""

    name: str
    put: Callable[[Graph, Draw], None]
    proofs: tuple[str, ...]
    quantised: bool = False


FAULTS: dict[str, Fault] = {}


def fault(*proofs: str, quantised: bool = False) -> Callable[[T], T]:
    """Register a function by its name."""

    def registered(put: Any) -> Any:
        name = put.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, put, proofs, quantised)
        return put

    return registered


def one(found: Sequence[T], draw: Draw) -> T:
    """One of some places."""
    if not found:
        raise NotHere
    return found[int(draw.integers(len(found)))]


def live(g: Graph, *kinds: str) -> list[onnx.NodeProto]:
    """Nodes of these kinds that depend on an input."""
    return [n for n in g.nodes(*kinds) if any(g.depends(i) for i in n.input if i)]


def matrices(g: Graph) -> list[onnx.TensorProto]:
    return [t for t in g.weights() if len(t.dims) >= 2 and min(t.dims[:2]) > 1]


def vectors(g: Graph) -> list[onnx.TensorProto]:
    return [t for t in g.weights() if len(t.dims) == 1 and g.numbers(t).any()]


def varied(array: Any) -> bool:
    return bool(np.ptp(array) > 1e-6)


# ---------------------------------------------------------------- weights


@fault(WEIGHTS, PARITY)
def two_weights_of_one_shape_swapped(g: Graph, draw: Draw) -> None:
    groups: dict[tuple[int, ...], list[onnx.TensorProto]] = {}
    for t in matrices(g):
        groups.setdefault(tuple(t.dims), []).append(t)
    group = one([x for x in groups.values() if len(x) > 1], draw)
    a, b = (group[int(i)] for i in draw.choice(len(group), 2, replace=False))
    first, second = g.numbers(a), g.numbers(b)
    if np.array_equal(first, second):
        raise NotHere
    g.put(a, second)
    g.put(b, first)


@fault(WEIGHTS, PARITY)
def square_matrix_transposed(g: Graph, draw: Draw) -> None:
    t = one([t for t in matrices(g) if len(t.dims) == 2 and t.dims[0] == t.dims[1]], draw)
    g.put(t, g.numbers(t).T)


@fault(WEIGHTS, PARITY)
def older_checkpoint_tensor(g: Graph, draw: Draw) -> None:
    t = one(matrices(g), draw)
    numbers = g.numbers(t)
    g.put(t, numbers + draw.standard_normal(numbers.shape) * 0.02 * numbers.std())


@fault(WEIGHTS, PARITY)
def one_number_changed(g: Graph, draw: Draw) -> None:
    t = one(matrices(g), draw)
    numbers = g.numbers(t)
    place = int(np.abs(numbers).argmax())
    numbers.reshape(-1)[place] *= 1.01
    g.put(t, numbers)


@fault(WEIGHTS, PARITY)
def sign_flipped(g: Graph, draw: Draw) -> None:
    t = one(matrices(g), draw)
    g.put(t, -g.numbers(t))


@fault(WEIGHTS, PARITY)
def rows_rolled(g: Graph, draw: Draw) -> None:
    t = one([t for t in matrices(g) if t.dims[0] > 2], draw)
    g.put(t, np.roll(g.numbers(t), 1, axis=0))


@fault(WEIGHTS, PARITY)
def class_rows_permuted(g: Graph, draw: Draw) -> None:
    found = [t for t in g.weights() if 10 in t.dims and len(t.dims) == 2]
    t = one(found, draw)
    axis = list(t.dims).index(10)
    order = np.arange(10)
    order[[2, 7]] = 7, 2
    g.put(t, np.take(g.numbers(t), order, axis))


@fault(WEIGHTS, PARITY)
def bias_zeroed(g: Graph, draw: Draw) -> None:
    t = one(vectors(g), draw)
    g.put(t, np.zeros_like(g.numbers(t)))


@fault(WEIGHTS, PARITY)
def half_precision_in_one_weight(g: Graph, draw: Draw) -> None:
    t = one(matrices(g), draw)
    g.put(t, g.numbers(t).astype(np.float16).astype(np.float32))


@fault(WEIGHTS, PARITY)
def first_weight_scaled(g: Graph, draw: Draw) -> None:
    t = one(matrices(g)[:1], draw)
    g.put(t, g.numbers(t) * 1.003)


@fault(WEIGHTS, PARITY)
def statistics_swapped(g: Graph, draw: Draw) -> None:
    node = one(g.nodes("BatchNormalization"), draw)
    node.input[3], node.input[4] = node.input[4], node.input[3]


@fault(WEIGHTS, PARITY)
def scale_and_shift_swapped(g: Graph, draw: Draw) -> None:
    kinds = ("BatchNormalization", "LayerNormalization", "GroupNormalization")
    node = one([n for n in g.nodes(*kinds) if len(n.input) > 2], draw)
    node.input[1], node.input[2] = node.input[2], node.input[1]


@fault(PARITY, WEIGHTS)
def bias_dropped(g: Graph, draw: Draw) -> None:
    found = [
        n for n in g.nodes("Conv", "Gemm", "ConvTranspose")
        if len(n.input) == 3 and (b := g.value(n.input[2])) is not None and b.any()
    ]  # fmt: skip
    node = one(found, draw)
    del node.input[2]


# ---------------------------------------------------------------- attributes


@fault(PARITY, STRUCTURE)
def padding(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Conv") if any(g.get(n, "pads") or [])]
    node = one(found, draw)
    pads = list(g.get(node, "pads"))
    half = len(pads) // 2
    g.set(node, "pads", [pads[0] + 1, *pads[1:half], pads[half] - 1, *pads[half + 1 :]])


@fault(PARITY, STRUCTURE)
def dilation(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Conv") if max(g.get(n, "kernel_shape") or [1]) == 3
             and set(g.get(n, "dilations") or [1]) == {1}]  # fmt: skip
    node = one(found, draw)
    pads = g.get(node, "pads") or [0] * 4
    g.set(node, "dilations", [2] * (len(pads) // 2))
    g.set(node, "pads", [p + 1 for p in pads])


@fault(PARITY, STRUCTURE)
def stride_and_sampling(g: Graph, draw: Draw) -> None:
    """A stride that is taken from the next position on."""
    found = [n for n in live(g, "Conv") if max(g.get(n, "strides") or [1]) > 1
             and any(g.get(n, "pads") or [])]  # fmt: skip
    node = one(found, draw)
    pads = list(g.get(node, "pads"))
    half = len(pads) // 2
    g.set(node, "pads", [p - (p > 0) for p in pads[:half]] + [p + (p > 0) for p in pads[half:]])


@fault(PARITY)
def maximum_for_mean(g: Graph, draw: Draw) -> None:
    found = live(g, "AveragePool", "MaxPool", "GlobalAveragePool")
    node = one(found, draw)
    other = {"AveragePool": "MaxPool", "MaxPool": "AveragePool",
             "GlobalAveragePool": "GlobalMaxPool"}[node.op_type]  # fmt: skip
    g.rename(node, other, keep=("kernel_shape", "strides", "pads", "ceil_mode"))


@fault(PARITY)
def border_counted(g: Graph, draw: Draw) -> None:
    node = one([n for n in live(g, "AveragePool") if any(g.get(n, "pads") or [])], draw)
    g.set(node, "count_include_pad", 1 - (g.get(node, "count_include_pad") or 0))


@fault(PARITY, STRUCTURE)
def rounding_of_sizes(g: Graph, draw: Draw) -> None:
    node = one([n for n in live(g, "MaxPool", "AveragePool") if g.get(n, "ceil_mode")], draw)
    g.set(node, "ceil_mode", 0)


@fault(PARITY)
def resize_mode(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Resize"), draw)
    mode = g.get(node, "mode") or b"nearest"
    g.set(node, "mode", "nearest" if mode != b"nearest" else "linear")


@fault(PARITY)
def resize_coordinates(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Resize"), draw)
    way = g.get(node, "coordinate_transformation_mode") or b"half_pixel"
    g.set(node, "coordinate_transformation_mode",
          "align_corners" if way != b"align_corners" else "half_pixel")  # fmt: skip


@fault(PARITY)
def axis_of_softmax(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Softmax"), draw)
    g.set(node, "axis", -2 if g.get(node, "axis") != -2 else -1)


@fault(PARITY, STRUCTURE)
def axis_of_reduction(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "ReduceMean", "ReduceSum", "ReduceMax")
             if len(n.input) > 1 and g.value(n.input[1]) is not None]  # fmt: skip
    node = one(found, draw)
    axes = g.value(node.input[1])
    assert axes is not None
    node.input[1] = g.constant(
        [int(a) - 1 if a not in (0, 1) else int(a) + 1 for a in axes.ravel()]
    )


@fault(PARITY)
def epsilon(g: Graph, draw: Draw) -> None:
    kinds = ("LayerNormalization", "BatchNormalization", "GroupNormalization",
             "SkipLayerNormalization", "InstanceNormalization")  # fmt: skip
    node = one(live(g, *kinds), draw)
    g.set(node, "epsilon", max((g.get(node, "epsilon") or 1e-5) * 100, 1e-2))


@fault(PARITY)
def slope(g: Graph, draw: Draw) -> None:
    node = one(live(g, "LeakyRelu", "Elu"), draw)
    g.set(node, "alpha", (g.get(node, "alpha") or 0.01) * 2)


@fault(PARITY)
def order_of_axes(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Transpose") if len(g.get(n, "perm") or []) > 2]
    node = one(found, draw)
    perm = list(g.get(node, "perm"))
    perm[-1], perm[-2] = perm[-2], perm[-1]
    g.set(node, "perm", perm)


@fault(PARITY, STRUCTURE)
def group_count(g: Graph, draw: Draw) -> None:
    node = one([n for n in g.nodes("GroupNormalization") if (g.get(n, "num_groups") or 0) > 1],
               draw)  # fmt: skip
    g.set(node, "num_groups", 1)


# ---------------------------------------------------------------- operators


@fault(PARITY)
def leaky_for_plain(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Relu"), draw)
    g.rename(node, "LeakyRelu")
    g.set(node, "alpha", 0.01)


@fault(PARITY)
def activation_dropped(g: Graph, draw: Draw) -> None:
    kinds = ("Relu", "Sigmoid", "HardSigmoid", "Erf", "Tanh", "LeakyRelu", "Gelu", "Clip")
    g.bypass(one(live(g, *kinds), draw))


@fault(PARITY)
def other_activation(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Sigmoid", "HardSigmoid", "Erf", "Tanh"), draw)
    other = {"Sigmoid": "HardSigmoid", "HardSigmoid": "Sigmoid", "Erf": "Tanh", "Tanh": "Erf"}
    g.rename(node, other[node.op_type])


@fault(PARITY)
def approximated_activation(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Gelu"), draw)
    near = (g.get(node, "approximate") or b"none") == b"none"
    g.set(node, "approximate", "tanh" if near else "none")


@fault(PARITY)
def minus_for_plus(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Add") if all(g.depends(i) for i in n.input)]
    g.rename(one(found, draw), "Sub")


@fault(PARITY)
def operands_swapped(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Sub", "Div", "Pow") if floats(g, n)]
    node = one(found, draw)
    node.input[0], node.input[1] = node.input[1], node.input[0]


def floats(g: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node computes with floats, as far as its constants tell."""
    known = [v for i in node.input if (v := g.value(i)) is not None]
    return not any(v.dtype.kind in "iub" for v in known)


@fault(PARITY)
def residual_dropped(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Add") if all(g.depends(i) for i in n.input)]
    g.bypass(one(found, draw), int(draw.integers(2)))


@fault(PARITY)
def choice_reversed(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Where"), draw)
    node.input[1], node.input[2] = node.input[2], node.input[1]


@fault(PARITY)
def attention_scale(g: Graph, draw: Draw) -> None:
    """The number by which scores are multiplied before a softmax."""
    found = []
    for softmax in g.nodes("Softmax"):
        for node in g.above(softmax.input[0], 8):
            if node.op_type in ("Mul", "Div"):
                for i, name in enumerate(node.input):
                    value = g.value(name)
                    if value is not None and value.size == 1 and value.dtype.kind == "f":
                        found.append((node, i, float(value.reshape(()))))
    node, i, number = one(found, draw)
    if number in (0.0, 1.0):
        raise NotHere
    node.input[i] = g.constant(number * 1.1)


@fault(PARITY)
def fused_attention_scale(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Attention", "MultiHeadAttention", "FusedMatMul"), draw)
    name = "alpha" if node.op_type == "FusedMatMul" else "scale"
    if not (number := g.get(node, name)):
        raise NotHere
    g.set(node, name, float(number) * 1.1)


@fault(PARITY)
def limit_of_clipping(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Clip") if len(n.input) > 1 and g.value(n.input[1]) is not None]
    node = one(found, draw)
    value = g.value(node.input[1])
    assert value is not None
    node.input[1] = g.constant(float(value.reshape(())) + 0.25)


@fault(PARITY)
def constant_of_a_product(g: Graph, draw: Draw) -> None:
    """A single number that values are multiplied by or added to."""
    found = []
    for node in live(g, "Mul", "Add", "Div", "Pow"):
        for i, name in enumerate(node.input):
            value = g.value(name)
            if value is not None and value.size == 1 and value.dtype == np.float32:
                found.append((node, i, float(value.reshape(()))))
    node, i, number = one([f for f in found if np.isfinite(f[2]) and 1e-3 < abs(f[2]) < 1e6], draw)
    node.input[i] = g.constant(number * 1.05)


# ---------------------------------------------------------------- places and shapes


@fault(PARITY, STRUCTURE)
def order_of_parts(g: Graph, draw: Draw) -> None:
    found = [
        n for n in live(g, "Concat")
        if len(n.input) > 1 and len(set(n.input)) > 1 and any(computed(g, i) for i in n.input)
    ]  # fmt: skip
    node = one(found, draw)
    names = list(node.input)
    del node.input[:]
    node.input.extend([names[-1], *names[1:-1], names[0]])


def computed(g: Graph, name: str) -> bool:
    """Whether a value is one that a layer computes, rather than a shape."""
    kinds = {"Conv", "MatMul", "Gemm", "Gelu", "HardSigmoid", "Split", "LSTM", "GRU", "Relu"}
    return any(n.op_type in kinds for n in g.above(name, 4))


@fault(PARITY, STRUCTURE)
def outputs_of_a_split_swapped(g: Graph, draw: Draw) -> None:
    found = [n for n in live(g, "Split") if len(n.output) > 1]
    node = one(found, draw)
    a, b = node.output[0], node.output[-1]
    node.output[0], node.output[len(node.output) - 1] = b, a


@fault(PARITY, STRUCTURE)
def slice_off_by_one(g: Graph, draw: Draw) -> None:
    found = [
        n for n in live(g, "Slice")
        if all((v := g.value(i)) is not None and v.size == 1 for i in n.input[1:3])
        and any(computed(g, i) or i in {x.name for x in g.inputs} for i in n.input[:1])
    ]  # fmt: skip
    node = one(found, draw)
    start, end = (int(np.asarray(g.value(i)).reshape(())) for i in node.input[1:3])
    if start > 0:
        start, end = start - 1, end - 1 if 0 < end < 1 << 30 else end
    else:
        start = start + 1 if start == 0 else start - 1
    node.input[1], node.input[2] = g.constant([start]), g.constant([end])


@fault(PARITY, STRUCTURE)
def index_off_by_one(g: Graph, draw: Draw) -> None:
    """A place that is picked: the class token, the last step."""
    found = []
    for node in live(g, "Gather"):
        value = g.value(node.input[1])
        if value is not None and value.size == 1 and computed(g, node.input[0]):
            found.append((node, int(value.reshape(())), value.ndim))
    node, place, ndim = one(found, draw)
    moved = place - 1 if place else 1
    node.input[1] = g.constant([moved] if ndim else moved)


@fault(PARITY)
def position_off_by_one(g: Graph, draw: Draw) -> None:
    """Rows of a table that whole numbers pick, one row further."""
    tables = [n for n in g.nodes("Gather") if (t := g.tensor(n.input[0])) is not None
              and len(t.dims) == 2 and t.dims[0] in (40, 34, 41, 17)]  # fmt: skip
    added = [t for t in g.weights() if "pos" in t.name.lower() and len(t.dims) >= 2]
    if tables:
        t = g.tensor(one(tables, draw).input[0])
        assert t is not None
        g.put(t, np.roll(g.numbers(t), 1, axis=0))
        return
    t = one(added, draw)
    g.put(t, np.roll(g.numbers(t), 1, axis=-2))


@fault(PARITY)
def position_numbers_off_by_one(g: Graph, draw: Draw) -> None:
    found = []
    for node in g.nodes("Gather"):
        table = g.tensor(node.input[0])
        if table is not None and list(table.dims)[:1] == [40]:
            found.append(node)
    node = one(found, draw)
    place = g.place(node)
    node.input[1] = g.add("Add", [node.input[1], g.constant(1)], place)


@fault(PARITY)
def mask_ignored(g: Graph, draw: Draw) -> None:
    mask = one([i.name for i in g.inputs if "mask" in i.name], draw)
    if not g.takers(mask):
        raise NotHere
    whole = g.add("Mul", [mask, g.constant(0)], 0)
    ones = g.add("Add", [whole, g.constant(1)], 1)
    g.rewire(mask, ones, but=whole)


@fault(PARITY)
def mask_off_by_one(g: Graph, draw: Draw) -> None:
    """Each row's mask, one place to the right."""
    mask = one([i.name for i in g.inputs if "mask" in i.name], draw)
    if not g.takers(mask):
        raise NotHere
    starts, ends, axes = (g.constant([n]) for n in (0, -1, 1))
    rest = g.add("Slice", [mask, starts, ends, axes], 0)
    first = g.add("Slice", [mask, starts, g.constant([1]), axes], 1)
    moved = g.add("Concat", [first, rest], 2, axis=1)
    for node in list(g.graph.node)[3:]:
        for i, name in enumerate(node.input):
            if name == mask:
                node.input[i] = moved


@fault(PARITY)
def mask_value_too_small(g: Graph, draw: Draw) -> None:
    found = []
    for node in g.nodes("Where", "Mul", "Sub"):
        for i, name in enumerate(node.input):
            value = g.value(name)
            if value is not None and value.size == 1 and value.dtype == np.float32 \
                    and float(value.reshape(())) < -1e4:  # fmt: skip
                found.append((node, i))
    if not any(n.op_type == "Where" or "Mul" in n.op_type for n, _ in found):
        raise NotHere
    node, i = one(found, draw)
    node.input[i] = g.constant(-1.0)


@fault(PARITY)
def batch_baked_in(g: Graph, draw: Draw) -> None:
    found = []
    for node in live(g, "Reshape"):
        shape = g.value(node.input[1])
        if shape is None or shape.size < 2 or shape.ravel()[0] not in (0, -1):
            continue
        if computed(g, node.input[0]):
            found.append((node, [int(n) for n in shape.ravel()]))
    if not found:  # a value that is two-dimensional by its node
        node = one(live(g, "Gemm"), draw)
        place = g.place(node)
        weight = g.weight(node.input[1])
        if weight is None:
            raise NotHere
        width = int(weight.dims[1] if g.get(node, "transB") else weight.dims[0])
        node.input[0] = g.add("Reshape", [node.input[0], g.constant([1, width])], place)
        return
    node, shape = one(found, draw)
    node.input[1] = g.constant([1, *shape[1:]])


@fault(PARITY)
def branch_on_size_lost(g: Graph, draw: Draw) -> None:
    """The axes of a picture said to be open, where one branch alone is in the graph."""
    port = one([i for i in g.inputs if len(i.type.tensor_type.shape.dim) == 4], draw)
    dims = port.type.tensor_type.shape.dim
    if not g.guarded or not all(d.dim_value for d in list(dims)[2:]):
        raise NotHere
    for place, axis in ((2, "h"), (3, "w")):
        dims[place].Clear()
        dims[place].dim_param = axis


@fault(PARITY)
def order_of_gates(g: Graph, draw: Draw) -> None:
    node = one(g.nodes("LSTM", "GRU"), draw)
    t = g.tensor(node.input[1])
    if t is None:
        raise NotHere
    numbers = g.numbers(t)
    parts = np.split(numbers, 4 if node.op_type == "LSTM" else 3, axis=1)
    g.put(t, np.concatenate([parts[1], parts[0], *parts[2:]], axis=1))


@fault(PARITY)
def direction_reversed(g: Graph, draw: Draw) -> None:
    found = [n for n in g.nodes("LSTM", "GRU") if g.get(n, "direction") in (None, b"forward")]
    node = one(found, draw)
    g.set(node, "direction", "reverse")


# ---------------------------------------------------------------- rare paths


@fault(PARITY, STRUCTURE)
def nan_on_one_path(g: Graph, draw: Draw) -> None:
    """Where the first score is the smallest of its row, it is no number."""
    out = g.graph.output[0].name
    was, place = g.behind(out)
    root = g.add("Sqrt", [was], place)
    zero = g.add("Mul", [root, g.constant(0.0)], place + 1)
    g.add("Add", [was, zero], place + 2, out=out)


@fault(PARITY)
def large_values_cut(g: Graph, draw: Draw) -> None:
    """As by a table of too small a range."""
    node = one(live(g, "Conv", "Gemm", "MatMul"), draw)
    old = node.output[0]
    was, place = g.behind(old)
    g.add("Clip", [was, g.constant(-0.5), g.constant(0.5)], place, out=old)


@fault(PARITY)
def whole_numbers_on_the_way(g: Graph, draw: Draw) -> None:
    node = one(live(g, "Conv", "Gemm", "MatMul", "LayerNormalization"), draw)
    old = node.output[0]
    was, place = g.behind(old)
    g.add("Round", [was], place, out=old)


@fault(STRUCTURE, PARITY)
def dropout_of_training(g: Graph, draw: Draw) -> None:
    """A twentieth of the values of one layer, drawn anew at each run."""
    node = one(live(g, "Gemm", "MatMul", "Conv"), draw)
    old = node.output[0]
    was, place = g.behind(old)
    noise = g.add("RandomUniformLike", [was], place, low=0.0, high=1.0, dtype=1)
    kept = g.add("Greater", [noise, g.constant(0.05)], place + 1)
    g.add("Where", [kept, was, g.constant(0.0)], place + 2, out=old)


# ---------------------------------------------------------------- the interface


@fault(PARITY, INTERFACE)
def softmax_added(g: Graph, draw: Draw) -> None:
    out = g.graph.output[0].name
    was, place = g.behind(out)
    g.add("Softmax", [was], place, out=out, axis=-1)


@fault(PARITY, INTERFACE)
def sigmoid_added(g: Graph, draw: Draw) -> None:
    out = g.graph.output[0].name
    was, place = g.behind(out)
    g.add("Sigmoid", [was], place, out=out)


@fault(PARITY, INTERFACE)
def normalised_twice(g: Graph, draw: Draw) -> None:
    """The input is divided as pictures are, though whoever calls it does that already."""
    port = one([i for i in g.inputs if i.type.tensor_type.elem_type == 1], draw)
    by = g.add("Div", [port.name, g.constant(255.0)], 0)
    g.rewire(port.name, by, but=by)


@fault(PARITY, INTERFACE)
def colours_reversed(g: Graph, draw: Draw) -> None:
    port = one([i for i in g.inputs if len(i.type.tensor_type.shape.dim) == 4], draw)
    other = g.add("Gather", [port.name, g.constant([2, 1, 0])], 0, axis=1)
    g.rewire(port.name, other, but=other)


@fault(INTERFACE)
def labels_permuted(g: Graph, draw: Draw) -> None:
    stated = [p for p in g.model.metadata_props if p.key in ("labels", "names")]
    for p in stated:
        g.model.metadata_props.remove(p)
    if not g.labels:
        raise NotHere
    entry = g.model.metadata_props.add()
    names = list(g.labels)
    names[3], names[4] = names[4], names[3]
    entry.key, entry.value = "labels", json.dumps(names)


@fault(PARITY, INTERFACE, STRUCTURE)
def scores_shifted(g: Graph, draw: Draw) -> None:
    """Each score under the next class."""
    out = g.graph.output[0].name
    was, place = g.behind(out)
    axes, far = g.constant([-1]), g.constant([1 << 31])
    last = g.add("Slice", [was, g.constant([-1]), far, axes], place)
    rest = g.add("Slice", [was, g.constant([0]), g.constant([-1]), axes], place + 1)
    g.add("Concat", [last, rest], place + 2, out=out, axis=-1)


# ---------------------------------------------------------------- a lower precision


def _coded(g: Graph) -> list[tuple[onnx.NodeProto, int]]:
    """Nodes that read weights as codes, and where the scale stands among their inputs."""
    found = []
    for node in g.nodes("DequantizeLinear"):
        t = g.tensor(node.input[0])
        if t is not None and len(t.dims) > 1:
            found.append((node, 1))
    return found


@fault(WEIGHTS, quantised=True)
def scale_off(g: Graph, draw: Draw) -> None:
    node, at = one(_coded(g), draw)
    numbers = g.value(node.input[at])
    assert numbers is not None
    node.input[at] = g.constant((numbers * 1.02).astype(np.float32))


@fault(WEIGHTS, quantised=True)
def zero_point_off_by_one(g: Graph, draw: Draw) -> None:
    node, _ = one(_coded(g), draw)
    t = g.tensor(node.input[2]) if len(node.input) > 2 else None
    if t is None:
        raise NotHere
    own = onnx.TensorProto()
    own.CopyFrom(t)
    own.name = g.name("zero")
    g.graph.initializer.append(own)
    g.put(g.graph.initializer[-1], g.numbers(t) + 1)
    node.input[2] = own.name


@fault(WEIGHTS, quantised=True)
def scales_rolled(g: Graph, draw: Draw) -> None:
    found = [(n, at) for n, at in _coded(g) if np.asarray(g.value(n.input[at])).size > 1]
    node, at = one(found, draw)
    numbers = np.asarray(g.value(node.input[at]))
    if not varied(numbers):
        raise NotHere
    node.input[at] = g.constant(np.roll(numbers, 1).astype(np.float32))


@fault(STRUCTURE, quantised=True)
def read_by_another_scale(g: Graph, draw: Draw) -> None:
    """Codes of values on the way, undone by a scale a hundredth larger than they were made by."""
    found = []
    for node in g.nodes("DequantizeLinear"):
        maker = g.maker(node.input[0])
        if maker is not None and maker.op_type == "QuantizeLinear":
            found.append(node)
    node = one(found, draw)
    numbers = g.value(node.input[1])
    assert numbers is not None
    node.input[1] = g.constant(np.asarray(numbers * 1.01, np.float32))


@fault(WEIGHTS, quantised=True)
def codes_shifted(g: Graph, draw: Draw) -> None:
    node, _ = one(_coded(g), draw)
    t = g.tensor(node.input[0])
    assert t is not None
    numbers = g.numbers(t).astype(np.int32)
    g.put(t, np.clip(numbers + 1, -127, 127))


def applied(fault: Fault, graph: Graph, seed: Sequence[int]) -> bool:
    """Put a fault into a graph; False where it finds no place."""
    try:
        fault.put(graph, np.random.default_rng(list(seed)))
    except NotHere:
        return False
    return True
