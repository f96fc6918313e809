"""A storage that does not lie in its file as it is -> its bytes, unpacked in memory.

An entry of a compressed zip archive, a tensor that ONNX keeps in protobuf's own lists, a chunked
or compressed HDF5 data set, big-endian numbers: the reader of the container knows how.
"""

from __future__ import annotations

from interop.facts import Storage
from interop.reading.archives.zip_archive import Archive
from interop.reading.bytes.address import truncated
from interop.reading.bytes.source import Source
from interop.reading.formats import table, zipped
from interop.reading.formats.sniff import kind


def unpacked(storage: Storage) -> bytes:
    """The storage's bytes; raises ReadError where they cannot be had."""
    with Source(storage.file) as source:
        if (container := kind(source)) == "zip":
            container = zipped.kind(Archive(source))
        if container == "onnx?":  # or a pickle of protocol 0, which may begin alike
            container = "onnx" if table.reader("onnx").read(source) else "pickle"
    module = table.reader(container)
    data: bytes = module.storage_bytes(storage.file, storage.key)
    if len(data) < storage.nbytes:
        raise truncated(storage.file, f"storage {storage.key!r} has too few bytes")
    return data[: storage.nbytes]
