"""A program that torch.export saved (.pt2) -> a Manifest with its graph's interface.

Since PyTorch 2.8 each weight is an entry of its own, listed in JSON; before, a whole torch.save
archive of the weights is an entry. Nothing of the program runs: its operators are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from interop.facts import Danger, Graph, Import, Json, Manifest, Port, StateDict, Storage
from interop.facts import TensorSpec as Spec
from interop.patterns import lazy
from interop.reading.archives.zip_archive import STORED, Archive, Entry
from interop.reading.bytes import json_text
from interop.reading.bytes.address import over_limit, truncated, unrecognised
from interop.reading.bytes.source import Source
from interop.reading.formats import torch_zip
from interop.reading.pickle.rebuild import MAX_AXES
from interop.reading.pickle.state_dicts import extent
from interop.records import replace

MAX_JSON = 1 << 27
_TENSOR, _TENSOR_MEMORY = 12_000, 800  # nanoseconds and bytes of one, read and shown
# The numbers of torch._export.serde.schema.ScalarType and Layout.
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16",
    28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
_STRIDED = 7
_SYMBOL = lazy(r"Symbol\('(\w+)'.*\)")
# Loading looks a node's target up by its name, and running calls it: these compute, and no more.
_PURE = lazy(r"torch\.ops\.(aten|prims|prim|higher_order|quantized_decomposed)\.[\w.]+")
_OPERATORS = "add and_ eq floordiv ge getitem gt le lt mod mul ne neg not_ or_ pos pow sub truediv"
_MATH = "ceil floor sqrt trunc"
_PYTHON = {f"_operator.{n}" for n in _OPERATORS.split()} | {f"math.{n}" for n in _MATH.split()}
_SYM = lazy(r"torch\.sym_(float|int|ite|max|min|not|sqrt|sum)|torch\._sym_\w+")
# Expressions of sizes are Python text, which loading evaluates: names of arithmetic alone.
_ARITHMETIC = frozenset(
    """
    Symbol Integer Float Rational Add Mul Pow Mod Max Min Abs Eq Ne Le Lt Ge Gt And Or Not FloorDiv
    CeilDiv CleanDiv ModularIndexing PythonMod Where CeilToInt FloorToInt RoundToInt IntTrueDiv
    FloatTrueDiv TruncToInt ToFloat Identity PowByNatural FloatPow integer positive nonnegative
    negative zero nonzero real finite precision true false True False oo int_oo e
    IsNonOverlappingAndDenseIndicator
    """.split()  # noqa: SIM905
)
_NAMES = lazy(r"[A-Za-z_]\w*")
_QUOTED = lazy(r"'[\w.]*'")
_SIGNS = lazy(r"[\w\s(),=+*/.<>!-]*")
_OLD_PROGRAM = "serialized_exported_program.json"
_OLD_PICKLES = ("serialized_constants.pt", "serialized_example_inputs.pt")
_NATIVE = (".so", ".dll", ".dylib", ".pyd", ".cubin")


def read_archive(archive: Archive) -> Manifest:
    """Raises ReadError for an archive whose lists are damaged or promise what it does not hold."""
    return _Reader(archive).read()


def storage_bytes(path: str, key: str) -> bytes:
    """A weight's bytes, inflated; its key is its entry."""
    with Source(path) as source:
        archive = Archive(source)
        data = archive.read(archive.entries[key], 1 << 34)
    if data is None:
        raise over_limit(path, f"entry {key!r} unfolds to too many bytes")
    return data


class _Misfit(Exception):
    """JSON that has not the form it should have."""


