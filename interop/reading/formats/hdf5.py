"""The bytes of an HDF5 file -> its data sets and Keras's attributes, by h5py in another process.

The library below h5py is written in C and trusts a file's numbers: damaged ones make it run for
ever, or crash. The other process has little time and memory, and what becomes of it is told here.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from interop.errors import ReadError
from interop.reading.archives.zip_archive import Archive
from interop.reading.bytes.address import over_limit, truncated
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Bytes, Source

if TYPE_CHECKING:
    import h5py

MAX_DEPTH = 100
MAX_UNPACKED = 1 << 33
_OBJECT, _OBJECT_MEMORY = 60_000, 1_500  # nanoseconds and bytes of one without numbers of its own
_MAX_CONFIG = 1 << 27
# Seconds of the processor, beside what the import of h5py takes and one more for each 4 MB
# of a file (ten thousand small arrays need one); and bytes.
_LIMITS = {"contents": (1, 1 << 30), "numbers": (30, 1 << 34)}
_MORE_SECONDS = 30
_WALL_SECONDS = 120  # a file far away may take its time
_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16",
    "i1": "int8", "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
    "c8": "complex64", "c16": "complex128",
}  # fmt: skip
_OPTIMIZER = ("optimizer", "optimizer_weights")
_ATTRIBUTES = ("keras_version", "backend", "model_config", "training_config")


class Place(NamedTuple):
    """Where an HDF5 file lies: bytes [start, stop) of a file, or a compressed entry of one."""

    path: str
    start: int = 0
    stop: int = 0
    entry: str = ""


class DataSet(NamedTuple):
    """An array of the file: `start` counts from the file's beginning, -1 where its bytes do not
    lie there as they are. Two of one `key` are the same."""

    path: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


class Contents(NamedTuple):
    """What a file holds: arrays of numbers, what is none of those, and Keras's attributes."""

    sets: tuple[DataSet, ...]
    aside: tuple[str, ...]
    attributes: dict[str, str]


def contents(place: Place) -> Contents:
    """Raises ReadError for a file that is damaged, or that keeps data elsewhere."""
    answer = json.loads(_apart("contents", place, ""))
    if "error" in answer:
        raise ReadError(**answer["error"])
    sets = tuple(DataSet(p, k, d, tuple(s), at, n) for p, k, d, s, at, n in answer["sets"])
    return Contents(sets, tuple(answer["aside"]), answer["attributes"])


def numbers(place: Place, key: str) -> bytes:
    """An array's bytes, unpacked, row-major and little-endian."""
    return _apart("numbers", place, key)


def _apart(task: str, place: Place, key: str) -> bytes:
    """What the task writes, done by another Python with this one's path of imports."""
    program = (
        "import sys, json; task, place, key, sys.path[:] = json.loads(sys.argv[1]); "
        "from interop.reading.formats import hdf5; hdf5.work(task, hdf5.Place(*place), key)"
    )
    command = [sys.executable, "-P", "-c", program, json.dumps([task, place, key, sys.path])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_WALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise over_limit(place.path, "its HDF5 structure takes for ever to read") from None
    if done.returncode < 0 or b"MemoryError" in done.stderr:
        what = "reading its HDF5 structure takes more time or memory than any honest file's"
        raise over_limit(place.path, what)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:160]
        raise truncated(place.path, f"the HDF5 file is damaged: {last}")
    return done.stdout


# ---------------------------------------------------------------- in the other process


def work(task: str, place: Place, key: str) -> None:
    """Do a task and write what it gives to stdout."""
    seconds, memory = _LIMITS[task]
    _limit(seconds + min(_MORE_SECONDS, (place.stop - place.start) >> 22), memory)
    if task == "numbers":
        sys.stdout.buffer.write(_numbers(place, key))
        return
    try:
        answer = _Walk(place).run()._asdict()
    except ReadError as error:
        fault = {"what": error.what, "where": error.where, "fix": error.fix, "rule": error.rule}
        answer = {"error": fault}
    sys.stdout.write(json.dumps(answer))


def _limit(seconds: int, memory: int) -> None:
    import h5py  # noqa: F401 - it takes longer than most files do

    try:
        import resource
    except ImportError:
        return  # there is none on Windows; the time on the clock is limited all the same
    seconds += int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Stream(io.RawIOBase):
    """The bytes [start, stop) of a file as h5py wants them: it reads no more than it needs."""

    def __init__(self, data: Bytes, start: int, stop: int) -> None:
        super().__init__()
        self._data, self._start, self._stop = data, start, stop
        self._at = start

    def readinto(self, buffer: Any) -> int:
        chunk = self._data[self._at : min(self._at + len(buffer), self._stop)]
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._start, self._at, self._stop)[whence]
        return self._at - self._start

    def tell(self) -> int:
        return self._at - self._start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _opened(place: Place, source: Source) -> h5py.File:
    import h5py

    if not place.entry:
        return h5py.File(_Stream(source.data, place.start, place.stop), "r")
    archive = Archive(source)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process that it is for
    archive.unfold(archive.entries[place.entry], file)
    return h5py.File(file, "r")


