"""A TensorFlow checkpoint, or a SavedModel folder -> a Manifest, without TensorFlow.

A checkpoint's `.index` is a sorted table of keys and values in blocks, as LevelDB keeps them; each
value is a protobuf message that says where in which `.data-…` file a variable lies. A SavedModel's
saved_model.pb holds the graph and its signatures. The numbers are those of TensorFlow's .proto
files (saved_model, meta_graph, graph, tensor_bundle, types).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path, PurePosixPath

from interop.errors import ReadError
from interop.facts import (
    DTYPE_BITS,
    Graph,
    Import,
    Json,
    Layout,
    Manifest,
    Opened,
    Port,
    StateDict,
    Storage,
)
from interop.facts import TensorSpec as Spec
from interop.reading.bytes import json_text, location, snappy
from interop.reading.bytes.address import is_remote, over_limit, truncated, unrecognised
from interop.reading.bytes.links import leads_out
from interop.reading.bytes.protobuf import (
    BYTES,
    VARINT,
    Field,
    Malformed,
    fields,
    integers,
    signed,
    text,
    varint,
)
from interop.reading.bytes.source import Bytes, Source
from interop.reading.folder import escapes
from interop.reading.formats.keras_config import imported, opened
from interop.reading.formats.tensorflow_graph import Nodes
from interop.reading.pickle.rebuild import MAX_AXES
from interop.reading.pickle.state_dicts import ASIDE
from interop.records import replace

MAX_INDEX = 1 << 26
MAX_SHARDS = 10_000
MAX_GRAPHS = 100
MAX_PORTS = 10_000
_MAX_KEY = 1 << 12
# Nanoseconds and bytes of an entry of a table; nanoseconds of a byte that is summed, or unpacked.
_ENTRY, _ENTRY_MEMORY, _SUMMED, _UNPACKED = 12_000, 1_000, 80, 60
_MAX_CHECKED = 1 << 20  # bytes of an index whose checksums are computed
_SNAPPY = 1
_FOOTER = 48
_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64",
    9: "int64", 10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 17: "uint16",
    18: "complex128", 19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn", 26: "float8_e4m3fnuz", 28: "float8_e5m2fnuz",
}  # fmt: skip
_OTHERS = {7: "string", 20: "resource", 21: "variant"}
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# What stands in a checkpoint beside the variables, and the names of optimizers' slots.
_RECORDS = frozenset({"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter", "global_step"})
_SLOTS = frozenset({"Adam", "Adam_1", "AdamW", "Momentum", "RMSProp", "RMSProp_1", "Adagrad",
                    "Ftrl", "Ftrl_1", "ExponentialMovingAverage"})  # fmt: skip
_COPY = "fetch or save the checkpoint again"
_NAME = attrgetter("name")


# ---------------------------------------------------------------- the table of a checkpoint


def read(source: Source) -> Manifest:
    """A checkpoint by its `.index` file; ReadError where that or a file it names is damaged."""
    if source.size > MAX_INDEX:
        raise over_limit(source.path, f"the index has {source.size:,} bytes")
    try:
        return _Checkpoint(source).read()
    except (Malformed, IndexError):
        raise truncated(source.path, "the index of the checkpoint is damaged", _COPY) from None


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """A block's offset and size, and the byte behind the two numbers."""
    offset, at = varint(data, at, len(data))
    size, at = varint(data, at, len(data))
    return offset, size, at


