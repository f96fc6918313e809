"""Bytes -> Manifest: what a model file holds, learned without running any code of it.

`read` takes a file or a bundle folder. The reader of each format is loaded only when it is needed;
`interop.reading.values.comparison` goes over the tensors' values and alone needs numpy.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from interop.errors import ExtraMissing, ReadError
from interop.facts import Manifest, TensorSpec
from interop.reading.bytes import location
from interop.reading.bytes.address import is_remote, shown, unrecognised
from interop.reading.bytes.source import Source
from interop.reading.formats.sniff import kind, unknown
from interop.reading.formats.table import reader
from interop.records import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

__all__ = ["read", "values_module"]

# The opcodes that can begin a pickle: a file of another format may be one as well.
_PICKLE_FIRST = frozenset(b"(\x80N)]}\x88\x89IJKLMFGSTUVXBCc\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96")
_USUAL, _LEVEL = 20, 9_000  # levels of a name, and nanoseconds of one more
_PICKLES = frozenset({"pickle", "torch-legacy", "distributed"})


def read(
    path: str | Path, *, content_hash: bool = False, whole: bool = False, _shard: bool = False
) -> Manifest:
    """The facts of a model file or bundle folder; `content_hash` also hashes all of its bytes, and
    each part of a folder.

    `path` may be an address: then only the parts of the file are fetched that its structure is
    in, and its content is not hashed. `whole` fetches all of it first, for those who will read the
    values; its storages then lie in a copy on this machine.

    Raises ReadError, whose `rule` is "file-unrecognised", "file-truncated", "pickle-over-limit",
    "index-escapes-folder", "external-data-escapes-folder", "safetensors-header-invalid",
    "model-nested", "zip-checksum-wrong", "zip-entry-duplicated", "zip-entry-encrypted",
    "zip-entry-escapes" or "zip-headers-disagree".
    """
    path = os.fspath(path)
    if location.is_folder(path):
        from interop.reading import folder, parts

        manifest = folder.read(path, partial(read, content_hash=content_hash, whole=whole))
        if content_hash and not is_remote(path):
            manifest = replace(manifest, parts=tuple(map(parts.hashed, manifest.parts)))
        return manifest
    if whole and is_remote(path):
        return _fetched(path, content_hash, _shard)
    with Source(path) as source:
        if _shard and kind(source) == "index":  # of itself perhaps, and so on without end
            fix = "name the files of the weights in it"
            raise unrecognised(source.path, "the index names an index as a shard", fix)
        shard = partial(read, content_hash=content_hash, whole=whole, _shard=True)
        manifest = _read_file(source, shard)
        levels = sum(map(_levels, _names(manifest)))
        source.budget.spend(levels * _LEVEL)
        if source.data[0] in _PICKLE_FIRST and manifest.container not in _PICKLES:
            from interop.reading.archives import nested_models

            manifest = nested_models.as_pickle(source, manifest)
        if content_hash and not source.remote and manifest.container == "numpy":
            _hold_checksums(source)
        if content_hash and not source.remote and manifest.content_sha256 is None:
            manifest = replace(manifest, content_sha256=_content(source, manifest))
    return manifest


def _names(manifest: Manifest) -> Iterator[str]:
    return (t.name for state_dict in manifest.state_dicts for t in state_dict.tensors)


def _levels(name: str) -> int:
    """How many modules lie above a tensor, beyond what any model has: each is told of later."""
    return max(0, name.count(".") + name.count("/") - _USUAL)


def values_module() -> ModuleType:
    """Compares values; raises ExtraMissing on the light install, which lacks numpy."""
    try:
        from interop.reading.values import comparison
    except ImportError:
        raise ExtraMissing(
            "reading the tensors' values needs numpy and ml_dtypes, which are not installed",
            fix="pip install 'model-interop[run]', or leave values out (policy: values = false)",
        ) from None
    return comparison


def _fetched(address: str, content_hash: bool, shard: bool) -> Manifest:
    from interop.reading.bytes import remote

    path = remote.copy(address)
    try:
        manifest = read(path, content_hash=content_hash, _shard=shard)
    except ReadError as error:
        error.where = error.where.replace(path, shown(address))
        raise
    return replace(manifest, path=shown(address), file=shown(address))


def _read_file(source: Source, shard: Callable[..., Manifest]) -> Manifest:
    """What the first bytes announce decides on the reader."""
    container = kind(source)
    manifest: Manifest | None
    if container == "zip":
        from interop.reading.formats import zipped

        return zipped.read(source)
    if container == "index":
        from interop.reading import folder

        return folder.read_index(source.path, shard)
    if container == "onnx?":
        manifest = reader("onnx").read(source) or reader("saved-model").read_graph(source)
        if manifest is not None:
            return manifest
        if source.data[0] != 0x28:  # an opening mark: the one byte that begins pickles too
            raise unknown(source.path, source.data[:512])
        container = "pickle"
    manifest = reader(container).read(source)
    assert manifest is not None
    return manifest


def _hold_checksums(source: Source) -> None:
    """Hold the checksums of an .npz archive: numpy loads none whose are wrong."""
    from interop.reading.archives.zip_archive import Archive
    from interop.reading.formats import numpy_archive

    if source.data[:2] == b"PK":
        numpy_archive.check_sums(Archive(source))


def _files(tensor: TensorSpec) -> Iterator[str]:
    """The files in which a tensor, or what it is made of, lies."""
    if tensor.storage is not None:
        yield tensor.storage.file
    for part in tensor.parts:
        yield from _files(part)


def _content(source: Source, manifest: Manifest) -> str:
    """The file's hash; with external data, the hash of the hashes of all files concerned."""
    own = source.sha256()
    others = {file for s in manifest.state_dicts for t in s.tensors for file in _files(t)}
    others.discard(manifest.file)
    if not others:
        return own
    import hashlib

    hashes = [own]
    for other in sorted(others):
        with Source(other) as external:
            hashes.append(external.sha256())
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
