"""A file of one format -> the model of another format hidden in it, and what that would run.

Loaders look through archives that a scanner does not, and the other way round. An archive around a
model is no model: it is refused, by the name of the entry, and with its dangers.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from interop.errors import ReadError
from interop.facts import Danger, Manifest
from interop.patterns import lazy
from interop.reading.archives.zip_archive import DEFLATED, STORED, Archive, Entry
from interop.reading.bytes.address import unrecognised
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Bytes, Source, Window
from interop.reading.pickle.checkpoint import persistent
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.records import Broken, Cut, OverLimit
from interop.records import replace

_MAX_ENTRIES = 10_000  # of a tar
# Where an archive is refused as it is, what its pickles would run is told of the first ones.
_MAX_HIDDEN = 64  # local headers searched for a pickle in a broken archive
_MAX_SEARCHED = 1 << 22  # bytes of the file in which they are looked for
_MAX_PICKLE = 1 << 18  # bytes of those pickles
_FIRST_BYTES = 1 << 14  # of an entry that nobody reads as a pickle: most are seen to be none soon
# Nanoseconds of a look at an entry, and of the beginning of a pickle; of a byte that is unfolded.
_LOOK, _BEGIN, _BYTE = 3_000, 6_000, 5
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
_STARTS = lazy(rb"\x80[\x00-\x05]|c[\w.]{1,60}\n[\w.]{1,60}\n")


def told(source: Source, error: ReadError) -> ReadError:
    """The refusal of an archive, with what a pickle in it would run."""
    if not (unsafe := _would_run(source)) or "would run" in error.what:
        return error
    what = f"{error.what}; a pickle in it would run {unsafe}"
    return ReadError(what, where=error.where, fix="do not load this file", rule=error.rule)


def in_zip(archive: Archive) -> ReadError | None:
    """The refusal of an archive around a model; None where no entry is one."""
    for entry in archive.entries.values():
        if kind := _kind(entry.name, _head(archive, entry)):
            return _refusal(archive.source, "zip", entry.name, kind)
    return None


def beside_checkpoint(archive: Archive, prefix: str, script: bool) -> None:
    """Refuse a checkpoint's archive that holds another model, under a name that is none of torch's:
    there are loaders and scanners that take it for the checkpoint. `script`: it is TorchScript."""
    files = {prefix + name for name in _OWN_FILES}
    folders = tuple(prefix + name for name in _OWN_FOLDERS)
    for entry in archive.entries.values():
        pickled = entry.name.lower().endswith(_PICKLED)
        if entry.name in files or (entry.name.startswith(folders) and not pickled):
            continue
        own = entry.name.removeprefix(prefix)
        if script and own.endswith(("pkl", ".json")) and "/" not in own:
            continue  # of TorchScript's many, all of which `unread` looks through
        kind = _kind(entry.name if pickled else "", _head(archive, entry))
        if kind:
            raise told(archive.source, _refusal(archive.source, "zip", entry.name, kind))


def hidden(archive: Archive, entry: Entry, ledger: Ledger) -> None:
    """Tell `ledger` of what is unsafe in an entry that nobody reads as a pickle, if it is one."""
    inner = Ledger()
    _search_entry(archive, entry, inner)
    for one in inner.imports():
        # Other bytes are a pickle by chance, and name nothing that could be a name.
        named = f"{one.module}.{one.name}".replace(".", "").isidentifier()
        if one.danger == Danger.UNSAFE and (named or one.module == "(computed)"):
            ledger.alter(one.module, one.name)


def unread(archive: Archive, prefix: str, storages: Container[str], ledger: Ledger) -> None:
    """`hidden`, for the entries of a checkpoint that no tensor refers to."""
    for entry in archive.entries.values():
        own = entry.name.removeprefix(prefix)
        if own == "data.pkl" or own.partition("/")[2] in storages:
            continue
        if archive.source.remote and own in _TRIFLES:
            continue  # each would be a request
        hidden(archive, entry, ledger)


def _search_entry(archive: Archive, entry: Entry, ledger: Ledger) -> None:
    """`search` in an entry: in its beginning, and in more of it as long as a pickle goes on."""
    start, most = archive.start(entry), _FIRST_BYTES
    source = archive.source
    source.budget.spend(_LOOK)
    while True:
        if entry.method == DEFLATED:
            program: Bytes = _inflated(source, start, entry.packed, most)
        else:
            program = Window(source.data, start, start + min(entry.packed, most))
        try:
            goes_on = search(program, ledger, source.budget)[1]
        except OverLimit:
            if program[0] == 0x80:  # no other bytes by chance, but a pickle
                raise
            return
        if not goes_on or len(program) < most or most >= entry.size:
            return
        most *= 4


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
    if unsafe := _unsafe([_run(inner, source.budget)]):
        error.what += f"; it would run {unsafe}"
    return told(source, error)


def _first_torch(source: Source, files: Iterable[bytes]) -> ReadError:
    """The refusal of a checkpoint of the first PyTorch, with what its pickles would run."""
    ledger = Ledger()
    with suppress(OverLimit, ReadError):
        for data in files:
            at, _ = search(data, ledger, source.budget)
            for found in islice(_STARTS.finditer(data), _MAX_HIDDEN):
                # Numbers lie between its pickles: each place that may begin one is looked at.
                if found.start() >= at:
                    at, _ = search(data, ledger, source.budget, found.start())
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
    with suppress(OverLimit):  # by chance: these bytes are something else
        search(source.data, ledger, source.budget)
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
    start, source = archive.start(entry), archive.source
    source.budget.spend(_LOOK)
    if entry.method == DEFLATED:
        return _inflated(source, start, min(entry.packed, 256), 16)
    return source.data[start : start + min(entry.packed, 16)]


def _inflated(source: Source, start: int, packed: int, most: int) -> bytes:
    """The first `most` bytes that deflated ones unfold to; b"" if they are none."""
    import zlib

    source.budget.spend(_BYTE * most, most)
    raw = source.data[start : start + min(packed, most + _FIRST_BYTES)]
    try:
        return zlib.decompressobj(-15).decompress(raw, most)
    except zlib.error:
        return b""
    finally:
        source.budget.memory += most  # it is let go of again


# ---------------------------------------------------------------- what it would run


def _would_run(source: Source) -> str:
    """The unsafe names in the pickles of an archive whose directory is not to be trusted."""
    ledgers: list[Ledger] = []
    with suppress(ReadError):  # what is left to spend on the file pays for so many of them
        ledgers.extend(_pickles(source))
    return _unsafe(ledgers)


def _unsafe(ledgers: list[Ledger]) -> str:
    names = [str(i) for one in ledgers for i in one.imports() if i.danger == Danger.UNSAFE]
    return ", ".join(dict.fromkeys(names[:3]))


def _pickles(source: Source) -> Iterator[Ledger]:
    """What each pickle imports that lies behind a local header, whatever sizes that states."""
    data, at, budget = source.data, 0, source.budget
    end = min(source.size, _MAX_SEARCHED)
    for _ in range(_MAX_HIDDEN):
        at = data.find(b"PK\x03\x04", at, end)
        header = data[at : at + 30] if at >= 0 else b""
        if len(header) < 30:
            return
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = at + 30 + lengths
        stop = min(start + _MAX_PICKLE, source.size)
        if header[8] != STORED:  # or so it says
            yield _run(_inflated(source, start, stop - start, _MAX_PICKLE), budget)
        yield _run(data[start:stop], budget)
        at += 4


def _run(program: bytes, budget: Budget) -> Ledger:
    ledger = Ledger()
    with suppress(OverLimit):
        search(program, ledger, budget)
    return ledger


def search(program: Bytes, ledger: Ledger, budget: Budget, at: int = 0) -> tuple[int, bool]:
    """Learn what the pickles of `program`, one behind the other, would import; damaged ones as far
    as they go. Raises OverLimit for one that asks too much.

    Gives the byte to which it came, and whether a pickle goes on behind the last one.
    """
    while at < len(program):
        machine = Machine(program, ledger, persistent, budget, at)
        budget.spend(_BEGIN)
        try:
            machine.run()
        except Cut:
            return machine.position, True
        except OverLimit:
            raise
        except Broken:
            return machine.position, False
        at = machine.position
    return at, True
