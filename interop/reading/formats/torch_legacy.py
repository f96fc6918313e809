"""A file that torch.save wrote before PyTorch 1.6, or a bare pickle -> a Manifest.

Legacy layout: five pickles (magic number, protocol, system, the checkpoint, the storages' keys),
then for each key the storage's number of elements, eight bytes, and its elements.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from interop.errors import ReadError
from interop.facts import DTYPE_BITS, Manifest, Storage
from interop.reading.archives import nested_models
from interop.reading.bytes.address import truncated, unrecognised
from interop.reading.bytes.source import Source
from interop.reading.formats.sniff import unknown
from interop.reading.pickle.checkpoint import Contents, contents, guarded, manifest, persistent
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.records import (
    Bag,
    Blob,
    Broken,
    Cut,
    Mapping,
    Node,
    OverLimit,
    StorageRef,
)
from interop.reading.pickle.state_dicts import Weights
from interop.records import replace

if TYPE_CHECKING:
    from interop.reading.formats.pickled_arrays import PickledArrays

MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read(source: Source) -> Manifest:
    """Raises ReadError for bytes that are no pickle, are cut off, or ask for too much."""
    return _Legacy(source).read()


class _Legacy:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.ledger = Ledger()
        self.refs: dict[str, StorageRef] = {}
        self.storages: dict[str, Storage] = {}
        self.position = 0
        self.end = 0  # behind the storages
        self.room = source.size  # for bytes of storages

    def read(self) -> Manifest:
        try:
            first = self.next_pickle()
        except (Broken, RecursionError, ReadError) as error:
            return self.bare(None, error)
        if type(first) is not int or first != MAGIC:
            return self.bare(first, None)
        contents = guarded(self.checkpoint, self.ledger, self.source.path, whole=False)
        return self.manifest("torch-legacy", contents)

    def next_pickle(self) -> Node:
        machine = Machine(
            self.source.data, self.ledger, self.persistent, self.source.budget, self.position
        )
        machine.stored = self.stored
        tree = machine.run()
        self.position = machine.position
        return tree

    def stored(self, data: Node) -> StorageRef | None:
        """The storage in bytes that torch.save wrote, as `pickle.dump` keeps a tensor's."""
        if type(data) is not Blob:
            return None
        inner = _Legacy(self.source.within(data.start, data.start + data.size))
        inner.ledger = self.ledger
        try:
            ref = inner.tree() if inner.next_pickle() == MAGIC else None
        except (Broken, RecursionError):
            return None
        if type(ref) is not StorageRef or ref.key not in inner.storages:
            return None
        key = f"{data.start}:{ref.key}"
        self.storages[key] = replace(inner.storages[ref.key], key=key)
        stored = self.refs[key] = replace(ref, key=key)
        return stored

    def persistent(self, key: Node) -> Node:
        node = persistent(key)
        if type(node) is StorageRef and self.refs.setdefault(node.key, node) is node:
            self.room -= node.nbytes
            if node.nbytes and self.room >= 0:
                self.source.budget.earn()
        return node

    def manifest(self, container: str, found: Contents) -> Manifest:
        # What decides the structure is the pickles; a broken one counts as far as it goes.
        header = self.source.sha256(min(self.position or self.source.size, 1 << 26))
        return manifest(self.source, container, header, self.ledger, found)

    def checkpoint(self) -> Contents:
        found = contents(self.tree(), self.locate, self.source.budget)
        nested_models.search(self.source.data, self.ledger, self.source.budget, self.end)
        return found

    def tree(self) -> Node:
        """The checkpoint's records; afterwards it is known where each storage lies."""
        protocol, system = self.next_pickle(), self.next_pickle()
        if protocol != _PROTOCOL or type(system) is not Mapping:
            raise Broken("a legacy checkpoint of an unknown protocol")
        if system.named.get("little_endian") is False:
            what = "its tensors are big-endian, which is not read"
            raise unrecognised(self.source.path, what, "load it with torch and save it again")
        tree = self.next_pickle()
        keys = self.next_pickle()
        if type(keys) is not list:
            raise Broken("its list of storages is none")
        self.end = self.position
        for key in keys:
            self.end = self.storage(key, self.end)
        return tree

    def storage(self, key: Node, at: int) -> int:
        """Note where the storage at byte `at` lies; gives the byte behind it."""
        ref = self.refs.get(key) if type(key) is str else None
        if ref is None:
            raise Broken("it lists a storage that it does not use")
        data, size = self.source.data, self.source.size
        begin = at + 8
        if self.source.remote:  # its length stands in the pickle too, and here is a request away
            nbytes = count = ref.nbytes
        else:
            count = int.from_bytes(data[at:begin], "little", signed=True)
            nbytes = (count * DTYPE_BITS[ref.dtype] + 7) // 8
        if begin > size or count < 0 or begin + nbytes > size:
            raise truncated(self.source.path, f"storage {key!r} is cut off")
        if nbytes < ref.nbytes:
            what = f"storage {key!r} has {nbytes:,} of {ref.nbytes:,} bytes"
            raise truncated(self.source.path, what)
        offset = self.source.base + begin
        self.storages[ref.key] = Storage(self.source.path, ref.key, offset, nbytes)
        return begin + nbytes

    def locate(self, ref: StorageRef) -> Storage:
        if (storage := self.storages.get(ref.key)) is None:
            raise truncated(self.source.path, f"storage {ref.key!r} is missing")
        return storage

    # ------------------------------------------------------------ a pickle without torch's frame

    def bare(self, tree: Node, failure: Exception | None) -> Manifest:
        """A pickle of something else: its imports matter, tensors it can have none."""
        path, ledger = self.source.path, self.ledger
        head = self.source.data[:512]
        if failure is None:
            # "I1\n." is a pickle too, but nobody's checkpoint; nor is text that begins like a list.
            kept = type(tree) is Mapping
            if not kept and type(tree) in (list, tuple, Bag):
                with suppress(OverLimit, ReadError):
                    end, _ = nested_models.search(
                        self.source.data, ledger, self.source.budget, self.position
                    )
                    kept = end == self.source.size
            if head[0] != 0x80 and not ledger.imports() and not kept:
                raise unknown(path, head)

            def work() -> Contents:
                # More of them may follow, for a loader of several.
                nested_models.search(self.source.data, ledger, self.source.budget, self.position)
                if self.refs:
                    return contents(tree, self.locate, self.source.budget)
                arrays = self.arrays()
                return contents(tree, arrays.locate, self.source.budget, arrays.tensor)

            return self.manifest("pickle", guarded(work, ledger, path, whole=False))
        if ledger.unsafe:
            return self.manifest("pickle", ((), (), {}))
        framed = head[0] == 0x80 and len(head) > 1 and head[1] <= 5
        if not framed and not isinstance(failure, (OverLimit, ReadError)):
            raise unknown(path, head)
        return self.refuse(failure)

    def arrays(self) -> PickledArrays:
        from interop.reading.formats.pickled_arrays import PickledArrays

        return PickledArrays(self.source.path, self.source.base)

    def refuse(self, failure: Exception) -> Manifest:
        def work() -> Contents:
            raise failure

        contents = guarded(work, self.ledger, self.source.path, whole=isinstance(failure, Cut))
        return self.manifest("pickle", contents)


def tree(source: Source) -> tuple[Node, Callable[[StorageRef], Storage]]:
    """The records of a legacy checkpoint that `read` has taken, and where its storages lie."""
    legacy = _Legacy(source)
    legacy.next_pickle()  # the magic number
    return legacy.tree(), legacy.locate


def storage_bytes(path: str, key: str) -> bytes:
    """The numbers of an array in a bare pickle, which spells them in its own way."""
    with Source(path) as source:
        reader = _Legacy(source)
        arrays = reader.arrays()
        Weights(reader.next_pickle(), arrays.locate, source.budget, arrays.tensor)
        return arrays.bytes_of(key.partition("\0")[2])
