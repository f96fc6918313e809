"""What interop reads against what the formats' own libraries read of the same bytes."""

from __future__ import annotations

import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fixtures import hostile
from interop.errors import ReadError
from interop.reading import read
from interop.reading.archives.zip_archive import Archive
from interop.reading.bytes.source import Source
from interop.reading.formats import hdf5
from interop.reading.formats import safetensors as reader
from tests.fuzz.guided import mutators as m
from tests.fuzz.guided.target import Finding, Target
from tests.fuzz.seeds import CORPUS, seeds

# ---------------------------------------------------------------- safetensors

# What the library takes and interop refuses, by what interop says of it.
_REFUSED = {
    "a name twice, of which the library takes the last": r"a name stands twice",
    "half a character, which can be shown nowhere": r"it is no UTF-8",
    "a dtype that torch has not, as of 6 bits": r"unknown dtype",
    "an odd number of 4-bit numbers in the last axis": r"odd number of 4-bit",
    "more than 64 axes": r"the shape or place of .* is none",
    "metadata that are null": r"metadata are no strings",
    "a header that costs too much to read": r"takes more than",
}


def safetensors(folder: Path) -> Callable[[bytes], None]:
    import safetensors as library

    path = folder / "model.safetensors"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        theirs: list[Any] | None
        try:
            theirs = library.deserialize(data)
        except Exception as error:
            theirs, why = None, str(error)
        try:
            with Source(str(path)) as source:
                ours = reader.read(source)
        except ReadError as error:
            if theirs is None or any(re.search(p, str(error)) for p in _REFUSED.values()):
                return
            raise Finding("library-takes", f"{error}; {data[:300]!r}") from None
        if theirs is None:
            raise Finding("library-refuses", f"{why}; {data[:300]!r}")
        found = {t.name: t for s in ours.state_dicts for t in s.tensors}
        if len(found) != len(theirs):
            raise Finding("names-differ", f"{list(found)}; {[n for n, _ in theirs]}")
        for name, entry in theirs:
            tensor = found.get(name)
            if tensor is None or tensor.storage is None:
                raise Finding("names-differ", repr(name))
            shape = list(entry["shape"])
            if entry["dtype"] == "F4":
                shape[-1] //= 2
            start = tensor.storage.offset
            own = data[start : start + tensor.storage.nbytes]
            if (reader.DTYPES[entry["dtype"]], shape, bytes(entry["data"])) != (
                tensor.dtype, list(tensor.shape), own,
            ):  # fmt: skip
                raise Finding("tensors-differ", f"{name!r}: {tensor}; {entry['shape']}")
        # To everybody else it is safetensors: here it is that, or nothing.
        try:
            container = read(path).container
        except ReadError:
            return
        if container != "safetensors":
            raise Finding("taken-for-another", f"{container}; {data[:300]!r}")

    return run


def _safetensors_files() -> Iterable[bytes]:
    for seed in seeds()["safetensors"]:
        yield seed.path.read_bytes()
    for one in hostile.HOSTILE:
        if isinstance(one.content, bytes) and one.content[8:9] == b"{":
            yield one.content
    for dtype, bits in (("F4", 4), ("F64", 64), ("F8_E8M0", 8), ("C64", 64), ("BOOL", 8)):
        size = 8 * bits // 8
        entry = {"dtype": dtype, "shape": [2, 4], "data_offsets": [0, size]}
        yield hostile.safetensors({"a": entry}, bytes(size))


# ---------------------------------------------------------------- zip archives

# What zipfile refuses and interop's archive passes on to whoever reads an entry.
_ZIPFILE = {
    "a version later than its own": r"zip file version",
    "a way of compression that it lacks": r"compression type|compression method",
    "an extra field that is damaged": r"[Cc]orrupt.*extra",
    "a checksum of torch's, which are 0": r"Bad CRC-32",
    "a disk of several": r"multiple disks|span",
    "a comment's end": r"not a zip file",
}
_MOST = 1 << 20


def archives(folder: Path) -> Callable[[bytes], None]:
    path = folder / "archive.zip"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        if not data:
            return
        contents: dict[str, bytes | None] = {}
        try:
            with Source(str(path)) as source:
                archive = Archive(source)
                archive.agree()
                for entry in archive.entries.values():
                    try:
                        contents[entry.name] = archive.read(entry, _MOST)
                    except ReadError:
                        contents[entry.name] = None
        except ReadError:
            return
        try:
            with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as theirs:
                warnings.simplefilter("ignore")
                names = {_raw(i).decode("utf-8", "replace"): i for i in theirs.infolist()}
                if list(names) != list(contents) or len(names) != len(theirs.infolist()):
                    raise Finding("names-differ", f"{list(names)}; {list(contents)}")
                for name, info in names.items():
                    own = contents[name]
                    if own is not None and _of(theirs, info) not in (None, own):
                        raise Finding("bytes-differ", repr(name))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            if not any(re.search(pattern, str(error)) for pattern in _ZIPFILE.values()):
                raise Finding("zipfile-refuses", f"{error!r}") from None

    return run


