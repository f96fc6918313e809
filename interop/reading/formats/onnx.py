"""An ONNX model -> a Manifest with its Graph: interface, operators, and where each weight lies.

The protobuf is walked by its tags; embedded tensors are skipped, so that a model of gigabytes is
told of in milliseconds. Weights stand in initializers, in those of branches and loop bodies (named
by the way to them), and in Constant nodes. The numbers below are the field numbers of onnx.proto.
"""

from __future__ import annotations

import hashlib
import struct
from functools import partial
from math import prod
from os.path import normpath
from pathlib import Path

from interop.errors import ReadError
from interop.facts import (
    DTYPE_BITS,
    FEW,
    Graph,
    Json,
    Layout,
    Manifest,
    Port,
    StateDict,
    Storage,
    TensorSpec,
)
from interop.reading.bytes import location as places
from interop.reading.bytes.address import truncated
from interop.reading.bytes.links import climbs, leads_out
from interop.reading.bytes.protobuf import (
    BYTES,
    VARINT,
    Field,
    Malformed,
    Overrun,
    fields,
    integers,
    signed,
    text,
)
from interop.reading.bytes.source import Bytes, Source
from interop.reading.formats import onnx_computation, onnx_outputs, onnx_soundness
from interop.reading.formats.onnx_computation import Step
from interop.reading.formats.onnx_soundness import Function, Node, Scope
from interop.records import replace

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "string", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
    14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4_e2m1fn_x2",
    24: "float8_e8m0fnu",
}  # fmt: skip
# Typed fields whose packed bytes are the tensor's own: float_data, double_data.
_PLAIN_FIELDS = {4: ("float32", "complex64"), 10: ("float64", "complex128")}
_TYPED_FIELDS = frozenset({4, 5, 6, 7, 10, 11})
_NUMBERS = _TYPED_FIELDS | {9}
_MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_MAX_DEPTH = 40
_MAX_NAMES = 10  # a producer has a name and a version
# Nanoseconds and bytes of a node, of each of its fields, of a tensor and of a property: read, held
# against the rules and hashed.
_NODE, _NODE_MEMORY, _FIELD, _FIELD_MEMORY = 4_500, 300, 1_700, 300
_TENSOR, _TENSOR_MEMORY, _PROPERTY, _PROPERTY_MEMORY = 14_000, 1_200, 3_000, 300
_LARGE = 1 << 16  # bytes of a tensor from which on it is left out of the header's hash

# Operators that take a weight as integer codes: where among their inputs stand the codes, the
# scale and the zero point; and the axis of the scales where the node states none.
_DEQUANTIZE = {
    "DequantizeLinear": (0, 1, 2, 1), "com.microsoft::DequantizeLinear": (0, 1, 2, 1),
    "QLinearConv": (3, 4, 5, 0), "QLinearMatMul": (3, 4, 5, -1),
    "com.microsoft::QGemm": (3, 4, 5, -1), "com.microsoft::DynamicQuantizeMatMul": (1, 2, 3, -1),
}  # fmt: skip
Scopes = tuple[str, ...]  # what stands before the names of this graph and of those around it


def read(source: Source) -> Manifest | None:
    """None where the bytes are no ONNX model; ReadError where they are a damaged one."""
    return _Reader(source).read()


