"""A zip archive that torch.save wrote (since PyTorch 1.6) -> a Manifest.

The structure is in `data.pkl`; each storage is an entry of its own, stored as it is, so that the
place of every tensor in the file is known without a look at its values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from interop.facts import Manifest, Storage
from interop.reading.archives import nested_models
from interop.reading.archives.zip_archive import STORED, Archive, Entry
from interop.reading.bytes.address import over_limit, truncated, unrecognised
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Source
from interop.reading.formats.pickled_arrays import PickledArrays
from interop.reading.pickle.checkpoint import Contents, contents, guarded, manifest, persistent
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.records import Node, StorageRef
from interop.reading.pickle.state_dicts import Weights

_OTHER_PICKLES = ("constants.pkl", "bytecode.pkl", "attributes.pkl", "traced_inputs.pkl")
MAX_PICKLE = 1 << 29  # bytes of data.pkl


def read_archive(archive: Archive) -> Manifest:
    """Raises ReadError for a checkpoint that is cut off, asks too much, or hides another one."""
    source = archive.source
    entry = pickle_entry(archive)
    _check_twins(archive)
    prefix = entry.name.removesuffix("data.pkl")
    _check_folder(archive, prefix)
    _check_byte_order(archive, prefix)
    program = archive.structure(entry, MAX_PICKLE)
    digest = hashlib.sha256(program)
    digest.update(archive.directory)
    ledger = Ledger()
    budget, script = source.budget, _is_torchscript(archive, prefix)
    storages: dict[str, Storage] = {}
    named: set[str] = set()

    def refer(key: Node) -> Node:
        node = persistent(key)
        if type(node) is StorageRef and node.key not in named:
            named.add(node.key)
            entry = archive.entries.get(f"{prefix}data/{node.key}")
            if entry is not None and entry.size:
                budget.earn()
        return node

    def locate(ref: StorageRef) -> Storage:
        if (storage := storages.get(ref.key)) is None:
            storage = storages[ref.key] = _storage(archive, prefix, ref)
        return storage

    def work() -> Contents:
        machine = Machine(program, ledger, refer, budget)
        tree = machine.run()
        if named or script:
            found = contents(tree, locate, budget)
        else:  # no tensor of torch's: numpy's arrays are the weights
            arrays = _arrays(archive, entry)
            found = contents(tree, arrays.locate, budget, arrays.tensor)
        # What else there is to load: behind the checkpoint's pickle, and in other entries.
        nested_models.search(program, ledger, budget, machine.position)
        for other in _OTHER_PICKLES:
            if (beside := archive.entries.get(prefix + other)) is not None:
                nested_models.search(archive.structure(beside, MAX_PICKLE), ledger, budget)
        nested_models.unread(archive, prefix, storages, ledger)
        return found

    content = guarded(work, ledger, source.path, whole=True)
    nested_models.beside_checkpoint(archive, prefix, script)
    container = "torch-zip"
    if script:
        container = "torchscript"
        ledger.compile()
    return manifest(source, container, digest.hexdigest(), ledger, content)


def _arrays(archive: Archive, entry: Entry) -> PickledArrays:
    """Arrays whose numbers stand in the pickle itself."""
    packed = entry.method != STORED or archive.source.remote
    start = 0 if packed else archive.source.base + archive.start(entry)
    return PickledArrays(archive.source.path, start, packed=packed)


def tree(source: Source) -> tuple[Node, Callable[[StorageRef], Storage]]:
    """The records of a checkpoint that `read_archive` has taken, and where its storages lie."""
    archive = Archive(source)
    entry = pickle_entry(archive)
    prefix = entry.name.removesuffix("data.pkl")
    # It was paid for when the file was read; to read it again costs as much.
    budget = Budget(source.path, max(source.size, 1 << 40))
    root = Machine(archive.structure(entry, MAX_PICKLE), Ledger(), persistent, budget).run()
    return root, lambda ref: _storage(archive, prefix, ref)


def _is_torchscript(archive: Archive, prefix: str) -> bool:
    """Does the archive bring a program of its own? torch.load refuses it as weights alone."""
    if f"{prefix}constants.pkl" in archive.entries:
        return True
    return any(name.startswith(f"{prefix}code/") for name in archive.entries)


def pickle_entry(archive: Archive) -> Entry:
    names = [n for n in archive.entries if n == "data.pkl" or n.endswith("/data.pkl")]
    names = [n for n in names if n.count("/") <= 1]
    path = archive.source.path
    if not names:
        raise unrecognised(path, "a zip archive, but no PyTorch checkpoint", "save it again")
    if len(names) > 1:
        raise unrecognised(path, f"the archive holds {len(names)} checkpoints", "give one of them")
    return archive.entries[names[0]]


def _check_twins(archive: Archive) -> None:
    """torch finds entries whatever the case of their letters, and by the order of their names."""
    seen: dict[str, str] = {}
    for name in archive.entries:
        if (twin := seen.setdefault(name.lower(), name)) != name:
            what = f"the zip archive holds {twin!r} and {name!r}, one and the same to torch"
            raise archive.refusal("zip-entry-duplicated", what)


def _check_folder(archive: Archive, prefix: str) -> None:
    """torch looks for everything in the folder of the first entry, and refuses the rest."""
    first = next(iter(archive.entries))
    if prefix and not first.lower().startswith(prefix.lower()):
        raise archive.disagree(f"torch takes the folder of {first!r} for the checkpoint's")


def _check_byte_order(archive: Archive, prefix: str) -> None:
    wanted = f"{prefix}byteorder".lower()
    entry = next((e for name, e in archive.entries.items() if name.lower() == wanted), None)
    order = b"little" if entry is None else archive.read(entry, 64)
    if order != b"little":
        big = order == b"big"
        what = "its tensors are big-endian, which is not read"
        what = what if big else "its byte order is none, and torch.load refuses it"
        raise unrecognised(archive.source.path, what, "load it with torch and save it again")


def _storage(archive: Archive, prefix: str, ref: StorageRef) -> Storage:
    """Where the bytes of a storage lie; -1 where they are compressed, or a request away."""
    path = archive.source.path
    if (entry := archive.entries.get(f"{prefix}data/{ref.key}")) is None:
        # TorchScript keeps the tensors of its constants elsewhere, torch.package too.
        entry = archive.entries.get(f"{prefix}tensors/{ref.key}")
    if entry is None:
        raise truncated(path, f"the storage {ref.key!r} is missing from the archive")
    if entry.size < ref.nbytes:
        what = f"storage {ref.key!r} has {entry.size:,} of {ref.nbytes:,} bytes"
        raise truncated(path, what)
    script = f"{prefix}constants.pkl" in archive.entries
    if entry.size > ref.nbytes and not script and not ref.dtype.startswith("quint"):
        what = f"storage {ref.key!r} has {entry.size:,} bytes, and {ref.nbytes:,} by its pickle"
        raise archive.disagree(f"{what}, which torch.load refuses")
    if (plain := entry.method == STORED) and entry.packed < entry.size:
        raise truncated(path, f"storage {ref.key!r} is cut off")
    in_place = plain and not archive.source.remote
    place = archive.source.base + archive.start(entry) if in_place else -1
    return Storage(path, ref.key, place, ref.nbytes)


def storage_bytes(path: str, key: str) -> bytes:
    """The bytes of a compressed storage, inflated whole."""
    with Source(path) as source:
        archive = Archive(source)
        whole = pickle_entry(archive)
        if number := key.partition("\0")[2]:
            arrays = _arrays(archive, whole)
            budget = Budget(source.path, max(source.size, 1 << 40))
            root = Machine(archive.structure(whole, MAX_PICKLE), Ledger(), persistent, budget).run()
            Weights(root, arrays.locate, budget, arrays.tensor)
            return arrays.bytes_of(number)
        prefix = whole.name.removesuffix("data.pkl")
        entry = archive.entries[f"{prefix}data/{key}"]
        data = archive.read(entry, 1 << 34)
    if data is None:
        raise over_limit(path, f"storage {key!r} unfolds to {entry.size:,} bytes")
    return data
