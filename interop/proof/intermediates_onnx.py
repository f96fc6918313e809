"""An ONNX file and the names of values within it -> those values, as ONNX Runtime computes them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnxruntime

from interop.proof import graph as graphs
from interop.runtimes.base import Array

# Values held at a time, in bytes.
CHUNK = 256 << 20
# Operators whose result says nothing of the numbers that they are given.
_SHAPES = {"Shape", "Size", "ConstantOfShape"}
_FOLDER = "session.model_external_initializers_file_folder_path"


class Observed:
    """A graph that gives any of its values, not its outputs alone.

    `path` is read and never changed; a copy in memory is given the further outputs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = graphs.read(path)
        constants = {t.name for t in self.model.graph.initializer}
        self.inputs = [i.name for i in self.model.graph.input if i.name not in constants]
        self.outputs = [o.name for o in self.model.graph.output]
        self.nodes = list(self.model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output if name}

    def values(
        self, names: Sequence[str], batch: Mapping[str, Array], *, optimised: bool
    ) -> dict[str, Array]:
        """The values of that name (sequences and the like are left out).

        With `optimised`, ONNX Runtime rewrites the graph as it does for everybody; what is asked
        for is then kept whole, and so may hinder the very rewriting that is looked for.
        """
        session = self._session(names, optimised)
        arrays = session.run(list(names), dict(zip(self.inputs, batch.values(), strict=True)))
        return {n: a for n, a in zip(names, arrays, strict=True) if hasattr(a, "dtype")}

    @property
    def dependent(self) -> list[str]:
        """The values that depend on the numbers of an input, in the order of the nodes."""
        names, live = [], set(self.inputs)
        for node in self.nodes:
            if node.op_type not in _SHAPES and not live.isdisjoint(graphs.inputs_of(node)):
                live.update(n for n in node.output if n)
                names += [n for n in node.output if n]
        return names

    def parts(self, names: Sequence[str], batch: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """The values of those names without optimisation, as many at a time as CHUNK holds."""
        sizes = self._sizes(names, batch)
        part: list[str] = []
        for name in names:
            if part and sum(sizes[n] for n in part) + sizes[name] > CHUNK:
                yield self.values(part, batch, optimised=False)
                part = []
            part.append(name)
        if part:
            yield self.values(part, batch, optimised=False)

    def first(self, count: int) -> Observed:
        """The graph of the first `count` nodes alone."""
        part = copy.copy(self)
        part.model = onnx.ModelProto()
        part.model.CopyFrom(self.model)
        part.nodes = self.nodes[:count]
        part.producer = {name: node for node in part.nodes for name in node.output if name}
        kept = [o for o in self.model.graph.output if o.name in part.producer]
        for field, values in (("node", part.nodes), ("output", kept), ("value_info", [])):
            part.model.graph.ClearField(field)
            getattr(part.model.graph, field).extend(values)
        part.outputs = [o.name for o in kept]
        return part

    def taken(self, name: str) -> list[str]:
        """The values that the node which gives a value takes."""
        node = self.producer.get(name)
        return list(graphs.inputs_of(node)) if node is not None else []

    def sources(self, name: str, named: Collection[str]) -> list[str]:
        """The nearest values of `named`, or inputs, that a value is computed from."""
        origins: dict[str, None] = {}
        waiting, seen = list(self.taken(name)), {name}
        while waiting:
            value = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in named or value in self.inputs:
                origins[value] = None
            else:
                waiting += self.taken(value)
        return list(origins)

    def _sizes(self, names: Sequence[str], batch: Mapping[str, Array]) -> dict[str, int]:
        """At most so many bytes each, from one run that gives their sizes alone."""
        sized = copy.copy(self)
        sized.model = onnx.ModelProto()
        sized.model.CopyFrom(self.model)
        sized.model.graph.node.extend(
            onnx.helper.make_node("Size", [n], [f"{n}/interop-size"]) for n in names
        )
        wanted = [f"{n}/interop-size" for n in names]
        try:
            counts = sized.values(wanted, batch, optimised=False)
        except Exception:  # ONNX Runtime's own, of whatever class: a sequence has no size
            return dict.fromkeys(names, CHUNK // 64)
        return {n: 8 * int(counts[w]) for n, w in zip(names, wanted, strict=True)}

    def _session(self, names: Sequence[str], optimised: bool) -> onnxruntime.InferenceSession:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        further = [n for n in names if n not in self.outputs]
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in further)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        levels = onnxruntime.GraphOptimizationLevel
        level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        options.add_session_config_entry(_FOLDER, str(self.path.parent.resolve()))
        data = model.SerializeToString()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