def locations(path: str) -> list[str]:
    """The external files that a model names, as it names them; none has to be there. [] where the
    bytes are no ONNX model. Raises ReadError where they are a damaged one."""
    with Source(path) as source:
        reader = _Locations(source)
        reader.read()
        return list(reader.externals)


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = source.data
        self.fields = partial(fields, source.data, budget=source.budget)
        self.opsets: dict[str, int] = {}
        self.metadata: dict[str, Json] = {}
        self.producer = ["", ""]
        self.operators: dict[str, int] = {}
        self.functions: list[Function] = []
        self.root = self.scope = Scope()
        self.within: list[Scope] = []  # the graphs in the attributes of the node that is read
        self.version = 0
        self.steps: list[Step] = []
        self.captured: set[str] = set()  # names that nodes of inner graphs take
        self.bodies: list[bytes] = []
        self.tensors: list[TensorSpec] = []
        self.small: dict[str, TensorSpec] = {}
        self.places: dict[str, tuple[int, int]] = {}
        self.uses: list[tuple[Scopes, list[str], int]] = []
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.skipped: list[tuple[int, int]] = []
        self.externals: dict[str, tuple[str, int]] = {}

    def read(self) -> Manifest | None:
        if (graph := self.model()) is None:
            return None
        try:
            self.graph(*graph)
        except Malformed:
            return None
        if not self.operators and not self.tensors:
            return None
        for function in self.functions:
            self.operators.pop(_operator(function.domain, function.name), None)
        try:
            self.set_quantizers()
            return self.manifest()
        except Malformed:
            what = "a tensor of the ONNX model is damaged"
            raise truncated(self.source.path, what) from None

    # ------------------------------------------------------------ the model

    def model(self) -> tuple[int, int] | None:
        """Reads all but the graph; gives where the graph lies."""
        graph = None
        version = names = 0
        try:
            for field in self.fields(0, self.source.size):
                number, wire, a, b = field
                if number not in _MODEL_FIELDS or wire != (VARINT if number in (1, 5) else BYTES):
                    return None
                if number == 1:
                    self.version = version = a
                elif number == 7:
                    graph = (a, b)
                elif number in (2, 3):
                    names += 1
                    if names > _MAX_NAMES:
                        return None  # field 2 of a SavedModel is one of its graphs
                    self.producer[number - 2] = text(self.data, field)
                elif number == 8:
                    self.opsets |= self.opset(a, b)
                elif number == 14:
                    self.source.budget.spend(_PROPERTY, _PROPERTY_MEMORY)
                    key, value = self.pair(a, b)
                    self.metadata[key] = value
                elif number == 20:
                    self.training(a, b)
                elif number == 25:
                    self.function(a, b)
        except Overrun as error:
            # A model states its version first; without that, these are somebody else's bytes.
            if 3 <= version < 100 and error.number in (2, 3, 7, 8, 14):
                raise truncated(self.source.path, "an ONNX model that is cut off") from None
            return None
        except Malformed:
            return None
        return graph if 1 <= version < 100 or self.opsets else None

    def opset(self, at: int, end: int) -> dict[str, int]:
        domain, version = "", 0
        for field in self.fields(at, end):
            if field[0] == 1:
                domain = text(self.data, field)
            elif field[0] == 2 and field[1] == VARINT:
                version = signed(field[2])
        return {"" if domain == "ai.onnx" else domain: version}

    def pair(self, at: int, end: int) -> tuple[str, str]:
        read = {f[0]: text(self.data, f) for f in self.fields(at, end) if f[0] in (1, 2)}
        return read.get(1, ""), read.get(2, "")

    def function(self, at: int, end: int) -> None:
        """A function that the model defines: its nodes are operators, it itself is none."""
        name = domain = ""
        nodes = []
        opsets: dict[str, int] = {}
        self.scope = body = Scope()
        for field in self.fields(at, end):
            number, _, a, b = field
            if number == 1:
                name = text(self.data, field)
            elif number in (4, 5):
                (body.inputs if number == 4 else body.outputs).append(text(self.data, field))
            elif number == 9:
                opsets |= self.opset(a, b)
            elif number == 10:
                domain = text(self.data, field)
            elif number == 7:
                nodes.append((a, b))
        self.bodies.append(hashlib.blake2b(self.data[at:end], digest_size=16).digest())
        for a, b in nodes:
            self.node(a, b, 0, (f"{name}/",))
        self.captured.clear()  # a function takes what it is given alone
        self.functions.append(Function("" if domain == "ai.onnx" else domain, name, body, opsets))

    # ------------------------------------------------------------ the graph

    def graph(self, at: int, end: int) -> None:
        inputs: list[Port] = []
        self.captured.clear()
        self.scope = self.root
        for number, wire, a, b in self.fields(at, end):
            if wire != BYTES:
                if number in (1, 5, 11, 12):
                    raise Malformed("a graph that is none")
            elif number == 1:
                self.node(a, b, 0, ("",))
            elif number in (5, 15):
                self.initializer(number, a, b, "")
            elif number == 11:
                inputs.append(self.port(a, b))
            elif number == 12:
                self.outputs.append(self.port(a, b))
        self.root.inputs = [port.name for port in inputs]
        self.root.outputs = [port.name for port in self.outputs]
        names = {tensor.name for tensor in self.tensors}
        self.inputs = [port for port in inputs if port.name not in names]

    def initializer(self, number: int, at: int, end: int, prefix: str) -> None:
        read = self.tensor if number == 5 else self.sparse
        if (spec := read(at, end, prefix, None)) is None:
            raise Malformed("a tensor of no known kind")
        self.tensors.append(spec)
        self.scope.initializers.append(spec.name.removeprefix(prefix))

    def node(self, at: int, end: int, depth: int, scopes: Scopes) -> None:
        self.source.budget.spend(_NODE, _NODE_MEMORY + (end - at if end - at < _LARGE else _LARGE))
        kind = domain = name = ""
        inputs, outputs, attributes = [], [], []
        for field in self.fields(at, end, work=_FIELD, memory=_FIELD_MEMORY):
            if (number := field[0]) == 1:
                inputs.append(field)
            elif number == 2:
                outputs.append(field)
            elif number == 3:
                name = text(self.data, field)
            elif number == 4:
                kind = text(self.data, field)
            elif number == 5:
                attributes.append(field)
            elif number == 7:
                domain = text(self.data, field)
        if not kind:
            raise Malformed("a node without an operator")
        operator = _operator(domain, kind)
        self.operators[operator] = self.operators.get(operator, 0) + 1
        # A node needs no name, but the first of its outputs has one that is its own.
        first = text(self.data, outputs[0]) if outputs else ""
        constant = first if operator == "Constant" else None
        stated: dict[str, bytes] = {}
        around, self.within = self.within, []
        for _, _, a, b in attributes:
            key = self.attribute(a, b, depth, scopes, name or first, constant)
            # Of a long one the length must do: its bytes may be a weight's.
            raw = self.data[a:b] if b - a <= _LARGE else str(b - a).encode()
            stated[key] = hashlib.blake2b(raw, digest_size=16).digest()
        taken, results = (tuple(text(self.data, f) for f in x) for x in (inputs, outputs))
        own = "" if domain == "ai.onnx" else domain
        self.scope.nodes.append(Node(own, kind, name, taken, results, self.within))
        self.within = around
        if scopes == ("",):
            captured = tuple(sorted(self.captured))
            self.steps.append(Step(operator, taken, results, stated, captured))
            self.captured.clear()
        else:
            self.captured.update(taken)
        if operator in _DEQUANTIZE:
            self.use(operator, [text(self.data, field) for field in inputs], attributes, scopes)

    def attribute(
        self, at: int, end: int, depth: int, scopes: Scopes, label: str, constant: str | None
    ) -> str:
        """Looks through an attribute for tensors and graphs; gives its name."""
        name = ""
        if end - at < 4:
            return name
        for field in self.fields(at, end):
            number, wire, a, b = field
            if wire != BYTES:
                continue
            if number == 1:
                name = text(self.data, field)
            elif number in (6, 11):
                prefix = f"{scopes[-1]}{label}/{name}/"
                self.source.budget.spend(_NODE, 2 * len(prefix))
                self.subgraph(a, b, depth + 1, (*scopes, prefix))
            elif number in (5, 22) and constant is not None:
                self.constant(number, a, b, scopes[-1], constant)
            elif number in (5, 10):
                self.beside(a, b)
                if b - a > _LARGE:
                    self.skipped.append((a, b))
            elif number in (22, 23):  # sparse: values and indices
                for inner, kind, c, d in self.fields(a, b):
                    if inner in (1, 2) and kind == BYTES:
                        self.beside(c, d)
        return name

    def beside(self, at: int, end: int) -> None:
        """A tensor that is no weight: where it lies in an external file, that must be beside."""
        name, external, places = "", False, {}
        for field in self.fields(at, end):
            if field[0] == 8:
                name = text(self.data, field)
            elif field[0] == 13 and field[1] == BYTES:
                key, value = self.pair(field[2], field[3])
                places[key] = value
            elif field[0] == 14 and field[1] == VARINT:
                external = field[2] == 1
        if external or places:
            self.external_file(name, places.get("location", ""))

    def training(self, at: int, end: int) -> None:
        """The graphs of a training step: not the model, but loaded with it."""
        self.scope = Scope()  # which nothing judges
        for number, wire, a, b in self.fields(at, end):
            if number in (1, 2) and wire == BYTES:
                for inner, kind, c, d in self.fields(a, b):
                    if inner == 5 and kind == BYTES:
                        self.beside(c, d)
                    elif inner == 1 and kind == BYTES:
                        self.node(c, d, 0, ("training/",))

    def constant(self, number: int, at: int, end: int, prefix: str, name: str) -> None:
        """The tensor of a Constant node, by the name of the node's output: a weight if large."""
        spec = (self.tensor if number == 5 else self.sparse)(at, end, prefix, name)
        if spec is None or spec.dtype == "string":
            return
        if len(spec.shape) > 1 or spec.numel > FEW:
            self.tensors.append(spec)
        else:
            self.small[spec.name] = spec

    def subgraph(self, at: int, end: int, depth: int, scopes: Scopes) -> None:
        if depth > _MAX_DEPTH:
            raise Malformed("graphs nested too deeply")
        around, self.scope = self.scope, Scope()
        self.within.append(self.scope)
        for number, wire, a, b in self.fields(at, end):
            if number == 1 and wire == BYTES:
                self.node(a, b, depth, scopes)
            elif number in (5, 15) and wire == BYTES:
                self.initializer(number, a, b, scopes[-1])
            elif number in (11, 12) and wire == BYTES:
                name = self.port(a, b).name
                if number == 12:
                    self.captured.add(name)
                (self.scope.inputs if number == 11 else self.scope.outputs).append(name)
        self.scope = around

    def port(self, at: int, end: int) -> Port:
        name, kind, shape = "", "", ()  # type: str, str, tuple[int | str, ...]
        for field in self.fields(at, end):
            number, _, a, b = field
            if number == 1:
                name = text(self.data, field)
            elif number == 2 and field[1] == BYTES:
                kind, shape = self.type(a, b)
        return Port(name, kind, shape)

    def type(self, at: int, end: int) -> tuple[str, tuple[int | str, ...]]:
        names = {4: "sequence", 5: "map", 7: "opaque", 8: "sparse", 9: "optional"}
        for number, wire, a, b in self.fields(at, end):
            if number == 1 and wire == BYTES:
                return self.tensor_type(a, b)
            if number in names:
                return names[number], ()
        return "", ()

    def tensor_type(self, at: int, end: int) -> tuple[str, tuple[int | str, ...]]:
        kind, shape = "", ("...",)  # type: str, tuple[int | str, ...]
        for number, wire, a, b in self.fields(at, end):
            if number == 1 and wire == VARINT:
                kind = DTYPES.get(a, f"type {a}")
            elif number == 2 and wire == BYTES:
                axes = self.fields(a, b)
                shape = tuple(self.axis(c, d) for n, w, c, d in axes if n == 1 and w == BYTES)
        return kind, shape

    def axis(self, at: int, end: int) -> int | str:
        for field in self.fields(at, end):
            if field[0] == 1 and field[1] == VARINT:
                return signed(field[2])
            if field[0] == 2:
                return text(self.data, field)
        return "?"

    # ------------------------------------------------------------ tensors

    def tensor(self, at: int, end: int, prefix: str, known: str | None) -> TensorSpec | None:
        """One tensor, by its own name or the one `known`; None where its dtype is unknown."""
        shape: list[int] = []
        kind, name, external = 0, "", False
        raw: tuple[int, int] | None = None
        typed: list[Field] = []
        places: dict[str, str] = {}
        for field in self.fields(at, end):
            number, wire, a, b = field
            if number == 1:
                shape += integers(self.data, field)
            elif number == 2 and wire == VARINT:
                kind = a
            elif number == 8:
                name = text(self.data, field)
            elif number == 9 and wire == BYTES:
                raw = (a, b)
            elif number in _TYPED_FIELDS:
                typed.append(field)
            elif number == 13 and wire == BYTES:
                key, value = self.pair(a, b)
                places[key] = value
            elif number == 14 and wire == VARINT:
                external = a == 1
        dtype = DTYPES.get(kind)
        if len(shape) > 64 or any(axis < 0 for axis in shape):
            raise Malformed("a tensor of no known kind")
        if dtype is None:
            return None
        spec = _spec(prefix + (name if known is None else known), dtype, shape)
        self.source.budget.spend(_TENSOR, _TENSOR_MEMORY + 2 * len(spec.name))
        if spec.nbytes:
            self.source.budget.earn()
        self.places.setdefault(spec.name, (at, end))
        if external:
            storage = self.external(spec, places)
        elif raw is not None:
            storage = self.embedded(spec, *raw)
        else:
            storage = self.in_fields(spec, typed)
        return replace(spec, storage=storage)

    def sparse(self, at: int, end: int, prefix: str, known: str | None) -> TensorSpec | None:
        """Values, which bear the name, and the places where they stand."""
        shape: list[int] = []
        parts: list[TensorSpec | None] = [None, None]
        for field in self.fields(at, end):
            number, wire, a, b = field
            if number in (1, 2) and wire == BYTES:
                parts[number - 1] = self.tensor(a, b, prefix, known if number == 1 else None)
            elif number == 3:
                shape += integers(self.data, field)
        values, indices = parts
        if values is None or indices is None or any(axis < 0 for axis in shape):
            raise Malformed("a sparse tensor that is none")
        named = tuple(
            replace(part, name=name) for part, name in ((indices, "indices"), (values, "values"))
        )
        return TensorSpec(
            values.name, values.dtype, tuple(shape), layout=Layout.SPARSE_COO, parts=named
        )

    def embedded(self, spec: TensorSpec, at: int, end: int) -> Storage:
        if end - at > _LARGE:
            self.skipped.append((at, end))
        if end - at != spec.nbytes:
            what = f"tensor {spec.name!r} has {end - at:,} of {spec.nbytes:,} bytes"
            raise truncated(self.source.path, what)
        return Storage(self.source.path, spec.name, self.source.base + at, spec.nbytes)

    def in_fields(self, spec: TensorSpec, typed: list[Field]) -> Storage:
        """Numbers in protobuf's own lists: usable in place only where they are packed floats."""
        offset = -1
        for number, wire, a, b in typed:
            if wire == BYTES and b - a > _LARGE:
                self.skipped.append((a, b))
            fits = spec.dtype in _PLAIN_FIELDS.get(number, ()) and b - a == spec.nbytes
            if wire == BYTES and fits and len(typed) == 1:
                offset = self.source.base + a
        return Storage(self.source.path, spec.name, offset, spec.nbytes)

    def external(self, spec: TensorSpec, stated: dict[str, str]) -> Storage:
        path, size = self.external_file(spec.name, stated.get("location", ""))
        try:
            offset = int(stated.get("offset", "0"))
            nbytes = int(stated.get("length", str(spec.nbytes)))
        except ValueError:
            offset = nbytes = -1
        if offset < 0 or nbytes < spec.nbytes:
            what = f"the place of tensor {spec.name!r} in its external file is none"
            raise truncated(self.source.path, what)
        if offset + nbytes > size:
            what = f"tensor {spec.name!r} reaches past the end of {Path(path).name!r}"
            raise truncated(self.source.path, what)
        return Storage(path, stated["location"], offset, spec.nbytes)

    def external_file(self, name: str, location: str) -> tuple[str, int]:
        """The external file's path and size; it must lie in the model's folder, links resolved."""
        if (known := self.externals.get(location)) is not None:
            return known
        path = places.joined(places.folder_of(self.source.path), location)
        out = not self.source.remote and leads_out(Path(path), Path(self.source.path))
        if climbs(location) or out:
            raise ReadError(
                f"tensor {name!r} lies in {location[:80]!r}, outside of the model's folder",
                where=self.source.path,
                fix="do not load this file; put the data beside it and mend the location",
                rule="external-data-escapes-folder",
            )
        if not places.exists(path):
            what = f"its external file {location[:80]!r} is missing"
            raise truncated(self.source.path, what, "put the file beside the model")
        self.externals[location] = path, places.size(path)
        return self.externals[location]

    def external_size(self) -> int:
        """Bytes of all files beside the graph that hold its tensors, each counted once."""
        others = {normpath(path): size for path, size in self.externals.values()}
        others.pop(normpath(self.source.path), None)
        return sum(others.values())

    # ------------------------------------------------------------ quantized weights

    def use(
        self, operator: str, inputs: list[str], attributes: list[Field], scopes: Scopes
    ) -> None:
        """Note that an operator takes codes, a scale and a zero point."""
        *where, axis = _DEQUANTIZE[operator]
        for _, _, a, b in attributes:
            by_number = {field[0]: field for field in self.fields(a, b)}
            name = text(self.data, by_number[1]) if 1 in by_number else ""
            value = signed(by_number[3][2]) if 3 in by_number else 0
            if name == "axis":
                axis = value
            elif name == "transB" and value:  # of a QGemm
                axis = 0
        names = [inputs[at] if at < len(inputs) else "" for at in where]
        self.uses.append((scopes, names, axis))

    def set_quantizers(self) -> None:
        """Say of each weight that is held in codes what makes numbers of them."""
        known = {spec.name: at for at, spec in enumerate(self.tensors)}

        def find(scopes: Scopes, name: str) -> TensorSpec | None:
            for prefix in reversed(scopes if name else ()):
                if prefix + name in known:
                    return self.tensors[known[prefix + name]]
                if prefix + name in self.small:
                    return self.small[prefix + name]
            return None

        for scopes, (codes, scale, zero), axis in self.uses:
            weight, by, shift = (find(scopes, name) for name in (codes, scale, zero))
            if weight is None or by is None or weight.name not in known:
                continue  # an activation, or a scale that the graph computes
            if zero and shift is None:
                continue
            self.tensors[known[weight.name]] = self.quantized(weight, by, shift, axis)

    def quantized(
        self, weight: TensorSpec, scale: TensorSpec, zero: TensorSpec | None, axis: int
    ) -> TensorSpec:
        if scale.numel == 1 and (zero is None or zero.numel == 1):
            by, shift = self.number(scale), self.number(zero) if zero else "0"
            if by and shift:
                words = f"per_tensor_affine scale {by} zero point {shift}"
                return replace(weight, quantizer=words)
        kind = "per_channel_affine" if len(scale.shape) < 2 else "blockwise_affine"
        parts = [replace(scale, name="scales", parts=())]
        if zero is not None:
            parts.append(replace(zero, name="zero_points", parts=()))
        words = f"{kind} axis {axis + len(weight.shape) if axis < 0 else axis}"
        return replace(weight, quantizer=words, parts=tuple(parts))

    def number(self, spec: TensorSpec) -> str:
        """The one number of a tensor of this file, in as few digits as tell it; "" for others."""
        letter = _ELEMENTS.get(spec.dtype, "")
        if spec.storage is None or spec.storage.file != self.source.path or letter in ("", "H"):
            return ""
        at = spec.storage.offset - self.source.base
        if spec.storage.offset < 0:
            raw = _listed(self.data, list(self.fields(*self.places[spec.name])))
        else:
            raw = self.data[at : at + spec.nbytes]
        if len(raw) != struct.calcsize(letter):
            return ""
        (value,) = struct.unpack(f"<{letter}", raw)
        shortest = (f"{value:.{digits}g}" for digits in range(6, 17))
        exact = (word for word in shortest if struct.pack(f"<{letter}", float(word)) == raw)
        return str(value) if letter not in "fd" else next(exact, str(value))

    # ------------------------------------------------------------ the result

    def manifest(self) -> Manifest:
        producer = " ".join(part for part in self.producer if part)
        makers = {n: (s.operator, s.inputs) for s in self.steps if s.operator != "Constant"
                  for n in s.outputs}  # fmt: skip
        names = [port.name for port in self.outputs]
        meanings = onnx_outputs.meanings(names, makers)
        given, small = (port.name for port in self.inputs), self.small_numbers()
        opset = self.opsets.get("", 0)
        computation = onnx_computation.computation(
            self.steps, given, names, self.tensors, small, opset, self.bodies
        )
        ports = tuple(self.inputs), tuple(self.outputs)
        faults = onnx_soundness.faults(self.root, self.functions, self.opsets, self.version)
        graph = Graph(*ports, self.opsets, producer, self.operators, meanings, computation, faults)
        tensors = tuple(self.tensors)
        return Manifest(
            path=self.source.path,
            file=self.source.path,
            container="onnx",
            size=self.source.size + self.external_size(),
            header_sha256=self.header_sha256(),
            state_dicts=(StateDict("", tensors, ordered=False),) if tensors else (),
            metadata=self.metadata,
            graph=graph,
        )

    def small_numbers(self) -> dict[str, bytes]:
        """The bytes of tensors in this file that may be arithmetic and no weight."""
        return {
            spec.name: b"".join(
                bytes(self.data[a:b]) if wire == BYTES else str(a).encode()
                for number, wire, a, b in self.fields(*self.places[spec.name])
                if number in _NUMBERS
            )
            for spec in self.tensors
            if spec.name in self.places and spec.is_small and spec.nbytes <= _LARGE
        }

    def header_sha256(self) -> str:
        """Of all bytes but the large tensors'."""
        digest = hashlib.sha256()
        at = 0
        for start, stop in (*sorted(self.skipped), (self.source.size, self.source.size)):
            for piece in self.source.pieces(at, start):
                digest.update(piece)
            at = max(at, stop)
        return digest.hexdigest()


