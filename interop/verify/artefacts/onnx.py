"""An ONNX graph of any tool -> its weights as they are meant, its codes with their scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import onnx
from onnx import numpy_helper

from interop.errors import ReadError
from interop.facts import FEW, Identity, Port, Proof
from interop.models.signature import Signature
from interop.proof import Feed, structure
from interop.proof import graph as graphs
from interop.proof.accounted import ArtefactWeights, Codes
from interop.proof.canary import OnnxSubject
from interop.reading.formats.onnx import locations
from interop.runtimes import OnnxRuntime, OpenVinoRuntime
from interop.runtimes.base import Array, Runtime
from interop.verify.artefacts.base import Artefact

# Where among an operator's inputs stand codes, scale and zero point, and the axis of the scales.
_CODES: Mapping[str, tuple[int, int, int, int]] = {
    "DequantizeLinear": (0, 1, 2, 1), "QLinearConv": (3, 4, 5, 0), "QLinearMatMul": (3, 4, 5, -1),
    "QGemm": (3, 4, 5, -1), "DynamicQuantizeMatMul": (1, 2, 3, -1),
}  # fmt: skip
_BIASED = {"QLinearConv": (8, 1, 4), "QGemm": (6, 1, 4)}  # bias, and the scales of input and weight
_ACTIVATIONS = ("QuantizeLinear", "DequantizeLinear")
_STORED = ("int8", "uint8", "int4", "uint4", "float8_e4m3fn", "float8_e5m2")


class OnnxArtefact(Artefact):
    """An ONNX file, its external data where they lie.

    Raises ReadError where those are missing.
    """

    kind = "graph"

    def __init__(self, identity: Identity, device: str, runtime: str = "onnxruntime") -> None:
        super().__init__(identity, device)
        self.runtime = runtime
        for name in locations(str(self.path)):
            if not (self.path.parent / name).is_file():
                what = f"its weights lie in {name}, which is not beside it"
                fix = "fetch that file too, into the graph's folder"
                raise ReadError(what, where=str(self.path), fix=fix)
        self.model = graphs.read(self.path)
        self.constants = dict(_constants(self.model.graph))
        self.precision = self._precision()

    @property
    def ports(self) -> tuple[Port, ...]:
        graph = self.identity.manifest.graph
        return graph.inputs if graph is not None else ()

    def open(self, takes: Signature) -> Runtime:
        if self.runtime == "openvino":
            return OpenVinoRuntime(self.path, self.device)
        return OnnxRuntime(self.path, self.device, spin=False, arena=False)

    def answers(self, runtime: Runtime, batch: Mapping[str, Array]) -> dict[str, Array]:
        names = [o.name for o in self.model.graph.output]
        return dict(zip(names, runtime.outputs(batch), strict=True))

    def shapes(self, runtime: Runtime) -> dict[str, tuple[int | str | None, ...]]:
        return {p.name: p.shape for p in self.ports}

    def structure(self, feed: Feed, width: int | None, runtime: Runtime) -> Proof:
        opened = runtime if isinstance(runtime, OnnxRuntime) else None
        proof, session, _ = structure(
            self.path, feed, width=width, device=self.device, weights=(), graph=self.model,
            opened=opened,
        )  # fmt: skip
        if session is not None and opened is None:
            session.close()
        if faults := self.undone_otherwise():
            what = "; ".join([*faults[:4], *([] if proof.holds else [proof.what])])
            return replace(proof, holds=False, what=what)
        return proof

    def subject(self, takes: Signature) -> OnnxSubject:
        return OnnxSubject(self.path, self.device, self.model)

    # ------------------------------------------------------------ the weights

    def weights(self) -> ArtefactWeights:
        codes, scales = self._codes
        large = [
            n for n, t in self.constants.items()
            if graphs.DTYPES.get(t.data_type, "int4") in _STORED and np.prod(t.dims) > FEW
            and n not in codes and n not in scales
        ]  # fmt: skip
        blocked = frozenset(
            n
            for node in self.model.graph.node
            if node.domain.endswith(".nchwc")
            for n in node.input
        )
        return ArtefactWeights(_Read(self), codes, frozenset(scales), tuple(large), blocked)

    def array(self, name: str) -> Array:
        """The numbers of a constant."""
        return graphs.values(self.constants[name], self.path.parent)

    @cached_property
    def _codes(self) -> tuple[dict[str, Codes], set[str]]:
        """Codes of weights by name, and the names of all scales and zero points."""
        codes: dict[str, Codes] = {}
        scales: set[str] = set()
        for node in graphs.nodes_of(self.model.graph):
            if node.op_type in _CODES:
                at, scale, zero, axis = _CODES[node.op_type]
                stated = [a.i for a in node.attribute if a.name == "axis"]
                self._note(codes, scales, node, (at, scale, zero), stated[0] if stated else axis)
            if node.op_type == "DynamicQuantizeLSTM":
                self._gates(codes, scales, node)
            if node.op_type in _BIASED:
                bias, one, two = _BIASED[node.op_type]
                self._bias(codes, node, bias, one, two)
            if node.op_type.startswith(("QLinear", "QuantizeLinear", "DequantizeLinear", "QGemm")):
                scales |= {n for n in node.input[1:] if n in self.constants and n not in codes}
        for name in self.constants:  # whole numbers that a later node scales
            if name.endswith("_quantized") and name not in codes:
                self._named(codes, scales, name)
        return codes, scales - set(codes)

    def _note(
        self, codes: dict[str, Codes], scales: set[str], node: onnx.NodeProto,
        places: tuple[int, int, int], axis: int,
    ) -> None:  # fmt: skip
        name, scale, zero = (node.input[i] if i < len(node.input) else "" for i in places)
        if name not in self.constants or scale not in self.constants:
            return
        zeros = self.array(zero) if zero in self.constants else np.zeros((), np.int8)
        ndim = len(self.constants[name].dims)
        codes[name] = Codes(self.array(scale), zeros, axis % max(ndim, 1))
        scales |= {scale, zero}

    def _named(self, codes: dict[str, Codes], scales: set[str], name: str) -> None:
        """By the names that ONNX Runtime's quantiser gives."""
        stem = name.removesuffix("_quantized")
        scale, zero = f"{stem}_scale", f"{stem}_zero_point"
        if scale in self.constants:
            zeros = self.array(zero) if zero in self.constants else np.zeros((), np.int8)
            ndim = len(self.constants[name].dims)
            codes[name] = Codes(self.array(scale), zeros, 0 if ndim > 2 else max(ndim - 1, 0))
            scales |= {scale, zero}

    def _gates(self, codes: dict[str, Codes], scales: set[str], node: onnx.NodeProto) -> None:
        """Of a quantised LSTM: weights (directions, inputs, gates), a scale a gate or one."""
        for at, scale, zero in ((1, 8, 9), (2, 10, 11)):
            names = [node.input[i] for i in (at, scale, zero)]
            if all(n in self.constants for n in names):
                by_gate = [self.array(n) for n in names[1:]]
                one, two = (a[:, None, :] if a.ndim == 2 else a for a in by_gate)
                codes[names[0]] = Codes(one, two)
                scales |= set(names[1:])

    def _bias(
        self, codes: dict[str, Codes], node: onnx.NodeProto, bias: int, one: int, two: int
    ) -> None:
        names = [node.input[i] if i < len(node.input) else "" for i in (bias, one, two)]
        if all(n in self.constants for n in names):
            scale = self.array(names[1]).astype(np.float64) * self.array(names[2])
            codes[names[0]] = Codes(scale, np.zeros((), np.int32), 0)

    def _precision(self) -> str:
        """What the weights were lowered to, by the largest share of their bytes."""
        if self._codes[0] or self.weights().unread:
            return "int8"
        sizes: dict[str, int] = {}
        for tensor in self.constants.values():
            kind = graphs.DTYPES.get(tensor.data_type, "")
            if kind in graphs.FLOATS and np.prod(tensor.dims) > FEW:
                sizes[kind] = sizes.get(kind, 0) + int(np.prod(tensor.dims))
        lowest = [k for k in ("float16", "bfloat16") if sizes.get(k)]
        return lowest[0] if lowest else ""

    def undone_otherwise(self) -> list[str]:
        """Where codes are read by another scale or zero point than they were written by."""
        made = {o: n for n in self.model.graph.node for o in n.output}
        faults = []
        for node in self.model.graph.node:
            before = made.get(node.input[0]) if node.input else None
            if node.op_type != "DequantizeLinear" or before is None:
                continue
            if before.op_type != "QuantizeLinear":
                continue
            for i, what in ((1, "scale"), (2, "zero point")):
                names = [n.input[i] if i < len(n.input) else "" for n in (before, node)]
                if names[0] == names[1] or not all(n in self.constants for n in names):
                    continue
                a, b = map(self.array, names)
                if a.shape != b.shape or not np.array_equal(a, b):
                    faults.append(f"{node.name or node.output[0]} undoes another {what} than "
                                  f"{before.name or before.output[0]} applied")  # fmt: skip
        return faults


class _Read:
    """The constants of a graph one after the other, as often as they are asked for."""

    def __init__(self, artefact: OnnxArtefact) -> None:
        self.artefact = artefact

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        for name in self.artefact.constants:
            yield name, self.artefact.array(name)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Initialisers and the tensors of Constant nodes, those of inner graphs too."""
    yield from ((t.name, t) for t in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t
                elif attribute.name in ("value_float", "value_floats"):
                    numbers = attribute.floats or [attribute.f]
                    array = np.array(numbers, dtype=np.float32)
                    yield node.output[0], numpy_helper.from_array(array, node.output[0])
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else attribute.graphs
            for one in inner:
                yield from _constants(one)