def _block(source: Source, offset: int, size: int) -> bytes:
    """A block, unpacked; its checksum is of what is in the file, the kind of packing included."""
    if offset + size + 5 > source.size:
        raise Malformed("a block past the end")
    data = source.data[offset : offset + size + 5]
    if source.size <= _MAX_CHECKED:
        source.budget.spend(size * _SUMMED)
        stated = int.from_bytes(data[size + 1 :], "little")
        if snappy.masked_crc(data[: size + 1]) != stated:
            raise Malformed("a block without the checksum it states")
    if data[size] == _SNAPPY:
        source.budget.spend(size * _UNPACKED, size)
        return snappy.unpacked(data[:size], MAX_INDEX)
    if data[size] != 0:
        what = f"the index of the checkpoint is compressed in an unknown way ({data[size]})"
        raise unrecognised(source.path, what, "load it with TensorFlow and save it again")
    return data[:size]


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values: a key is what it shares with the one before, and what is its own."""
    restarts = int.from_bytes(block[-4:], "little")
    if (end := len(block) - 4 * (restarts + 1)) < 0 or len(block) < 4:
        raise Malformed("a block without its end")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at, end)
        own, at = varint(block, at, end)
        length, at = varint(block, at, end)
        if shared > len(key) or shared + own > _MAX_KEY or own + length > end - at:
            raise Malformed("an entry that reaches past its block")
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


class _Checkpoint:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.shards = 1
        self.files: dict[int, tuple[str, int]] = {}
        self.tensors: dict[str, Spec] = {}
        self.aside: dict[str, None] = {}
        self.claimed = 0  # bytes of the variables so far

    def read(self) -> Manifest:
        self.source.budget.spend(0, self.source.size)
        data = self.source.data[: self.source.size]
        for key, value in self.table(data):
            self.source.budget.spend(_ENTRY, _ENTRY_MEMORY + 2 * len(key))
            if not key:
                self.header(value)
            elif key[0] != 0:  # else a part of a variable that is named in full elsewhere
                self.entry(key.decode("utf-8", "replace"), value)
        self.set_slots_aside()
        tensors = tuple(self.tensors.values())
        return Manifest(
            path=self.source.path,
            file=self.source.path,
            container="tensorflow-checkpoint",
            size=self.source.size + sum(size for _, size in self.files.values()),
            header_sha256=hashlib.sha256(data).hexdigest(),
            state_dicts=(StateDict("", tensors, ordered=False),) if tensors else (),
            held_aside=tuple(self.aside),
        )

    def table(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        footer = data[-_FOOTER:]
        if len(footer) < _FOOTER:
            raise Malformed("no room for the end")
        _, _, at = _handle(footer, 0)
        offset, size, _ = _handle(footer, at)
        seen = unpacked = 0
        for _, handle in _pairs(_block(self.source, offset, size)):
            offset, size, _ = _handle(handle, 0)
            seen += size
            if seen > len(data):  # blocks do not overlap: one could be listed for ever
                raise Malformed("more blocks than there is room for")
            block = _block(self.source, offset, size)
            unpacked += len(block)
            if unpacked > MAX_INDEX:
                raise over_limit(self.source.path, f"the index unpacks to {unpacked:,} bytes")
            yield from _pairs(block)

    def header(self, message: bytes) -> None:
        for number, wire, a, _ in fields(message, 0, len(message), self.source.budget):
            if number == 1 and wire == VARINT:
                self.shards = a
            elif number == 2 and wire == VARINT and a == 1:
                what = "its variables are big-endian, which is not read"
                raise unrecognised(self.source.path, what, "save it on a little-endian machine")
        if not 0 < self.shards <= MAX_SHARDS:
            raise Malformed("a checkpoint of no files")

    def entry(self, key: str, message: bytes) -> None:
        kind, shape, numbers, sliced = 0, (), {3: 0, 4: 0, 5: 0}, False
        axes: tuple[int | str, ...] = shape
        for number, wire, a, b in fields(message, 0, len(message), self.source.budget):
            if number == 1 and wire == VARINT:
                kind = a
            elif number == 2 and wire == BYTES:
                axes = _shape(message, a, b)
            elif number in numbers and wire == VARINT:
                numbers[number] = a
            elif number == 7:
                sliced = True
        name, dtype = key.removesuffix(_VALUE), _DTYPES.get(kind)
        top = name.split("/")[0]
        if top.lower() in ASIDE or ".OPTIMIZER_SLOT" in name:
            self.aside[top] = None
        elif dtype is None or name in _RECORDS:
            self.aside[name] = None
        else:
            self.tensors[name] = self.variable(name, dtype, axes, numbers, sliced)

    def variable(
        self,
        name: str,
        dtype: str,
        axes: tuple[int | str, ...],
        numbers: dict[int, int],
        sliced: bool,
    ) -> Spec:
        shape = tuple(axis for axis in axes if type(axis) is int)
        if len(shape) != len(axes):
            raise Malformed("a variable without a shape")
        if sliced:  # its parts stand under keys of their own; what it is, is known all the same
            return Spec(name, dtype, shape, layout=Layout.SHARDED)
        spec = Spec(name, dtype, shape)
        shard, offset, size = numbers[3], numbers[4], numbers[5]
        if size != spec.numel * DTYPE_BITS[dtype] // 8:
            raise Malformed("a variable whose size is not that of its shape")
        file, length = self.file(shard) if size else (self.source.path, 0)
        self.claimed += size
        if size and self.claimed <= sum(there for _, there in self.files.values()):
            self.source.budget.earn()
        if size and offset + size > length:
            what = f"variable {name!r} reaches past the end of {Path(file).name!r}"
            raise truncated(self.source.path, what, _COPY)
        return replace(spec, storage=Storage(file, name, offset, size))

    def file(self, shard: int) -> tuple[str, int]:
        """The path and size of one of the files that hold the variables' bytes."""
        if shard not in self.files:
            prefix = self.source.path.removesuffix(".index")
            if shard >= self.shards or prefix == self.source.path:
                what = "the index of a checkpoint, apart from its data"
                raise truncated(self.source.path, what, "keep the name that TensorFlow gave it")
            path = f"{prefix}.data-{shard:05d}-of-{self.shards:05d}"
            if not is_remote(path) and leads_out(Path(path), Path(self.source.path)):
                raise escapes(self.source.path, Path(path).name)
            try:
                with Source(path) as data:
                    self.files[shard] = path, data.size
            except ReadError as error:
                what = f"the file {Path(path).name!r} of the checkpoint cannot be read"
                raise truncated(self.source.path, what, "put it beside the index") from error
        return self.files[shard]

    def set_slots_aside(self) -> None:
        """TensorFlow 1 names an optimizer's slot like its variable, with its own name behind."""
        for name in list(self.tensors):
            base, _, last = name.rpartition("/")
            if last in _SLOTS and base in self.tensors:
                self.aside[name] = None
                del self.tensors[name]


