"""A checkpoint's pickle and the places of its storages -> a Manifest.

Shared by the zip and the legacy reader. A file that names something unsafe is told of as such even
where its pickle breaks off afterwards: that is how hostile files are made.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from interop.errors import ReadError
from interop.facts import DTYPE_BITS, Import, Json, Manifest, StateDict, Storage
from interop.reading.bytes.address import over_limit, truncated, unrecognised
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Source
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.metadata import describe
from interop.reading.pickle.rebuild import Unfit, storage_dtype
from interop.reading.pickle.records import Broken, Cut, Node, OverLimit, StorageRef, Tensor
from interop.reading.pickle.state_dicts import Weights, extent

Contents = tuple[tuple[StateDict, ...], tuple[str, ...], dict[str, Json]]


def persistent(key: Node) -> Node:
    """What a persistent id of torch's stands for: a storage, or a module's class."""
    if type(key) is tuple and key and key[0] == "module" and len(key) > 1:
        return key[1]  # legacy files carry the class's source code beside it
    if type(key) is not tuple or len(key) < 5 or key[0] != "storage":
        raise Broken("a persistent id that is none of torch's")
    _, kind, name, location, count = key[:5]
    if type(name) is not str:
        name = str(name) if type(name) is int else ""
    if not name or type(count) is not int or not 0 <= count < 1 << 60 or type(location) is not str:
        raise Broken("a persistent id that is none of torch's")
    try:
        dtype = storage_dtype(kind)
    except Unfit:
        raise Broken("a storage of an unknown dtype") from None
    shift = 0
    if len(key) > 5 and type(key[5]) is tuple and len(key[5]) == 3 and type(key[5][1]) is int:
        shift = key[5][1]  # a view into a storage, (its key, where it begins, its length)
    return StorageRef(name, dtype, (count * DTYPE_BITS[dtype] + 7) // 8, location, shift)


def contents(
    tree: Node,
    locate: Callable[[StorageRef], Storage],
    budget: Budget,
    as_tensor: Callable[[Node], Tensor | None] | None = None,
) -> Contents:
    """State dicts, the places held aside, and metadata; raises ReadError for a tensor that
    reaches past its storage. `as_tensor` is that of `Weights`."""
    weights = Weights(tree, locate, budget, as_tensor)
    for state_dict in weights.state_dicts:
        for tensor in chain.from_iterable((t, *t.parts) for t in state_dict.tensors):
            if tensor.storage is not None and extent(tensor) > tensor.storage.nbytes:
                what = f"tensor {tensor.name!r} reaches past the end of its storage"
                raise truncated(budget.path, what)
    return tuple(weights.state_dicts), tuple(weights.held_aside), describe(tree, budget)


def guarded(work: Callable[[], Contents], ledger: Ledger, path: str, whole: bool) -> Contents:
    """`work()`, its failures told as ReadErrors; nothing at all where the file is unsafe anyway.

    `whole` tells that the pickle's bytes are all there, so that it is damaged and not cut off.
    """
    try:
        return work()
    except OverLimit as error:
        failure = over_limit(path, f"its pickle holds {error}")
    except Cut as error:
        failure = truncated(path, f"its pickle is cut off: {error}")
    except Broken as error:
        refuse = truncated if whole else unrecognised
        failure = refuse(path, f"its pickle is damaged: {error}", "fetch or save the file again")
    except RecursionError:
        failure = over_limit(path, "its pickle holds containers nested too deeply")
    except ReadError as error:
        failure = error
    if ledger.unsafe:
        return (), (), {}
    raise failure


def manifest(
    source: Source, container: str, header: str, ledger: Ledger, found: Contents
) -> Manifest:
    """The Manifest of one pickled checkpoint."""
    state_dicts, aside, metadata = found
    imports: tuple[Import, ...] = ledger.imports()
    return Manifest(
        path=source.path,
        file=source.path,
        container=container,
        size=source.size,
        header_sha256=header,
        state_dicts=state_dicts,
        metadata=metadata,
        imports=imports,
        held_aside=aside,
    )
