"""An ONNX file -> its initialisers, and which of them an input's way to an output leads past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from interop.errors import first_line

# The dtypes that weights have, in the words of `facts`.
DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.BOOL: "bool",
}
FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})


@dataclass(frozen=True, slots=True)
class External:
    """Where an initialiser's bytes lie outside of the graph."""

    location: str
    offset: int
    length: int


def line(error: Exception) -> str:
    """The first line of what an error of a library says, or the name of its class."""
    return first_line(error)


def read(path: Path) -> onnx.ModelProto:
    """The graph without the bytes of its external data."""
    return onnx.load(str(path), load_external_data=False)


def external(tensor: onnx.TensorProto) -> External | None:
    """The place of a tensor's bytes; None where they are embedded."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    entries = {e.key: e.value for e in tensor.external_data}
    return External(
        entries.get("location", ""), int(entries.get("offset", 0)), int(entries.get("length", -1))
    )


def values(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    """The numbers of a tensor, wherever they lie (its external file is in `folder`)."""
    return numpy_helper.to_array(tensor, base_dir=str(folder))


def raw(tensor: onnx.TensorProto, folder: Path) -> bytes:
    """The bytes of a tensor's values, row-major and little-endian."""
    return np.ascontiguousarray(values(tensor, folder)).tobytes()


def weights_on_the_way(model: onnx.ModelProto) -> list[str]:
    """Initialisers (floats, or codes of some) that act on what comes from an input and goes to an
    output.

    In the order in which the input's data meet them; one that passes through nodes of its own
    first (a transposed weight) counts where those meet the data. Matrices and kernels alone, if
    there are any.
    """
    graph = model.graph
    sizes = {t.name: len(t.dims) for t in graph.initializer if _may_be_weight(t)}
    live = {i.name for i in graph.input if i.name not in sizes}
    carries: dict[str, list[str]] = {name: [name] for name in sizes}
    met: list[tuple[str, onnx.NodeProto]] = []
    for node in graph.node:
        taken = list(inputs_of(node))
        # Each once: in a chain of nodes that take a value twice, copies would double at each.
        brought = list(dict.fromkeys(w for name in taken for w in carries.get(name, ())))
        if live.isdisjoint(taken):
            carries.update((out, brought) for out in node.output)
        else:
            live.update(node.output)
            met.extend((w, node) for w in brought)
    leading = _leading_out(graph)
    order = list(dict.fromkeys(w for w, node in met if leading.intersection(node.output)))
    return [w for w in order if sizes[w] >= 2] or order


def _may_be_weight(tensor: onnx.TensorProto) -> bool:
    kind = DTYPES.get(tensor.data_type)
    return kind in FLOATS or (kind in ("int8", "uint8") and len(tensor.dims) >= 2)


def _leading_out(graph: onnx.GraphProto) -> set[str]:
    """Names of values from which an output follows."""
    names = {o.name for o in graph.output}
    for node in reversed(graph.node):
        if names.intersection(node.output):
            names.update(inputs_of(node))
    return names


def inputs_of(node: onnx.NodeProto) -> Iterator[str]:
    """What a node takes, the values that its inner graphs capture included."""
    yield from (name for name in node.input if name)
    for graph in _inner(node):
        for child in graph.node:
            yield from inputs_of(child)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of those within it."""
    for node in graph.node:
        yield node
        for inner in _inner(node):
            yield from nodes_of(inner)


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def embed(model: onnx.ModelProto, name: str, array: NDArray[Any]) -> None:
    """Puts other values of the same dtype in an initialiser's place, inside the graph."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(array, name))
            return
    raise KeyError(name)