class _Locations(_Reader):
    """Takes every external file for one that is there and large enough."""

    def external_file(self, name: str, location: str) -> tuple[str, int]:
        return self.externals.setdefault(location, (location, 1 << 62))


def _operator(domain: str, kind: str) -> str:
    return f"{domain}::{kind}" if domain not in ("", "ai.onnx") else kind


def _spec(name: str, dtype: str, shape: list[int]) -> TensorSpec:
    """A tensor without its bytes; 4-bit floats are counted in pairs, as torch does."""
    if dtype == "float4_e2m1fn_x2":
        even = bool(shape) and shape[-1] % 2 == 0
        shape = [*shape[:-1], shape[-1] // 2] if even else [(prod(shape) + 1) // 2]
    assert dtype in DTYPE_BITS
    return TensorSpec(name, dtype, tuple(shape))


# ---------------------------------------------------------------- values in protobuf's lists

# float_data and double_data: their bytes are the numbers' own; the others hold varints.
_FLOAT_FIELDS = frozenset({4, 10})
_ELEMENTS = {
    "float32": "f", "float64": "d", "int64": "q", "uint64": "Q", "int32": "i", "uint32": "I",
    "int16": "h", "uint16": "H", "int8": "b", "uint8": "B", "bool": "B", "float16": "H",
    "bfloat16": "H", "complex64": "f", "complex128": "d",
}  # fmt: skip


def storage_bytes(path: str, key: str) -> bytes:
    """The dense bytes of a tensor whose numbers stand in protobuf's own lists."""
    with Source(path) as source:
        reader = _Reader(source)
        reader.read()
        if (place := reader.places.get(key)) is None:
            raise truncated(path, f"tensor {key!r} is gone from it")
        return _listed(source.data, list(fields(source.data, *place)))


def _listed(data: Bytes, parts: list[Field]) -> bytes:
    kind = next((DTYPES.get(a, "") for number, _, a, _ in parts if number == 2), "")
    letter = _ELEMENTS.get(kind, "B")
    packed = bytearray()
    numbers: list[int] = []
    for part in parts:
        number, wire, a, b = part
        if number in _FLOAT_FIELDS:
            packed += data[a:b]
        elif number in _TYPED_FIELDS and not (wire == BYTES and number == 6):
            numbers += integers(data, part)
    if not numbers:
        return bytes(packed)
    mask = (1 << 8 * struct.calcsize(letter)) - 1
    unsigned = letter.upper()
    return struct.pack(f"<{len(numbers)}{unsigned}", *(number & mask for number in numbers))
