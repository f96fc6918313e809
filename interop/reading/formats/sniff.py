"""The first bytes of a file -> the reader that is to read it, or what the file is instead.

The bytes decide, never the name: half of the files called .pth in the wild are something else.
"""

from __future__ import annotations

from interop.errors import ReadError
from interop.reading.bytes.address import truncated, unrecognised
from interop.reading.bytes.source import Source
from interop.reading.formats import foreign

# Tags of the top-level fields of an ONNX model (number << 3 | wire type); any may come first.
_ONNX_FIRST = frozenset({0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72})
_INDEX_HEAD = 1 << 16  # bytes of a JSON file within which an index of shards shows itself
_SAVE = "save the model's state_dict() with torch.save or safetensors and give that file"

# (first bytes, container)
_KNOWN = ((b"\x89HDF\r\n\x1a\n", "hdf5"), (b"\x93NUMPY", "numpy"))
# The last bytes of a table of keys and values as LevelDB and TensorFlow write it.
_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"


def kind(source: Source) -> str:
    """A container of the table of formats, "zip" (its entries tell of what), "onnx?", or "index"
    (JSON that says which shard holds which tensor).

    Raises ReadError where the bytes are known to be something else.
    """
    head = source.data[:512]
    if head[:2] == b"PK":
        return _zip_kind(source, head)
    if is_safetensors(head, source.size):
        return "safetensors"
    for magic, container in _KNOWN:
        if head.startswith(magic):
            return container
    if source.data[max(0, source.size - 8) : source.size] == _TABLE_END:
        return "tensorflow-checkpoint"
    if head[:1] == b"\x80" and b"torch.distributed.checkpoint.metadata\x94" in head[:64]:
        return "distributed"
    if head[:1] == b"{" and b'"weight_map"' in source.data[: min(source.size, _INDEX_HEAD)]:
        return "index"
    if head.startswith(b"ustar", 257):
        from interop.reading.archives import nested_models

        raise nested_models.in_tar(source)
    if (error := foreign.by_magic(source, head)) is not None:
        raise error
    return "onnx?" if head[0] in _ONNX_FIRST else "pickle"


def _zip_kind(source: Source, head: bytes) -> str:
    if head[:4] == b"PK\x03\x04":
        return "zip"
    if head[:4] == b"PK\x05\x06":
        raise unrecognised(source.path, "an empty zip archive", _SAVE)
    if source.size < 4:
        raise truncated(source.path, f"only {source.size} bytes of a zip archive")
    raise unrecognised(source.path, "begins like a zip archive but is none", _SAVE)


def is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of header length, then the header's opening brace, perhaps after blanks."""
    if head[8:].lstrip(b" \t\r\n")[:1] != b"{":
        return False
    if head[8] != 0x7B:
        return int.from_bytes(head[:8], "little") < min(1 << 27, size)
    # The format allows 100 MB; a longer header is told by the reader, a wild one is no header but
    # where a name follows, as in none of the other formats (a pickle's protocol begins with 0x80).
    return int.from_bytes(head[:8], "little") < 1 << 40 or (head[9:10] == b'"' and head[0] != 0x80)


def unknown(path: str, head: bytes) -> ReadError:
    """The refusal of last resort: another format, text, or bytes that nothing here can read."""
    if (error := foreign.by_structure(path, head)) is not None:
        return error
    if is_text(head):
        line = head.decode("utf-8", "replace").strip().splitlines()
        begins = f" that begins {line[0][:40]!r}" if line else ""
        return unrecognised(path, f"this is a text file{begins}", "give a model file")
    what = "neither a PyTorch checkpoint nor safetensors, ONNX, Keras, TensorFlow or numpy"
    return unrecognised(path, what, "give a model file")


def is_text(head: bytes) -> bool:
    """Printable bytes alone, in ASCII or UTF-8 (which the cut may have split)."""
    if any(byte < 32 and byte not in b"\t\r\n\x0c" for byte in head) or b"\x7f" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3
    return True