class _Reader:
    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.path = archive.source.path
        self.digest = hashlib.sha256(archive.directory)
        self.imports: dict[Import, None] = {}
        self.metadata: dict[str, Json] = {}
        self.aside: list[str] = []
        self.graph: Graph | None = None

    def read(self) -> Manifest:
        try:
            old = self.entries(_OLD_PROGRAM)
            state_dicts = self.old(old[0]) if old else self.new()
        except _Misfit as error:
            what = f"its lists are damaged: {error}"
            raise unrecognised(self.path, what, "export it again") from None
        for name in self.archive.entries:
            if name.endswith(_NATIVE):  # compiled by AOTInductor: loading it runs it
                self.imports[Import("torch._inductor", name, Danger.UNSAFE)] = None
        # What is unsafe is told of as that, whatever else the file lacks.
        unsafe = any(i.danger == Danger.UNSAFE for i in self.imports)
        if self.graph is None and not state_dicts and not unsafe:
            raise unrecognised(self.path, "an exported program without a model", "export it again")
        return Manifest(
            path=self.path,
            file=self.path,
            container="exported-program",
            size=self.archive.source.size,
            header_sha256=self.digest.hexdigest(),
            state_dicts=state_dicts,
            metadata=self.metadata,
            imports=tuple(self.imports),
            graph=self.graph,
            held_aside=tuple(self.aside),
        )

    def entries(self, *below: str) -> list[Entry]:
        """The entries at these paths, at the top or under the archive's one folder."""
        ends = tuple("/" + path for path in below)
        return [
            entry
            for name, entry in self.archive.entries.items()
            if name in below or (name.endswith(ends) and name.split("/", 1)[1] in below)
        ]

    def json(self, entry: Entry) -> dict[str, Any]:
        raw = self.archive.structure(entry, MAX_JSON)
        self.digest.update(raw)
        try:
            document = json_text.loads(raw, self.archive.source.budget)
        except ValueError:
            raise _Misfit(f"{entry.name!r} is no JSON") from None
        return _object(document)

    # ------------------------------------------------------------ since 2.8

    def new(self) -> tuple[StateDict, ...]:
        weights: list[StateDict] = []
        for name, entry in self.archive.entries.items():
            folder, _, file = name.rpartition("/")
            if folder.endswith("data/weights") and file.endswith("_weights_config.json"):
                model = file.removesuffix("_weights_config.json")
                place = "" if model == "model" else model
                weights += self.listed(folder, place, self.json(entry))
            elif folder.endswith("data/constants") and file.endswith("_constants_config.json"):
                place = "constants" if file == "model_constants_config.json" else file
                if self.listed(folder, place, self.json(entry)):
                    self.aside.append(place)
            elif folder.endswith("data/sample_inputs") and file.endswith(".pt"):
                self.pickled(entry)
            elif folder.endswith("models") and file == "model.json":
                self.program(self.json(entry))
        return tuple(weights)

    def listed(self, folder: str, place: str, config: dict[str, Any]) -> list[StateDict]:
        """The tensors that a list names; what is pickled among them is read for its imports."""
        tensors = []
        for name, item in _object(config.get("config")).items():
            item = _object(item)
            entry = self.archive.entries.get(f"{folder}/{item.get('path_name')}")
            if entry is None:
                raise truncated(self.path, f"the bytes of {name!r} are missing from the archive")
            if item.get("use_pickle") is True:
                specs = [t for s in self.pickled(entry).state_dicts for t in s.tensors]
                if len(specs) == 1:
                    tensors.append(replace(specs[0], name=name))
            elif item.get("tensor_meta") is not None:
                tensors.append(self.tensor(name, _object(item["tensor_meta"]), entry))
        # Parameters come first, then buffers: not the order in which the module defines them.
        return [StateDict(place, tuple(tensors), ordered=False)] if tensors else []

    def tensor(self, name: str, meta: dict[str, Any], entry: Entry) -> Spec:
        dtype = _DTYPES.get(_number(meta.get("dtype")))
        shape, stride = _numbers(meta.get("sizes")), _numbers(meta.get("strides"))
        self.archive.source.budget.spend(_TENSOR, _TENSOR_MEMORY)
        if entry.size:
            self.archive.source.budget.earn()
        if dtype is None or len(shape) != len(stride):
            raise _Misfit(f"{name!r} has no known dtype or shape")
        if meta.get("layout") != _STRIDED:
            return Spec(name, dtype, shape)
        source, plain = self.archive.source, entry.method == STORED
        # Of a file far away the place is not looked up: that would be a request for each weight.
        in_place = plain and not source.remote
        place = source.base + self.archive.start(entry) if in_place else -1
        storage = Storage(self.path, entry.name, place, entry.size)
        offset = _size(meta.get("storage_offset"))
        spec = Spec(name, dtype, shape, storage, offset, None if _plain(shape, stride) else stride)
        if extent(spec) > entry.size or (plain and entry.packed < entry.size):
            raise truncated(self.path, f"tensor {name!r} reaches past the end of its bytes")
        return spec

    def pickled(self, entry: Entry) -> Manifest:
        """An archive of torch.save's within this one."""
        if entry.method != STORED:
            what = f"entry {entry.name!r} is compressed"
            raise unrecognised(self.path, what, "export the program again")
        start = self.archive.start(entry)
        inner = Archive(self.archive.source.within(start, start + entry.packed))
        inner.agree()
        manifest = torch_zip.read_archive(inner)
        self.digest.update(manifest.header_sha256.encode())
        self.imports.update(dict.fromkeys(manifest.imports))
        return manifest

    # ------------------------------------------------------------ before

    def old(self, program: Entry) -> tuple[StateDict, ...]:
        self.program(self.json(program))
        for entry in self.entries(*_OLD_PICKLES):
            if entry.size:
                self.pickled(entry)
        if not (weights := self.entries("serialized_state_dict.pt")):
            raise truncated(self.path, "its weights are missing from the archive")
        return self.pickled(weights[0]).state_dicts

    # ------------------------------------------------------------ the program

    def program(self, model: dict[str, Any]) -> None:
        for text in _texts(model, "expr_str"):
            bare = _QUOTED.sub("", text)
            if not _SIGNS.fullmatch(bare) or not set(_NAMES.findall(bare)) <= _ARITHMETIC:
                self.imports[Import("sympy", f"sympify({text[:80]!r})", Danger.UNSAFE)] = None
        for key in ("schema_version", "opset_version", "torch_version"):
            if key in model:
                self.metadata[key] = model[key]
        module = _object(model.get("graph_module"))
        graph, signature = _object(module.get("graph")), _object(module.get("signature"))
        values = _object(graph.get("tensor_values"))
        inputs = _arguments(signature.get("input_specs"), "user_input")
        outputs = _arguments(signature.get("output_specs"), "user_output")
        version = str(model.get("torch_version", ""))[:40]
        self.graph = Graph(
            tuple(_port(name, values) for name in inputs),
            tuple(_port(name, values) for name in outputs),
            _versions(model.get("opset_version")),
            f"torch {version}" if version else "",
            self.operators(graph.get("nodes")),
        )

    def operators(self, nodes: object) -> dict[str, int]:
        operators: dict[str, int] = {}
        for node in nodes if isinstance(nodes, list) else ():
            target = str(_object(node).get("target"))[:200]
            if not (_PURE.fullmatch(target) or _SYM.fullmatch(target) or target in _PYTHON):
                place, _, own = target.rpartition(".")
                self.imports[Import(place, own, Danger.CODE)] = None
            name = target.removeprefix("torch.ops.")
            operators[name] = operators.get(name, 0) + 1
        return operators


