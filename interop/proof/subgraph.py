"""A graph that departs from its source -> a folder with the smallest part of it that still does.

The folder needs ONNX Runtime and numpy alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from interop.errors import InteropError
from interop.facts import Json
from interop.proof import failure_folder
from interop.proof import graph as graphs
from interop.proof.alignment import Search
from interop.proof.divergence import WITH, Departure
from interop.proof.parity import STATED
from interop.proof.source_values import SourceValues
from interop.runtimes.base import Array

GRAPH, DATA = "subgraph.onnx", "subgraph.onnx.data"
EMBEDDED = 100 << 20  # bytes of weights in the graph; more lie next to it

_REPRODUCE = (
    '''"""Runs the part of the graph and compares it with the source; exit 1 if they differ."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent


'''
    + failure_folder.DIFFERENCE
    + """

def main():
    inputs = dict(np.load(HERE / "inputs.npz"))
    expected = dict(np.load(HERE / "source_answer.npz"))
    bound = json.loads((HERE / "departure.json").read_text("utf-8"))["subgraph"]["allowed"]
    levels = onnxruntime.GraphOptimizationLevel
    differs = False
    for words, level in (("off", levels.ORT_DISABLE_ALL), ("on", levels.ORT_ENABLE_ALL)):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        try:
            session = onnxruntime.InferenceSession(
                str(HERE / "subgraph.onnx"), options, providers=["CPUExecutionProvider"]
            )
            found = session.run(list(expected) or None, inputs)
        except Exception as error:
            print(f"optimisation {words}: fails: {error}")
            differs = True
            continue
        for (name, right), value in zip(expected.items(), found):
            far = difference(value, right)
            print(f"optimisation {words}: {name} differs by {far:.3e} of the largest value "
                  f"({bound:.1e} allowed), shapes {value.shape} and {right.shape}")
            differs |= not far <= bound
    return int(differs)


if __name__ == "__main__":
    print("onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
    sys.exit(main())
"""
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a graph that fails, its inputs, what it gives and what it should give.

    `given` is empty if it does not run, `right` if no value of the source is the right answer.
    """

    model: onnx.ModelProto
    inputs: dict[str, Array]
    given: dict[str, Array]
    right: dict[str, Array]


def write_subgraph(
    folder: Path,
    source: SourceValues,
    graph: Path,
    batch: Mapping[str, Array],
    outputs: Sequence[Array],
    departure: Departure,
    *,
    fed: Mapping[str, Array] | None = None,
) -> dict[str, int]:
    """Write the smallest part of `graph` that fails, and return the files with their sizes.

    The arguments are those of `alignment.first_departure`, which gave `departure`. The part begins
    at values that match the source and ends at the first value behind the departing node that has
    a right answer. If the node departs on one row alone, the inputs are that row. The folder
    appears whole or not at all; an older one is replaced. Raises InteropError if no node departs,
    or if something else has the folder's name.
    """
    fed = batch if fed is None else fed
    search = Search(source, graph, batch, outputs, fed=fed)
    found = search.find()
    if not departure.found or not found.found:
        what = "no node departs from the source, so there is no part of the graph to write"
        raise InteropError(what, where=str(graph), fix="compare the outputs as a whole")
    row = _row(search, outputs)
    if row is not None:
        few, few_fed = ({n: a[row : row + 1] for n, a in arrays.items()} for arrays in (batch, fed))
        one = Search(source, graph, few, [o[row : row + 1] for o in outputs], fed=few_fed)
        if _tried(one) == found.node:
            search = one
    rows = next((len(a) for a in search.batch.values() if a.ndim), 1)
    part = smallest(search, graph.parent, found)
    account: dict[str, Json] = {
        "subgraph": {
            "nodes": [n.name or n.output[0] for n in part.model.graph.node],
            "inputs": list(part.inputs),
            "output": search.end,
            "rows": rows,
            "allowed": found.bound or STATED,
        }
    }
    readme = _readme(departure, part)
    with failure_folder.written(folder, departure, _REPRODUCE, readme, account) as (place, files):
        _save(part.model, place / GRAPH)
        for name in ("inputs", "given", "right"):
            file = {"given": "graph_answer", "right": "source_answer"}.get(name, name)
            failure_folder.save(place / f"{file}.npz", getattr(part, name))
    return files


def smallest(search: Search, folder: Path, found: Departure) -> Part:
    """The part that ends at the search's last value and fails, grown backwards until it does.

    `folder` has the graph's external data. Values that do not match the source are never a part's
    inputs, as they may be wrong themselves.
    """
    whole = search.whole
    right = {search.end: search.pair.right} if search.pair is not None else {}
    depth, before = 1, set[str]()
    while True:
        taken = _within(search, depth)
        inputs = _inputs(search, taken, search.batch)
        model = cut(whole.model, folder, search.end, inputs)
        given = {}
        for optimised in (False, True) if found.runtime == WITH else (False,):
            try:
                given = {search.end: _run(model, inputs, optimised=optimised)}
            except Exception:  # ONNX Runtime's own, of whatever class
                return Part(model, inputs, {}, right)
            for name, array in right.items():
                if search.wrong(given[name], array) > (found.bound or STATED):
                    return Part(model, inputs, given, right)
        if taken == before:
            return Part(model, inputs, given, right)
        depth, before = depth + 1, taken


def cut(
    model: onnx.ModelProto, folder: Path, end: str, inputs: Mapping[str, Array]
) -> onnx.ModelProto:
    """The nodes that compute `end` from `inputs`, with the weights and functions that they need.

    Weights are read from `folder` into the graph. The inputs have their arrays' types and shapes.
    """
    producer = {name: node for node in model.graph.node for name in node.output if name}
    needed: set[str] = set()
    waiting = [end]
    while waiting:
        name = waiting.pop()
        if name in needed or (name in inputs and name != end):
            continue
        needed.add(name)
        if name in producer:
            waiting += graphs.inputs_of(producer[name])
    part = onnx.ModelProto(ir_version=model.ir_version, producer_name="interop")
    part.opset_import.extend(model.opset_import)
    part.graph.name = "part"
    part.graph.node.extend(n for n in model.graph.node if not needed.isdisjoint(n.output))
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in needed)
    part.graph.sparse_initializer.extend(
        t for t in model.graph.sparse_initializer if t.values.name in needed
    )
    for tensor in part.graph.initializer:
        if graphs.external(tensor):
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    for name, array in inputs.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        part.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    part.graph.output.append(onnx.ValueInfoProto(name=end))
    part.functions.extend(_functions(model, part.graph.node))
    return part


def _functions(
    model: onnx.ModelProto, nodes: Collection[onnx.NodeProto]
) -> list[onnx.FunctionProto]:
    """The model's functions that nodes call, and those that these call."""
    calls = {(n.domain, n.op_type) for n in nodes}
    calls |= {
        (n.domain, n.op_type)
        for node in nodes for a in node.attribute if a.HasField("g") for n in graphs.nodes_of(a.g)
    }  # fmt: skip
    kept: list[onnx.FunctionProto] = []
    while True:
        more = [f for f in model.functions if (f.domain, f.name) in calls and f not in kept]
        if not more:
            return kept
        kept += more
        calls |= {(n.domain, n.op_type) for f in more for n in f.node}


def _within(search: Search, depth: int) -> set[str]:
    """The values to compute: `end`, all that is unmatched before it, and matched ones `depth` deep.

    A matched value counts as one level.
    """
    inside: dict[str, int] = {}
    waiting = [(search.end, depth - 1)]
    while waiting:
        name, left = waiting.pop()
        if inside.get(name, -1) >= left or name in search.graph.inputs:
            continue
        inside[name] = left
        for parent in search.whole.taken(name):
            if parent not in search.matched:
                waiting.append((parent, left))
            elif left > 0:
                waiting.append((parent, left - 1))
    return set(inside)


def _inputs(
    search: Search, inside: Collection[str], batch: Mapping[str, Array]
) -> dict[str, Array]:
    """What the values `inside` take from elsewhere: the graph's own values, which are right."""
    taken = {n for name in inside for n in search.whole.taken(name) if n not in inside}
    fed = {n: a for n, a in batch.items() if n in taken}
    names = [n for n in search.graph.dependent if n in taken]
    values = search.graph.values(names, batch, optimised=False) if names else {}
    return {**fed, **values}


def _run(model: onnx.ModelProto, inputs: Mapping[str, Array], *, optimised: bool) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answer: Array = session.run(None, dict(inputs))[0]
    return answer


def _row(search: Search, outputs: Sequence[Array]) -> int | None:
    """The row in which the first output is furthest off; None if there are no rows to choose."""
    arrays = [*search.batch.values(), *search.fed.values(), *outputs]
    rows = {a.shape[0] if a.ndim else 0 for a in arrays}
    if len(rows) != 1 or rows <= {0, 1}:
        return None
    try:
        found = search.whole.values(search.whole.outputs, search.batch, optimised=False)
        gaps = [
            np.nan_to_num(np.abs(found[n] - o), nan=np.inf).reshape(len(o), -1).max(1)
            for n, o in zip(search.whole.outputs, outputs, strict=True)
        ]
    except Exception:  # it does not run, or gives other shapes: any row shows it
        return 0
    return int(np.argmax(max(gaps, key=np.max)))


def _tried(search: Search) -> str:
    """The node that departs; "" if the graph does not take this batch."""
    try:
        return search.find().node
    except Exception:  # the source's own: it may refuse one row
        return ""


def _save(model: onnx.ModelProto, path: Path) -> None:
    large = sum(len(t.raw_data) for t in model.graph.initializer) >= EMBEDDED
    onnx.save(model, str(path), save_as_external_data=large, location=DATA)


def _readme(departure: Departure, part: Part) -> str:
    ran = "what it gives" if part.given else "empty, as it does not run"
    right = "what the source gives there" if part.right else "empty: the source has no such value"
    return (
        f"{departure.what}.\n"
        "subgraph.onnx is the smallest part of the graph that shows this.\n"
        f"inputs.npz has its inputs, which match the source; graph_answer.npz {ran}; "
        f"source_answer.npz {right}.\n"
        "departure.json says where the graph departs, and under which versions.\n"
        "Run: pip install onnxruntime numpy && python reproduce.py (exit 1 if it differs)\n"
    )
