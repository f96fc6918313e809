"""A numpy array (.npy), or a zip archive of them (.npz) -> a Manifest.

An array is a header of one line, a Python dict of dtype, order and shape, and behind it the
numbers. Text and what was pickled is no tensor: it goes into the metadata where it has a JSON form.
"""

from __future__ import annotations

import ast
import hashlib
import zlib
from math import prod

from interop.errors import ReadError
from interop.facts import Json, Manifest, StateDict, Storage, TensorSpec
from interop.patterns import lazy
from interop.reading.archives import nested_models
from interop.reading.archives.zip_archive import STORED, Archive, Entry
from interop.reading.bytes.address import over_limit, truncated, unrecognised
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Bytes, Source, Window
from interop.reading.formats.pickled_arrays import DTYPES, PickledArrays, little_endian
from interop.reading.pickle.checkpoint import Contents, contents, guarded, manifest
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.metadata import value
from interop.reading.pickle.rebuild import MAX_AXES
from interop.reading.pickle.records import Array, Broken, Node, width_of
from interop.reading.pickle.state_dicts import Weights
from interop.records import replace

_ARRAY, _ARRAY_MEMORY = 18_000, 800  # nanoseconds and bytes of one, read and shown
MAX_HEADER = 1 << 16
MAX_TEXT = 1 << 24  # bytes of text that are looked into
MAX_PICKLE = 1 << 28  # bytes of a pickle of objects
_MAX_CHECKED = 1 << 23  # bytes of an archive whose checksums are held though only headers are read
_MAGIC = b"\x93NUMPY"
# One entry of the header's dict; the dtype of a record is a list. Python 2 wrote 3L for 3.
_ENTRY = lazy(
    r"\s*'(descr|fortran_order|shape)':\s*"
    r"(?:'([^'\\]{1,40})'|(True|False)|\(([\dL, ]*)\)|(\[[^\n]*?\]))\s*(?:,|(?=\}))"
)
# A dtype of numbers, text, dates or raw bytes. numpy knows objects by many names ("O", "object",
# "O8", "i4,O"): whatever is not one of these may hold them, and is unpickled then.
_PLAIN = lazy(r"[<>|=]?(?:[?]|[biufcSUVa]\d{1,9}|[mM]8(?:\[\w{1,20}\])?)")


class _Header:
    """What stands before an array's numbers; `length` counts the bytes up to them."""

    __slots__ = ("code", "descr", "fortran", "length", "shape")

    def __init__(self, descr: str, fortran: bool, shape: tuple[int, ...], length: int) -> None:
        self.descr = descr  # as it stands in the file, a record's as a list
        # Byte order, kind and width: "<f4"; "" for a record.
        self.code = "" if descr[:1] == "[" else descr
        self.fortran = fortran
        self.shape = shape
        self.length = length

    @property
    def dtype(self) -> str | None:
        return DTYPES.get(self.code[1:]) if self.code[:1] in ("<", ">", "|", "=") else None

    @property
    def plain(self) -> bool:
        """Can numpy read the array without unpickling it, by all that is known of its dtype?"""
        if self.descr[:1] != "[":
            return _PLAIN.fullmatch(self.descr) is not None
        try:
            return _is_plain(ast.literal_eval(self.descr))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return False

    @property
    def swapped(self) -> bool:
        return self.code[:1] == ">" and self.width > 1

    @property
    def width(self) -> int:
        """Bytes of one element, 0 where they are objects."""
        return width_of(self.code)

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.width


def read(source: Source) -> Manifest:
    """One array, under the empty name; ReadError for a header that is damaged or promises more."""
    reader = _Reader(source)
    reader.array("", source.data, 0, source.size)
    return reader.manifest(source.data[: reader.last.length])


def read_archive(archive: Archive) -> Manifest:
    """Arrays under their entries' names without the ending."""
    source = archive.source
    reader = _Reader(source)
    sizes = sum(entry.packed + entry.size for entry in archive.entries.values())
    if not source.remote and sizes <= _MAX_CHECKED:
        check_sums(archive)
    for name, entry in archive.entries.items():
        reader.entry(archive, name.removesuffix(".npy"), entry)
    return reader.manifest(archive.directory)


