"""An ONNX file and the names of values within it -> those values, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import onnx
import onnxruntime

from interop.proof import graph as graphs
from interop.runtimes.base import Array

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

    def sources(self, name: str, named: Collection[str]) -> list[str]:
        """The nearest values of `named`, or inputs, that a value is computed from."""
        origins: dict[str, None] = {}
        waiting, seen = list(self._taken(name)), {name}
        while waiting:
            value = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in named or value in self.inputs:
                origins[value] = None
            else:
                waiting += self._taken(value)
        return list(origins)

    def _taken(self, name: str) -> list[str]:
        node = self.producer.get(name)
        return list(graphs.inputs_of(node)) if node is not None else []

    def _session(self, names: Sequence[str], optimised: bool) -> onnxruntime.InferenceSession:
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        further = [n for n in names if n not in self.outputs]
        copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in further)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        levels = onnxruntime.GraphOptimizationLevel
        level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        options.add_session_config_entry(_FOLDER, str(self.path.parent.resolve()))
        data = copy.SerializeToString()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