# ---------------------------------------------------------------- a SavedModel


def read_graph(source: Source) -> Manifest | None:
    """The SavedModel of a saved_model.pb and the variables beside it; None for other bytes."""
    try:
        return None if not _is_saved_model(source) else _SavedModel(source).read()
    except Malformed:
        what = "the SavedModel is damaged"
        raise truncated(source.path, what, "fetch or save it again") from None


def _is_saved_model(source: Source) -> bool:
    """A schema version of 1 and at least one graph, and nothing else."""
    version = graphs = 0
    try:
        for number, wire, a, _ in fields(source.data, 0, source.size, source.budget):
            if number == 1 and wire == VARINT:
                version = a
            elif number == 2 and wire == BYTES:
                graphs += 1
                if graphs > MAX_GRAPHS:
                    raise over_limit(source.path, f"more than {MAX_GRAPHS} graphs")
            else:
                return False
    except Malformed:
        return False
    return version == 1 and graphs > 0


class _SavedModel:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = source.data
        self.fields = partial(fields, source.data, budget=source.budget)
        self.nodes = Nodes(source.budget)
        self.signatures: dict[str, tuple[list[Port], list[Port]]] = {}
        self.tags: list[Json] = []
        self.version = ""
        self.assets: list[str] = []  # the nodes that are given their names
        self.imports: list[Import] = []
        self.opened: list[Opened] = []

    def read(self) -> Manifest:
        for number, _, a, b in self.fields(0, self.source.size):
            if number == 2:
                self.meta_graph(a, b)
        self.imports += self.nodes.imports
        self.opened += self.nodes.opened
        folder = location.folder_of(self.source.path)
        self.layers(location.joined(folder, "keras_metadata.pb"))
        weights = _variables(location.joined(folder, "variables/variables.index"))
        header = self.source.sha256()
        if weights is not None:
            header = hashlib.sha256(f"{header}\n{weights.header_sha256}".encode()).hexdigest()
        return Manifest(
            path=self.source.path,
            file=self.source.path,
            container="saved-model",
            size=self.source.size + (weights.size if weights else 0),
            header_sha256=header,
            state_dicts=weights.state_dicts if weights else (),
            metadata=self.metadata(),
            imports=tuple(dict.fromkeys(self.imports)),
            graph=self.graph(),
            held_aside=weights.held_aside if weights else (),
            opened=tuple(dict.fromkeys(self.opened)),
        )

    def metadata(self) -> dict[str, Json]:
        facts: dict[str, Json] = {"signatures": sorted(self.signatures), "tags": self.tags}
        return {**facts, "tensorflow_version": self.version} if self.version else facts

    def graph(self) -> Graph:
        names = [n for n in self.signatures if not n.startswith("__")]
        chosen = "serving_default" if "serving_default" in names else (names or [""])[0]
        inputs, outputs = self.signatures.get(chosen, ([], []))
        producer = f"tensorflow {self.version}" if self.version else ""
        opsets = {"tensorflow": self.nodes.producer} if self.nodes.producer else {}
        return Graph(tuple(inputs), tuple(outputs), opsets, producer, self.nodes.operators)

    def meta_graph(self, at: int, end: int) -> None:
        self.nodes.begin()
        self.assets.clear()
        for number, wire, a, b in self.fields(at, end):
            if wire != BYTES:
                continue
            if number == 1:
                self.information(a, b)
            elif number == 2:
                self.nodes.graph_def(self.data, a, b)
            elif number == 3:
                self.saver(a, b)
            elif number == 5:
                self.signature(a, b)
            elif number == 6:
                self.asset(a, b)
            elif number == 7:
                self.objects(a, b)
        self.nodes.judge()

    def information(self, at: int, end: int) -> None:
        for field in self.fields(at, end):
            if field[0] == 4:
                self.tags.append(text(self.data, field))
            elif field[0] == 5:
                self.version = text(self.data, field)[:40]

    def saver(self, at: int, end: int) -> None:
        """Note the node that whoever saves or loads the model replaces by a file's name."""
        for field in self.fields(at, end):
            if field[0] == 1:
                self.nodes.given.add(text(self.data, field).partition(":")[0])

    def asset(self, at: int, end: int) -> None:
        """A file that loading the model reads, from the folder of its assets."""
        node = ""
        for field in self.fields(at, end):
            if field[0] == 1 and field[1] == BYTES:
                for inner in self.fields(field[2], field[3]):
                    if inner[0] == 1:
                        node = text(self.data, inner).partition(":")[0]
            elif field[0] == 2:
                name = PurePosixPath(text(self.data, field).replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts:
                    raise escapes(self.source.path, name)
        self.assets.append(node)
        self.nodes.given.add(node)

    def objects(self, at: int, end: int) -> None:
        """Read what the object graph says of Keras's layers and of what functions are bound to."""
        nodes: list[str | None] = []
        functions: list[tuple[str, list[int]]] = []
        for number, wire, a, b in self.fields(at, end):
            if number == 1 and wire == BYTES:
                nodes.append(self.object(a, b))
            elif number == 2 and wire == BYTES:
                functions.append(self.bound(a, b))
        for name, places in functions:
            self.nodes.bound[name] = [nodes[n] if 0 <= n < len(nodes) else None for n in places]

    def object(self, at: int, end: int) -> str | None:
        """The node of a constant or an asset; None for another object."""
        node = None
        for number, wire, a, b in self.fields(at, end):
            if number == 9 and wire == BYTES:
                names = [text(self.data, f) for f in self.fields(a, b) if f[0] == 1]
                node = names[0] if names else None
            elif number == 5 and wire == BYTES:
                place = next((f[2] for f in self.fields(a, b) if f[0] == 1), 0)
                node = self.assets[place] if place < len(self.assets) else None
            elif number == 4 and wire == BYTES:
                for field in self.fields(a, b):
                    # TensorFlow 2.0 to 2.4 kept Keras's layers here.
                    if field[0] == 3 and self.data[field[2] : field[2] + 1] == b"{":
                        self.layer(_json(self.source, field), self.source.path)
        return node

    def bound(self, at: int, end: int) -> tuple[str, list[int]]:
        """A function's name, and the objects that its last arguments are bound to."""
        name, places = "", []  # type: str, list[int]
        for field in self.fields(at, end):
            if field[0] == 1:
                name = text(self.data, field)
            elif field[0] == 2 and field[1] == BYTES:
                for inner in self.fields(field[2], field[3]):
                    if inner[0] == 2:
                        places += integers(self.data, inner)
        return name, places

    def signature(self, at: int, end: int) -> None:
        name, inputs, outputs = "", [], []  # type: str, list[Port], list[Port]
        for field in self.fields(at, end):
            if field[0] == 1:
                name = text(self.data, field)
            elif field[0] == 2 and field[1] == BYTES:
                for number, wire, a, b in self.fields(field[2], field[3]):
                    if number in (1, 2) and wire == BYTES:
                        (inputs if number == 1 else outputs).append(self.port(a, b))
                        if len(inputs) + len(outputs) > MAX_PORTS:
                            raise over_limit(self.source.path, f"more than {MAX_PORTS:,} ports")
        self.signatures[name] = sorted(inputs, key=_NAME), sorted(outputs, key=_NAME)

    def port(self, at: int, end: int) -> Port:
        """An entry of a map from a name to what is known of the tensor."""
        name, kind = "", ""
        shape: tuple[int | str, ...] = ("...",)
        for field in self.fields(at, end):
            if field[0] == 1:
                name = text(self.data, field)
            elif field[0] == 2 and field[1] == BYTES:
                for number, wire, a, b in self.fields(field[2], field[3]):
                    if number == 2 and wire == VARINT:
                        kind = _DTYPES.get(a, _OTHERS.get(a, f"type {a}"))
                    elif number == 3 and wire == BYTES:
                        shape = _shape(self.data, a, b)
        return Port(name, kind, shape)

    def layers(self, path: str) -> None:
        """Note what the layers of a Keras 2 model reach: a Lambda holds Python bytecode."""
        if not location.exists(path):
            return
        with Source(path) as source:
            for number, wire, a, b in fields(source.data, 0, source.size, source.budget):
                if number != 1 or wire != BYTES:
                    raise Malformed("something else than a layer")
                for field in fields(source.data, a, b, source.budget):
                    if field[0] == 5:
                        self.layer(_json(source, field), path)

    def layer(self, config: Json, path: str) -> None:
        self.imports += imported(config, path)
        self.opened += opened(config)


def _json(source: Source, field: Field) -> Json:
    try:
        return json_text.loads(text(source.data, field), source.budget)
    except ValueError:
        raise Malformed("a layer that is no JSON") from None


def _variables(path: str) -> Manifest | None:
    if not location.exists(path):
        return None  # a graph without variables
    with Source(path) as source:
        return read(source)


def _shape(data: Bytes, at: int, end: int) -> tuple[int | str, ...]:
    """A TensorShapeProto; an axis of unknown size is "?"."""
    axes: list[int | str] = []
    for number, wire, a, b in fields(data, at, end):
        if number == 3 and wire == VARINT and a:
            return ("...",)
        if number == 2 and wire == BYTES:
            size = 0
            for inner, kind, value, _ in fields(data, a, b):
                if inner == 1 and kind == VARINT:
                    size = signed(value)
            axes.append(size if size >= 0 else "?")
    if len(axes) > MAX_AXES:
        raise Malformed("too many axes")
    return tuple(axes)