def check_sums(archive: Archive) -> None:
    """Hold the checksum of every array, as numpy does; ReadError for one that is wrong."""
    for entry in archive.entries.values():
        archive.check_sum(entry)


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.ledger = Ledger()
        self.tensors: list[TensorSpec] = []
        self.unpacked: list[StateDict] = []  # of arrays within objects
        self.metadata: dict[str, Json] = {}
        self.aside: list[str] = []
        self.last = _Header("", False, (), 0)
        self.failure: ReadError | None = None

    def entry(self, archive: Archive, name: str, entry: Entry) -> None:
        start = archive.start(entry)
        if entry.method == STORED and not entry.flags & 1:
            self.array(name, self.source.data, start, start + entry.packed, entry.name)
            return
        # Only as much as the header needs is inflated, unless the array is text.
        header = _header(self.source.path, _head(archive, entry))
        if header.dtype is not None:
            self.add(name, header, -1, entry.size, entry.name)
        elif header.plain and entry.size > MAX_TEXT:
            self.aside.append(name)
        else:
            data = archive.structure(entry, MAX_TEXT if header.plain else MAX_PICKLE)
            self.array(name, data, 0, len(data), entry.name, packed=True)

    def array(
        self, name: str, data: Bytes, start: int, stop: int, key: str = "", packed: bool = False
    ) -> None:
        """The array that lies at [start, stop) of `data`."""
        self.source.budget.spend(_ARRAY, _ARRAY_MEMORY)
        header = _header(self.source.path, data[start : min(stop, start + MAX_HEADER + 12)])
        if header.dtype is None:
            self.other(name, header, data, start + header.length, stop, key, packed)
            self.last = header
            return
        self.add(name, header, -1 if packed else start, stop - start, key)

    def add(self, name: str, header: _Header, start: int, size: int, key: str) -> None:
        """An array of numbers whose header begins at `start`; -1 where it is compressed."""
        self.last = header
        if size - header.length < header.nbytes:
            what = f"array {name!r} has {size - header.length:,} of {header.nbytes:,} bytes"
            raise truncated(self.source.path, what)
        if header.nbytes:
            self.source.budget.earn()
        plain = start >= 0 and not header.swapped
        place = self.source.base + start + header.length if plain else -1
        storage = Storage(self.source.path, key, place, header.nbytes)
        stride = _column_major(header.shape) if header.fortran else None
        assert header.dtype is not None
        self.tensors.append(TensorSpec(name, header.dtype, header.shape, storage, 0, stride))

    def other(
        self, name: str, header: _Header, data: Bytes, start: int, stop: int, key: str, packed: bool
    ) -> None:
        """Text, or a pickle of objects: the arrays in it, and a description of what else has a
        JSON form."""
        record = Array(header.code, header.shape)
        arrays = PickledArrays(self.source.path, self.source.base, key, packed)
        if not header.plain:
            before = len(self.unpacked)
            tree = self.unpickled(name, header, data, start, stop, arrays)
            record = tree if type(tree) is Array else record
            if len(self.unpacked) > before and value(record) is None:
                return
        elif header.code[1:2] in ("U", "S") and header.nbytes <= MAX_TEXT:
            record.data = data[start : min(stop, start + header.nbytes)]
        if (description := value(record)) is None:
            self.aside.append(name)
        else:
            self.metadata[name] = description

    def unpickled(
        self, name: str, header: _Header, data: Bytes, start: int, stop: int, arrays: PickledArrays
    ) -> Node:
        tree: list[Node] = []
        budget = self.source.budget

        def work() -> Contents:
            if stop - start > MAX_PICKLE:
                raise over_limit(self.source.path, f"array {name!r} is a pickle of that size")
            machine = Machine(data, self.ledger, _no_storage, budget, start, stop)
            tree.append(machine.run())
            nested_models.search(Window(data, 0, stop), self.ledger, budget, machine.position)
            return contents(tree[0], arrays.locate, budget, arrays.tensor)

        try:
            for found in guarded(work, self.ledger, self.source.path, whole=True)[0]:
                place = ".".join(part for part in (name, found.place) if part)
                self.unpacked.append(replace(found, place=place))
        except ReadError as error:
            # Told of at the end: another array may hold what is worse.
            if header.code[1:2] != "O" and error.rule != "pickle-over-limit":
                what = (
                    f"array {name!r} has the dtype {header.descr[:40]!r}, which is not understood"
                )
                error = unrecognised(self.source.path, what, "save it with numpy again")
            self.failure = self.failure or error
        return tree[0] if tree else None

    def manifest(self, head: bytes) -> Manifest:
        if self.failure is not None and not self.ledger.unsafe:
            raise self.failure
        plain = [StateDict("", tuple(self.tensors))] if self.tensors else []
        state_dicts = (*plain, *self.unpacked)
        found = state_dicts, tuple(self.aside), self.metadata
        header = hashlib.sha256(head).hexdigest()
        return manifest(self.source, "numpy", header, self.ledger, found)