class _Walk:
    """Goes over the groups of a file."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.path = place.path
        self.budget = Budget(place.path, place.stop - place.start)
        self.keys: dict[int, str] = {}
        self.sets: list[DataSet] = []
        self.aside: dict[str, None] = {}

    def run(self) -> Contents:
        try:
            with Source(self.path) as source, _opened(self.place, source) as file:
                self.budget = source.budget
                self.group(file, "", 0)
                attributes = _attributes(file)  # now that no name is a link to elsewhere
        except ReadError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            why = " ".join(str(error).split())[:120]
            raise truncated(self.path, f"the HDF5 file is damaged: {why}") from None
        return Contents(tuple(self.sets), tuple(self.aside), attributes)

    def group(self, group: h5py.Group, path: str, depth: int) -> None:
        import h5py

        if depth > MAX_DEPTH:
            raise over_limit(self.path, f"groups nested more than {MAX_DEPTH} deep")
        for name in group:
            self.budget.spend(_OBJECT, _OBJECT_MEMORY + len(path))
            below = f"{path}/{name}" if path else name
            below.encode()  # a name that is no text has no place in a model
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                # No Keras writes one; it would show what lies at another place or in another file.
                raise self.escape(f"{below!r} is a link")
            if path == "" and name in _OPTIMIZER:
                self.aside[name] = None
                continue
            member = group[name]
            address = h5py.h5o.get_info(member.id).addr
            if isinstance(member, h5py.Group):
                if address in self.keys:
                    raise over_limit(self.path, f"the group {below!r} stands twice")
                self.keys[address] = below
                self.group(member, below, depth + 1)
            elif isinstance(member, h5py.Dataset):
                # Two names of one data set are two names of one storage.
                self.dataset(member, below, self.keys.setdefault(address, below))

    def escape(self, what: str) -> ReadError:
        return ReadError(
            f"{what}, whose data may lie outside of the file",
            where=self.path,
            fix="do not load this file; save the model again with model.save()",
            rule="external-data-escapes-folder",
        )

    def dataset(self, found: h5py.Dataset, path: str, key: str) -> None:
        if found.external or found.is_virtual:
            raise self.escape(f"the data set {path!r} is kept elsewhere")
        if (dtype := _dtype(found)) is None:
            self.aside[path] = None  # text, or records: no weights
            return
        nbytes = int(found.size * found.dtype.itemsize)
        if nbytes and key == path:  # numbers of its own, which nobody makes for nothing
            self.budget.spend(-_OBJECT)
            self.budget.earn()
        start = -1
        if not self.place.entry and found.chunks is None and found.dtype.byteorder != ">":
            inside = found.id.get_offset()  # None where nothing was ever written
            start = -1 if inside is None else self.place.start + inside
            if start + nbytes > self.place.stop:
                raise truncated(self.path, f"the data set {path!r} is cut off")
        self.sets.append(DataSet(path, key, dtype, tuple(map(int, found.shape)), start, nbytes))


def _dtype(dataset: h5py.Dataset) -> str | None:
    if dataset.dtype.kind == "V" and _text(dataset.attrs.get("dtype")) == "bfloat16":
        return "bfloat16"  # two bytes without a meaning to HDF5, and Keras's note of what they are
    return _DTYPES.get(dataset.dtype.kind + str(dataset.dtype.itemsize))


def _attributes(file: h5py.File) -> dict[str, str]:
    """What Keras 1 to 3 say of the model, at the top or beside its weights."""
    attributes: dict[str, str] = {}
    for holder in (file, file.get("model_weights", file)):
        for name in _ATTRIBUTES:
            if (text := _text(holder.attrs.get(name))) and len(text) <= _MAX_CONFIG:
                attributes.setdefault(name, text)
    return attributes


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # h5py keeps bytes that are no text as halves of letters.
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _numbers(place: Place, key: str) -> bytes:
    with Source(place.path) as source, _opened(place, source) as file:
        dataset = file[key]
        if dataset.size * dataset.dtype.itemsize > MAX_UNPACKED:
            raise MemoryError
        values = dataset[()]
        little: bytes = values.astype(values.dtype.newbyteorder("<")).tobytes()
        return little
