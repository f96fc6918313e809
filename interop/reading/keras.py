"""A Keras model: a .keras archive, or an HDF5 file (.h5) of a model or of weights -> a Manifest.

HDF5 is read by h5py, an extra; the names are the groups' paths. Nothing of a layer's code runs.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from interop.errors import ReadError
from interop.facts import Import, Json, Manifest, StateDict, Storage, TensorSpec
from interop.reading.formats import need
from interop.reading.keras_config import imported
from interop.reading.source import Bytes, Source, over_limit, truncated, unrecognised
from interop.reading.zip_archive import STORED, Archive, Entry

if TYPE_CHECKING:
    import h5py

MAX_JSON = 1 << 27
MAX_OBJECTS = 20_000
MAX_DEPTH = 100
_MAX_UNPACKED = 1 << 33
_MAX_TEXT = 1 << 16
_WEIGHTS, _CONFIG, _METADATA = "model.weights.h5", "config.json", "metadata.json"
_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16",
    "i1": "int8", "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
    "c8": "complex64", "c16": "complex128",
}  # fmt: skip
_OPTIMIZER = ("optimizer", "optimizer_weights")
_FIX = "save the model again with model.save()"


def read(source: Source) -> Manifest:
    """An HDF5 file; ReadError where it is damaged or keeps data elsewhere."""
    reader = _Reader(source, "hdf5")
    reader.weights(_Stream(source.data, 0, source.size), source.base)
    return reader.manifest()


def read_archive(archive: Archive) -> Manifest:
    """A .keras archive: config.json, metadata.json and model.weights.h5."""
    source = archive.source
    reader = _Reader(source, "keras")
    reader.digest.update(archive.directory)
    for name in (_METADATA, _CONFIG):
        entry = archive.entries.get(name)
        if entry is not None:
            raw = archive.read(entry, MAX_JSON)
            if raw is None:
                raise over_limit(source.path, f"entry {name!r} has {entry.size:,} bytes")
            reader.described(name, raw)
    entry = _weights(archive)
    start = archive.start(entry)
    if entry.method == STORED and not entry.flags & 1:
        stream = _Stream(source.data, start, start + entry.packed)
        reader.weights(stream, source.base + start)
    else:
        reader.weights(io.BytesIO(_inflated(archive, entry)), -1)
    return reader.manifest()


def _weights(archive: Archive) -> Entry:
    found = [e for name, e in archive.entries.items() if name.rpartition("/")[2] == _WEIGHTS]
    if len(found) != 1:
        what = f"the archive holds {len(found)} files of weights"
        raise unrecognised(archive.source.path, what, _FIX)
    return found[0]


def _inflated(archive: Archive, entry: Entry) -> bytes:
    data = archive.read(entry, _MAX_UNPACKED)
    if data is None:
        raise over_limit(archive.source.path, f"{entry.name!r} unfolds to {entry.size:,} bytes")
    return data


class _Stream(io.RawIOBase):
    """The bytes [start, stop) of a file as h5py wants them: it reads no more than it needs."""

    def __init__(self, data: Bytes, start: int, stop: int) -> None:
        super().__init__()
        self._data, self._start, self._stop = data, start, stop
        self._at = start

    def readinto(self, buffer: Any) -> int:
        found = self._data[self._at : min(self._at + len(buffer), self._stop)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._start, self._at, self._stop)[whence]
        return self._at - self._start

    def tell(self) -> int:
        return self._at - self._start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Reader:
    def __init__(self, source: Source, container: str) -> None:
        self.path = source.path
        self.size = source.size
        self.stop = source.base + source.size
        self.container = container
        self.digest = hashlib.sha256()
        self.metadata: dict[str, Json] = {}
        self.imports: dict[Import, None] = {}
        self.places: dict[str, list[TensorSpec]] = {}
        self.aside: dict[str, None] = {}
        self.visited = 0
        self.keys: dict[int, str] = {}

    def manifest(self) -> Manifest:
        # HDF5 lists its groups by name, not in the order in which the model defines them.
        found = tuple(StateDict(place, tuple(t), False) for place, t in self.places.items())
        for state_dict in found:
            for spec in state_dict.tensors:
                self.digest.update(f"{spec.name} {spec.dtype} {spec.shape}\n".encode())
        return Manifest(
            path=self.path,
            file=self.path,
            container=self.container,
            size=self.size,
            header_sha256=self.digest.hexdigest(),
            state_dicts=found,
            metadata=self.metadata,
            imports=tuple(self.imports),
            held_aside=tuple(self.aside),
        )

    # ------------------------------------------------------------ the weights

    def weights(self, stream: Any, base: int) -> None:
        """The data sets of an HDF5 file that begins at byte `base`; -1 where it is compressed."""
        library = need("h5py", self.container, self.path)
        try:
            with library.File(stream, "r") as file:
                self.attributes(file)
                self.group(file, "", base, 0)
        except ReadError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            why = " ".join(str(error).split())[:120]
            raise truncated(self.path, f"the HDF5 file is damaged: {why}") from None

    def group(self, group: h5py.Group, path: str, base: int, depth: int) -> None:
        import h5py

        if depth > MAX_DEPTH:
            raise over_limit(self.path, f"groups nested more than {MAX_DEPTH} deep")
        for name in group:
            self.visited += 1
            if self.visited > MAX_OBJECTS:
                raise over_limit(self.path, f"more than {MAX_OBJECTS:,} groups and data sets")
            below = f"{path}/{name}" if path else name
            below.encode()  # a name that is no text has no place in a model
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                # No Keras writes one; it would show what lies at another place or in another file.
                raise self.escape(f"{below!r} is a link")
            if path == "" and name in _OPTIMIZER:
                self.aside[name] = None
                continue
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if isinstance(found, h5py.Group):
                if address in self.keys:
                    raise over_limit(self.path, f"the group {below!r} stands twice")
                self.keys[address] = below
                self.group(found, below, base, depth + 1)
            elif isinstance(found, h5py.Dataset):
                # Two names of one data set are two names of one storage.
                self.dataset(found, below, self.keys.setdefault(address, below), base)

    def escape(self, what: str) -> ReadError:
        return ReadError(
            f"{what}, whose data may lie outside of the file",
            where=self.path,
            fix="do not load this file; save the model again with model.save()",
            rule="external-data-escapes-folder",
        )

    def dataset(self, found: h5py.Dataset, path: str, key: str, base: int) -> None:
        if found.external or found.is_virtual:
            raise self.escape(f"the data set {path!r} is kept elsewhere")
        dtype = _dtype(found)
        if dtype is None:
            self.aside[path] = None  # text, or records: no weights
            return
        place, name = _named(path)
        nbytes = found.size * found.dtype.itemsize
        start = -1
        if base >= 0 and found.chunks is None and found.dtype.byteorder != ">":
            inside = found.id.get_offset()  # None where nothing was ever written
            start = -1 if inside is None else base + inside
        if start + nbytes > self.stop:
            raise truncated(self.path, f"the data set {path!r} is cut off")
        storage = Storage(self.path, key, start, nbytes)
        spec = TensorSpec(name, dtype, tuple(map(int, found.shape)), storage)
        self.places.setdefault(place, []).append(spec)

    # ------------------------------------------------------------ what describes it

    def attributes(self, file: h5py.File) -> None:
        """The attributes of an HDF5 file as Keras 1 to 3 write them."""
        holders = [file]
        if "model_weights" in file:
            holders.append(file["model_weights"])
        for holder in holders:
            for name in ("keras_version", "backend"):
                text = _text(holder.attrs.get(name))
                if text and len(text) < _MAX_TEXT:
                    self.metadata.setdefault(name, text)
        config = _text(file.attrs.get("model_config"))
        if config:
            self.described(_CONFIG, config.encode())

    def described(self, name: str, raw: bytes) -> None:
        self.digest.update(raw)
        try:
            found = json.loads(raw)
            if name == _METADATA and isinstance(found, dict):
                self.metadata.update(found)
            elif isinstance(found, dict):
                self.metadata[name] = found
                self.imports.update(dict.fromkeys(imported(found, self.path)))
        except (ValueError, RecursionError):
            raise truncated(self.path, f"its {name} is no JSON") from None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _dtype(found: h5py.Dataset) -> str | None:
    if found.dtype.kind == "V" and _text(found.attrs.get("dtype")) == "bfloat16":
        return "bfloat16"  # two bytes without a meaning to HDF5, and Keras's note of what they are
    return _DTYPES.get(found.dtype.kind + str(found.dtype.itemsize))


def _named(path: str) -> tuple[str, str]:
    """(place, name): the weights of a full model lie below one group."""
    place, slash, name = path.partition("/")
    return (place, name) if slash and place == "model_weights" else ("", path)


def storage_bytes(path: str, key: str) -> bytes:
    """A data set's numbers, unpacked, row-major and little-endian."""
    library = need("h5py", "hdf5", path)
    with Source(path) as source:
        stream: Any = _Stream(source.data, 0, source.size)
        if source.data[:2] == b"PK":
            archive = Archive(source)
            stream = io.BytesIO(_inflated(archive, _weights(archive)))
        with library.File(stream, "r") as file:
            found = file[key]
            if found.size * found.dtype.itemsize > _MAX_UNPACKED:
                raise over_limit(path, f"the data set {key!r} unfolds to {found.size:,} numbers")
            try:
                values = found[()]
            except OSError as error:
                raise truncated(path, f"the data set {key!r} is damaged: {error}") from None
            little: bytes = values.astype(values.dtype.newbyteorder("<")).tobytes()
            return little
