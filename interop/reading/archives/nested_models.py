"""A file of one format -> the model of another format hidden in it, and what that would run.

Loaders look through archives that a scanner does not, and the other way round. An archive around a
model is no model: it is refused, by the name of the entry, and with its dangers.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from interop.errors import ReadError
from interop.facts import Danger, Manifest
from interop.reading.archives.zip_archive import DEFLATED, STORED, Archive, Entry
from interop.reading.bytes.address import unrecognised
from interop.reading.bytes.source import Bytes, Source
from interop.reading.pickle.checkpoint import persistent
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.records import Broken

_MAX_ENTRIES = 10_000  # looked at in one archive
_MAX_HIDDEN = 64  # local headers searched for a pickle in a broken archive
_MAX_SEARCHED = 1 << 22  # bytes of the file in which they are looked for
_MAX_PICKLE = 1 << 18  # bytes of those pickles
_MAX_PICKLES = 100  # one behind the other
_MAX_ENTRY = 1 << 20  # bytes of an entry that has no business to be a pickle
_MAX_UNREAD = 1 << 26  # bytes of all of those
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill")
_ENDINGS = (*_PICKLED, ".bin", ".onnx", ".safetensors", ".h5", ".keras", ".zip")
# What torch.save, torch.jit.save and torch.package write beside data.pkl: files, and folders whose
# files may begin with any bytes.
_OWN_FILES = (
    "data.pkl", "constants.pkl", "bytecode.pkl", "attributes.pkl", "traced_inputs.pkl",
    "version", "byteorder", ".format_version", ".storage_alignment",
)  # fmt: skip
_TRIFLES = frozenset(
    ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
)
_OWN_FOLDERS = ("data/", "tensors/", "constants/", "code/", ".data/")


# What the first PyTorch wrote into a tar, and where a pickle may begin: a protocol or a name.
_TAR_FILES = ("sys_info", "pickle", "storages", "tensors")
_STARTS = re.compile(rb"\x80[\x00-\x05]|c[\w.]{1,60}\n[\w.]{1,60}\n")


def told(source: Source, error: ReadError) -> ReadError:
    """The refusal of an archive, with what a pickle in it would run."""
    if not (unsafe := _would_run(source)) or "would run" in error.what:
        return error
    what = f"{error.what}; a pickle in it would run {unsafe}"
    return ReadError(what, where=error.where, fix="do not load this file", rule=error.rule)


def in_zip(archive: Archive) -> ReadError | None:
    """The refusal of an archive around a model; None where no entry is one."""
    for entry in list(archive.entries.values())[:_MAX_ENTRIES]:
        if kind := _kind(entry.name, _head(archive, entry)):
            return _refusal(archive.source, "zip", entry.name, kind)
    return None


def beside_checkpoint(archive: Archive, prefix: str) -> None:
    """Refuse a checkpoint's archive that holds another model, under a name that is none of torch's:
    there are loaders and scanners that take it for the checkpoint."""
    files = {prefix + name for name in _OWN_FILES}
    folders = tuple(prefix + name for name in _OWN_FOLDERS)
    for entry in list(archive.entries.values())[:_MAX_ENTRIES]:
        pickled = entry.name.lower().endswith(_PICKLED)
        if entry.name in files or (entry.name.startswith(folders) and not pickled):
            continue
        kind = _kind(entry.name if pickled else "", _head(archive, entry))
        if kind:
            raise told(archive.source, _refusal(archive.source, "zip", entry.name, kind))


def hidden(archive: Archive, entry: Entry, ledger: Ledger) -> None:
    """Tell `ledger` of what is unsafe in an entry that nobody reads as a pickle, if it is one."""
    start = archive.start(entry)
    raw = archive.source.data[start : start + min(entry.packed, _MAX_ENTRY)]
    inner = Ledger()
    search(_inflated(raw, _MAX_ENTRY) if entry.method == DEFLATED else raw, inner)
    for one in inner.imports():
        # Other bytes are a pickle by chance, and name nothing that could be a name.
        named = f"{one.module}.{one.name}".replace(".", "").isidentifier()
        if one.danger == Danger.UNSAFE and (named or one.module == "(computed)"):
            ledger.alter(one.module, one.name)


def unread(archive: Archive, prefix: str, storages: Container[str], ledger: Ledger) -> None:
    """`hidden`, for the entries of a checkpoint that no tensor refers to."""
    left = _MAX_UNREAD
    for entry in list(archive.entries.values())[:_MAX_ENTRIES]:
        own = entry.name.removeprefix(prefix)
        if own == "data.pkl" or own.partition("/")[2] in storages:
            continue
        if archive.source.remote and own in _TRIFLES:
            continue  # each would be a request
        hidden(archive, entry, ledger)
        left -= min(entry.packed, _MAX_ENTRY)
        if left < 0:
            return


def in_tar(source: Source) -> ReadError:
    """The refusal of a tar archive: of a model by its entry's name, or of whatever it is."""
    at, left = 0, _MAX_PICKLE
    own: dict[str, list[bytes]] = {}
    for _ in range(_MAX_ENTRIES):
        header = source.data[at : at + 512]
        name = header[:100].split(b"\0")[0].decode("utf-8", "replace")
        digits = header[124:136].strip(b" \0")
        if not name or not digits.isdigit() or len(digits) > 11:
            break
        try:
            size = int(digits, 8)
        except ValueError:
            break
        if name in _TAR_FILES and size and left > 0:
            own.setdefault(name, []).append(source.data[at + 512 : at + 512 + min(size, left)])
            left -= size
        elif kind := _kind(name, source.data[at + 512 : at + 512 + min(size, 16)]):
            return _in_tar(source, name, kind, source.data[at + 512 : at + 512 + min(size, left)])
        at += 512 + (size + 511) // 512 * 512
    if len(own) == len(_TAR_FILES):
        return _first_torch(source, [data for several in own.values() for data in several])
    for name, several in own.items():
        if kind := _kind(name, several[0]):
            return _in_tar(source, name, kind, several[0])
    fix = "unpack it with `tar xf` and give the model file in it"
    return unrecognised(source.path, "this is a tar archive", fix)


