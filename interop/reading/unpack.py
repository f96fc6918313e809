"""A storage that does not lie in its file as it is -> its bytes, unpacked in memory.

Two kinds: an entry of a compressed zip archive, and an ONNX tensor kept in protobuf's own lists.
"""

from __future__ import annotations

from interop.facts import Storage
from interop.reading.source import Source, truncated


def unpacked(storage: Storage) -> bytes:
    """The storage's bytes; raises ReadError where they cannot be had."""
    with Source(storage.file) as source:
        is_zip = source.data[:4] == b"PK\x03\x04"
    if is_zip:
        from interop.reading.torch_zip import storage_bytes

        data = storage_bytes(storage.file, storage.key)
    else:
        from interop.reading.onnx import tensor_bytes

        data = tensor_bytes(storage.file, storage.key)
    if len(data) < storage.nbytes:
        raise truncated(storage.file, f"storage {storage.key!r} has too few bytes")
    return data[: storage.nbytes]