def _texts(value: Any, key: str) -> Iterator[str]:
    """All texts under a key, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if key in one:
                yield str(one[key])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Misfit("an object is missing")
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 60:
        raise _Misfit("a number is missing")
    return value


def _size(value: object) -> int:
    return _number(_object(value).get("as_int"))


def _numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_AXES:
        raise _Misfit("a list of sizes is missing")
    return tuple(_size(item) for item in value)


def _plain(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Are the strides those of a row-major tensor?"""
    step = 1
    for axis, given in zip(reversed(shape), reversed(stride), strict=True):
        if axis != 1 and given != step and 0 not in shape:
            return False
        step *= axis
    return True


def _versions(value: object) -> dict[str, int]:
    versions = value if isinstance(value, dict) else {}
    return {str(name): v for name, v in versions.items() if type(v) is int}


def _arguments(specs: object, kind: str) -> list[str]:
    """The names of the tensors that a caller gives or gets."""
    names = []
    for spec in specs if isinstance(specs, list) else ():
        argument = _object(spec).get(kind)
        if isinstance(argument, dict):
            tensor = _object(argument.get("arg")).get("as_tensor")
            if isinstance(tensor, dict):
                names.append(str(tensor.get("name"))[:200])
    return names


def _port(name: str, values: dict[str, Any]) -> Port:
    meta = _object(values.get(name))
    sizes = meta.get("sizes")
    axes = tuple(_axis(_object(size)) for size in (sizes if isinstance(sizes, list) else ()))
    return Port(name, _DTYPES.get(_number(meta.get("dtype")), ""), axes)


def _axis(size: dict[str, Any]) -> int | str:
    if type(size.get("as_int")) is int:
        return int(size["as_int"])
    text = str(_object(size.get("as_expr")).get("expr_str"))[:200]
    symbol = _SYMBOL.fullmatch(text)
    return symbol[1] if symbol else text