def _is_plain(descr: object) -> bool:
    """Does a dtype hold no objects? Records are lists of (name, dtype) or (name, dtype, shape)."""
    if isinstance(descr, str):
        return _PLAIN.fullmatch(descr) is not None
    if not isinstance(descr, list):
        return False
    return all(isinstance(f, tuple) and len(f) in (2, 3) and _is_plain(f[1]) for f in descr)


def _no_storage(key: Node) -> Node:
    raise Broken("a persistent id, which numpy does not write")


def _column_major(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if len(shape) < 2 or 0 in shape:
        return None
    return tuple(prod(shape[:axis]) for axis in range(len(shape)))


def _head(archive: Archive, entry: Entry) -> bytes:
    """The first bytes of a compressed entry, inflated."""
    if entry.flags & 1 or entry.method != 8:
        return archive.read(entry, MAX_HEADER) or b""  # which says what is wrong with it
    start = archive.start(entry)
    raw = archive.source.data[start : start + min(entry.packed, MAX_HEADER)]
    try:
        return zlib.decompressobj(-15).decompress(raw, MAX_HEADER)
    except zlib.error as error:
        what = f"entry {entry.name!r} is damaged: {error}"
        raise truncated(archive.source.path, what) from None


def _header(path: str, data: bytes) -> _Header:
    """The header at the beginning of `data`; the layout is numpy.lib.format's, versions 1 to 3."""
    if data[:6] != _MAGIC or len(data) < 10:
        raise unrecognised(path, "an array without numpy's mark", "save it with numpy again")
    width = 2 if data[6] == 1 else 4
    begin = 8 + width
    length = begin + int.from_bytes(data[8:begin], "little")
    if data[6] not in (1, 2, 3) or length > MAX_HEADER:
        raise unrecognised(path, "an array header of no known kind", "save it with numpy again")
    if length > len(data):
        raise truncated(path, "an array's header is cut off")
    entries = _entries(data[begin:length].decode("latin-1"))
    shape = _shape(entries.get("shape", "x"))
    if len(entries) != 3 or shape is None:
        raise unrecognised(path, "an array header that is damaged", "save it with numpy again")
    return _Header(entries["descr"], entries["fortran_order"] == "True", shape, length)


def _entries(line: str) -> dict[str, str]:
    """The dict's entries as text, each in the form that belongs to its key; fewer if damaged."""
    entries: dict[str, str] = {}
    at = 1 if line[:1] == "{" else len(line)
    forms = {"descr": (2, 5), "fortran_order": (3,), "shape": (4,)}
    while (entry := _ENTRY.match(line, at)) is not None:
        if (key := entry[1]) in entries or entry.lastindex not in forms[key]:
            return {}
        entries[key] = entry[entry.lastindex]
        at = entry.end()
    return entries if line[at:].strip() == "}" else {}


def _shape(text: str) -> tuple[int, ...] | None:
    axes = [axis.strip().removesuffix("L") for axis in text.split(",") if axis.strip()]
    if len(axes) > MAX_AXES or not all(axis.isdecimal() and len(axis) < 19 for axis in axes):
        return None
    return tuple(map(int, axes))


def storage_bytes(path: str, key: str) -> bytes:
    """An array's numbers, inflated and little-endian."""
    entry, _, number = key.partition("\0")
    with Source(path) as source:
        data: bytes | None
        if entry:
            archive = Archive(source)
            if (data := archive.read(archive.entries[entry], 1 << 34)) is None:
                raise over_limit(path, f"array {entry!r} unfolds to too many bytes")
        else:
            data = source.data[: source.size]
    header = _header(path, data[: MAX_HEADER + 12])
    if number:  # of an array within its objects
        budget = Budget(path, len(data))
        arrays = PickledArrays(path, 0, entry)
        tree = Machine(data, Ledger(), _no_storage, budget, header.length).run()
        Weights(tree, arrays.locate, budget, arrays.tensor)
        return arrays.bytes_of(number)
    return little_endian(data[header.length : header.length + header.nbytes], header.code)