def _of(theirs: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    """zipfile's bytes of an entry; None where it stumbles over what is in `_ZIPFILE`."""
    if info.file_size > _MOST:
        return None
    try:
        return theirs.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        if any(re.search(pattern, str(error)) for pattern in _ZIPFILE.values()):
            return None
        raise Finding("zipfile-refuses-entry", f"{info.filename!r}: {error!r}") from None


def _raw(info: zipfile.ZipInfo) -> bytes:
    name: str = info.orig_filename  # type: ignore[attr-defined]
    return name.encode("utf-8" if info.flag_bits & 0x800 else "cp437")


def _archives() -> Iterable[bytes]:
    for path in sorted(CORPUS.rglob("*")):
        if path.is_file() and path.read_bytes()[:2] == b"PK":
            yield path.read_bytes()
    for one in hostile.HOSTILE:
        if isinstance(one.content, bytes) and one.content[:2] == b"PK":
            yield one.content


# ---------------------------------------------------------------- ONNX


# What the checker refuses beside what tests/reading/test_onnx_soundness.py lists, by its message.
_CHECKER = {
    "opsets before they were there": r"IR version < 3 cannot have opset_import",
    "a field that is required beside the name": r"Field '\w+' of .* is required but missing",
    "a function twice": r"multiple local functions with the same",
    "numbers that do not fit the shape, which is no fault of the graph": r"^TensorProto",
    "no IR version": r"does not have an ir_version",
    "an IR version later than the checker's": r"ir_version \d+ is higher than",
    "a type without elements or shape": r"^(TypeProto|Field 'elem_type'|ValueInfo|type)",
}
# What the reader refuses and the checker passes, by what the reader says.
_READER = {
    "an opset of version 0, which there is none of": r"\b0 has no operator",
    "a function's body, into which the checker looks from IR version 8 on": r"function '",
}


def onnx(folder: Path) -> Callable[[bytes], None]:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    from tests.reading.test_onnx_soundness import disagreement

    def run(data: bytes) -> None:
        model = ModelProto()
        try:
            model.ParseFromString(data)
        except DecodeError:
            return
        if not model.graph.node or len(model.SerializeToString()) > 1 << 20:
            return
        try:
            differs = disagreement(model, folder)
        except (ReadError, AssertionError):
            return  # refused, or not taken for ONNX
        except (UnicodeError, ValueError, RuntimeError):
            return  # of the checker's own
        if not differs.startswith("not listed"):
            return
        ours, _, theirs = differs.partition(": ")[2].partition(" | ")
        listed, words = (_CHECKER, theirs) if theirs else (_READER, ours)
        if not any(re.search(pattern, words) for pattern in listed.values()):
            plain = re.sub(r"'[^']*'|[^a-zA-Z ]", "", words)
            who = "checker" if theirs else "reader"
            raise Finding(f"{who}-{'-'.join(plain.split()[:7])}", differs)

    return run


def _graphs() -> Iterable[bytes]:
    from tests.reading.test_onnx_soundness import CHANGES, composed

    for seed in seeds()["onnx"]:
        yield seed.path.read_bytes()
    for changes in CHANGES.values():
        for change in changes:
            model = composed()
            change(model)
            yield model.SerializeToString()


# ---------------------------------------------------------------- HDF5


def arrays(folder: Path) -> Callable[[bytes], None]:
    import h5py

    path = folder / "model.h5"

    def listed() -> list[Any]:
        found: list[Any] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append([name, list(item.shape or ())])

        with h5py.File(path, "r") as file:
            file.visititems(visit)
        return found

    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            ours = hdf5.contents(hdf5.Place(str(path)))
        except ReadError:
            return
        if (theirs := _forked(listed)) is None:
            return
        shapes = dict(theirs)
        for one in ours.sets:
            name = one.path.strip("/")
            if name in shapes and shapes[name] != list(one.shape):
                raise Finding("shapes-differ", f"{name!r}: {one.shape} and {shapes[name]}")
        known = {one.path.strip("/") for one in ours.sets} | {a.strip("/") for a in ours.aside}
        if lost := [n for n in shapes if n not in known and not _held_aside(n)]:
            raise Finding("names-differ", f"{lost[:5]}; {sorted(known)[:20]}")

    return run


def _held_aside(name: str) -> bool:
    return name.split("/")[0] in ("optimizer", "optimizer_weights") or "/optimizer" in name


def _forked(work: Callable[[], Any]) -> Any:
    """What `work` gives in a process of its own; None where that fails, crashes or takes long."""
    import resource

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
            os.close(reading)
            with os.fdopen(writing, "w") as out:
                json.dump(work(), out)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as given:
        text = given.read()
    os.waitpid(pid, 0)
    try:
        return json.loads(text)
    except ValueError:
        return None


def _hdf5_files() -> Iterable[bytes]:
    for seed in seeds().get("hdf5", ()):
        yield seed.path.read_bytes()


def targets() -> list[Target]:
    return [
        Target("oracle-safetensors", safetensors, _safetensors_files,
               m.either((0.85, m.safetensors)), needs=("safetensors",)),
        Target("oracle-zip", archives, _archives,
               m.either((0.5, m.zip_records), (0.2, m.zipped(m.entry)))),
        Target("oracle-onnx", onnx, _graphs, m.either((0.9, m.protobuf)), runs=100,
               needs=("onnx", "torch")),
        Target("oracle-hdf5", arrays, _hdf5_files, weight=0.2, runs=2, needs=("h5py",)),
    ]  # fmt: skip
