"""A graph and batches -> what its nodes hand to each other, and where that leaves all bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from interop.proof import graph as graphs

_FEW = 4
_NEVER = 1e30  # a mask's, no sum's


def on_the_way(
    model: Path, batches: Iterable[Any], native: Path | None = None
) -> tuple[float, str]:
    """The largest absolute value that any node gives, and that node as "name (operator)".

    Where a value is not finite: infinity and, of the first batch that shows one, the first node.
    Of values that mean "never" in the graph `native` (masks of attention) none counts. Each batch
    is cut to a few samples, since every node's output is held at once.
    """
    largest, of = 0.0, ""
    ours = _values(model, batches)
    theirs = _values(native, batches) if native else repeat({})
    for values, meant in zip(ours, theirs, strict=False):
        for output, (node, value) in values.items():
            if output in meant and meant[output][1].shape == value.shape:
                value = value[np.abs(meant[output][1]) < _NEVER]
            most = float(np.abs(value).max(initial=0))
            name = f"{node.name or output} ({node.op_type})"
            if not np.isfinite(most):
                return float("inf"), name
            if most > largest:
                largest, of = most, name
    return largest, of


def masked(model: Path, batches: Iterable[Any]) -> list[str]:
    """Names of nodes that take or give what means "never": no scale has room for that."""
    names: set[str] = set()
    for values in _values(model, batches):
        beyond = {o for o, (_, v) in values.items() if (np.abs(v) >= _NEVER).any()}
        nodes = {id(n): n for n, _ in values.values()}.values()
        names |= {n.name for n in nodes if n.name and beyond.intersection((*n.input, *n.output))}
    return sorted(names)


def _values(
    model: Path, batches: Iterable[Any]
) -> Iterator[dict[str, tuple[onnx.NodeProto, NDArray[Any]]]]:
    """For each batch, of every value of a floating-point type between nodes: whose and what."""
    graph = graphs.read(model)
    known = {o.name for o in graph.graph.output}
    nodes = {o: n for n in graph.graph.node for o in n.output if o}
    more = [onnx.helper.make_empty_tensor_value_info(o) for o in nodes if o not in known]
    graph.graph.output.extend(more)
    session = _as_written(graph, model.parent)
    for batch in batches:
        arrays = session.run(list(nodes), _few(session, batch))
        yield {
            output: (nodes[output], value)
            for output, value in zip(nodes, arrays, strict=True)
            if getattr(value, "dtype", np.dtype(int)).kind == "f"
        }


def _few(session: Any, batch: Any) -> dict[str, NDArray[Any]]:
    first = session.get_inputs()[0]
    named = batch if isinstance(batch, Mapping) else {first.name: batch}
    fixed = isinstance(first.shape[0], int) if first.shape else True
    return {n: v if fixed else v[:_FEW] for n, v in named.items()}


def _as_written(graph: onnx.ModelProto, folder: Path) -> Any:
    """A session that runs each node by itself: fused ones have other outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    place = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(place, str(folder.resolve()))
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
