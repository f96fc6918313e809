"""A graph of ONNX that faults are put into: what makes and takes each value, and small edits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.external_data_helper import uses_external_data

Array = np.ndarray[Any, Any]
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


class Graph:
    """A model whose large weights stay in the file beside it until one is changed."""

    def __init__(
        self, path: Path, names: tuple[str, ...] = (), labels: tuple[str, ...] = (),
        guarded: bool = False,
    ) -> None:  # fmt: skip
        self.model = onnx.load(str(path), load_external_data=False)
        self.folder = path.parent
        self.given = names  # the module's own names of its inputs, in the graph's order
        self.labels, self.guarded = labels, guarded  # of its source
        self.fresh = 0

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        own = {t.name for t in self.graph.initializer}
        return [i for i in self.graph.input if i.name not in own]

    @property
    def opset(self) -> int:
        return next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))

    def nodes(self, *kinds: str) -> list[onnx.NodeProto]:
        return [n for n in self.graph.node if n.op_type in kinds]

    def maker(self, value: str) -> onnx.NodeProto | None:
        return next((n for n in self.graph.node if value in n.output), None)

    def takers(self, value: str) -> list[onnx.NodeProto]:
        return [n for n in self.graph.node if value in n.input]

    # ------------------------------------------------------------ numbers

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The initialiser or constant behind a value, through nodes that change no number."""
        for t in self.graph.initializer:
            if t.name == name:
                return t
        node = self.maker(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            return next((a.t for a in node.attribute if a.name == "value"), None)
        return self.tensor(node.input[0]) if node.op_type == "Identity" else None

    def weight(self, name: str) -> onnx.TensorProto | None:
        """The same, through nodes that lay a weight out otherwise, too."""
        node = self.maker(name)
        if node is not None and node.op_type in ("Transpose", "Identity", "DequantizeLinear"):
            return self.weight(node.input[0])
        return self.tensor(name)

    def numbers(self, tensor: onnx.TensorProto) -> Array:
        return np.array(numpy_helper.to_array(tensor, base_dir=str(self.folder)))

    def value(self, name: str) -> Array | None:
        tensor = self.tensor(name)
        return None if tensor is None else self.numbers(tensor)

    def put(self, tensor: onnx.TensorProto, numbers: Array) -> None:
        """Give a tensor other numbers, in the graph itself."""
        kept = self.numbers(tensor).dtype
        new = numpy_helper.from_array(np.ascontiguousarray(numbers.astype(kept)), tensor.name)
        tensor.CopyFrom(new)

    def weights(self, least: int = 2) -> list[onnx.TensorProto]:
        """Initialisers that are weights: of floats, and more than a few numbers."""
        return [
            t for t in self.graph.initializer
            if t.data_type in FLOATS and len(t.dims) >= 1 and np.prod(t.dims) > least
        ]  # fmt: skip

    def constant(self, numbers: Array | float | int | list[int]) -> str:
        """A new initialiser's name. Whole numbers are int64, others float32."""
        array = np.asarray(numbers)
        kind = np.int64 if array.dtype.kind in "iu" else array.dtype
        array = array.astype(np.float32 if array.dtype == np.float64 else kind)
        name = self.name("number")
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def name(self, what: str = "value") -> str:
        self.fresh += 1
        return f"mutant_{what}_{self.fresh}"

    # ------------------------------------------------------------ edits

    def add(self, kind: str, inputs: list[str], place: int, out: str = "", **attributes: Any
            ) -> str:  # fmt: skip
        """Put a node at a place of the graph; the name of what it gives."""
        out = out or self.name()
        node = helper.make_node(kind, inputs, [out], name=self.name("node"), **attributes)
        self.graph.node.insert(place, node)
        return out

    def place(self, node: onnx.NodeProto) -> int:
        return next(i for i, n in enumerate(self.graph.node) if n.output[0] == node.output[0])

    def behind(self, value: str) -> tuple[str, int]:
        """Take a value away from all that use it: the name it now has, and the place behind its
        maker. Whatever is put there has to give the old name, or for an input `rewired`."""
        node = self.maker(value)
        assert node is not None
        was = self.name("was")
        node.output[list(node.output).index(value)] = was
        for info in list(self.graph.value_info):
            if info.name == value:
                self.graph.value_info.remove(info)
        return was, self.place(node) + 1

    def rewire(self, old: str, new: str, but: str = "") -> None:
        """Have all nodes take another value, but for the one that gives `but`."""
        for node in self.graph.node:
            if but in node.output:
                continue
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new

    def bypass(self, node: onnx.NodeProto, kept: int = 0) -> None:
        """Have a node give one of its inputs as it is."""
        same = helper.make_node("Identity", [node.input[kept]], [node.output[0]])
        self.graph.node[self.place(node)].CopyFrom(same)

    def get(self, node: onnx.NodeProto, name: str, default: Any = None) -> Any:
        found = next((a for a in node.attribute if a.name == name), None)
        return default if found is None else helper.get_attribute_value(found)

    def set(self, node: onnx.NodeProto, name: str, value: Any) -> None:
        self.unset(node, name)
        node.attribute.append(helper.make_attribute(name, value))

    def unset(self, node: onnx.NodeProto, name: str) -> None:
        for attribute in list(node.attribute):
            if attribute.name == name:
                node.attribute.remove(attribute)

    def rename(self, node: onnx.NodeProto, kind: str, *, keep: tuple[str, ...] = ()) -> None:
        """Make it a node of another operator."""
        node.op_type, node.domain = kind, ""
        for attribute in list(node.attribute):
            if attribute.name not in keep:
                node.attribute.remove(attribute)

    # ------------------------------------------------------------ ways

    def above(self, value: str, steps: int = 6) -> Iterator[onnx.NodeProto]:
        """The nodes from which a value follows, the nearest first."""
        queue, seen = deque([(value, 0)]), set()
        while queue:
            name, depth = queue.popleft()
            node = self.maker(name)
            if node is None or node.output[0] in seen or depth >= steps:
                continue
            seen.add(node.output[0])
            yield node
            queue.extend((i, depth + 1) for i in node.input if i)

    def depends(self, value: str) -> bool:
        """Whether a value follows from an input of the graph."""
        given = {i.name for i in self.inputs}
        if value in given:
            return True
        return any(given.intersection(n.input) for n in self.above(value, 10_000))

    def save(self, path: Path) -> None:
        """Write it without what the exporter noted of shapes, which a fault may change."""
        del self.graph.value_info[:]
        onnx.save(self.model, str(path))

    def touched(self) -> list[str]:
        """Initialisers whose numbers are in the graph itself."""
        return [t.name for t in self.graph.initializer if not uses_external_data(t)]