def _in_tar(source: Source, name: str, kind: str, inner: bytes) -> ReadError:
    error = _refusal(source, "tar", name, kind)
    if unsafe := _unsafe([_run(inner)[0]]):
        error.what += f"; it would run {unsafe}"
    return told(source, error)


def _first_torch(source: Source, files: Iterable[bytes]) -> ReadError:
    """The refusal of a checkpoint of the first PyTorch, with what its pickles would run."""
    ledger = Ledger()
    for data in files:
        at = search(data, ledger)
        for found in islice(_STARTS.finditer(data), _MAX_HIDDEN):
            # Numbers lie between its pickles: each place that may begin one is looked at.
            if found.start() >= at:
                at = search(data, ledger, found.start())
    what = "a checkpoint of PyTorch 0.1.9 or before (a tar of " + ", ".join(_TAR_FILES) + ")"
    if unsafe := _unsafe([ledger]):
        what, fix = f"{what}; loading it would run {unsafe}", "do not load this file"
        return ReadError(what, where=source.path, fix=fix, rule="model-nested")
    fix = "load it with torch.load(…, weights_only=False) and save it again with torch.save"
    return unrecognised(source.path, f"this is {what}", fix)


def as_pickle(source: Source, manifest: Manifest) -> Manifest:
    """The Manifest of a file, with what is unsafe in it where loaders that unpickle it would see a
    pickle: the same bytes can be an ONNX model to one and a command to the other."""
    ledger = Ledger()
    search(source.data, ledger)
    unsafe = tuple(i for i in ledger.imports() if i.danger == Danger.UNSAFE)
    return replace(manifest, imports=manifest.imports + unsafe) if unsafe else manifest


def _refusal(source: Source, outer: str, name: str, kind: str) -> ReadError:
    return ReadError(
        f"a {outer} archive around {name[:80]!r}, itself {kind}",
        where=source.path,
        fix="unpack it and inspect what is in it before anything loads it",
        rule="model-nested",
    )


def _kind(name: str, head: bytes) -> str:
    """What an entry that is a model of its own is, by its first bytes or by its name."""
    if head[:4] == b"PK\x03\x04":
        return "a zip archive"
    if len(head) > 1 and head[0] == 0x80 and 1 <= head[1] <= 5:
        return "a pickle"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "an HDF5 file"
    return "a model by its name" if name.lower().endswith(_ENDINGS) and head else ""


def _head(archive: Archive, entry: Entry) -> bytes:
    """The first bytes of an entry, inflated."""
    start = archive.start(entry)
    raw = archive.source.data[start : start + min(entry.packed, 256)]
    return _inflated(raw, 16) if entry.method == DEFLATED else raw[:16]


def _inflated(raw: bytes, most: int) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(-15).decompress(raw, most)
    except zlib.error:
        return b""


# ---------------------------------------------------------------- what it would run


def _would_run(source: Source) -> str:
    """The unsafe names in the pickles of an archive whose directory is not to be trusted."""
    return _unsafe(list(_pickles(source)))


def _unsafe(ledgers: list[Ledger]) -> str:
    names = [str(i) for one in ledgers for i in one.imports() if i.danger == Danger.UNSAFE]
    return ", ".join(dict.fromkeys(names[:3]))


def _pickles(source: Source) -> Iterator[Ledger]:
    """What each pickle imports that lies behind a local header, whatever sizes that states."""
    data, at, left = source.data, 0, _MAX_PICKLE
    end = min(source.size, _MAX_SEARCHED)
    for _ in range(_MAX_HIDDEN):
        at = data.find(b"PK\x03\x04", at, end)
        header = data[at : at + 30] if at >= 0 else b""
        if len(header) < 30:
            return
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        program = data[at + 30 + lengths : min(at + 30 + lengths + left, source.size)]
        if header[8] != STORED:  # or so it says
            ledger, used = _run(_inflated(program, left))
            yield ledger
            left -= used
        ledger, used = _run(program)
        yield ledger
        left -= used
        at += 4


def _run(program: bytes) -> tuple[Ledger, int]:
    ledger = Ledger()
    return ledger, search(program, ledger)


def search(program: Bytes, ledger: Ledger, at: int = 0) -> int:
    """Learn what the pickles of `program`, one behind the other, would import; damaged ones as far
    as they go. Gives the byte to which it came."""
    for _ in range(_MAX_PICKLES):
        machine = Machine(program, ledger, persistent, at)
        try:
            machine.run()
        except (Broken, RecursionError):
            return machine.position
        at = machine.position
    return at
