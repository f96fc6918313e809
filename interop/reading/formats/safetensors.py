"""A safetensors file -> a Manifest: eight bytes of length, a JSON header, the tensors' bytes.

The rules are the format's own: offsets in order of the buffer, without gaps or overlaps, to its
end. A file that breaks one could hide bytes, or show different readers different weights.
"""

from __future__ import annotations

import hashlib
import json
from math import prod
from typing import Any

from interop.errors import ReadError
from interop.facts import DTYPE_BITS, Manifest, StateDict, Storage, TensorSpec
from interop.reading.bytes.address import truncated
from interop.reading.bytes.source import Source

MAX_HEADER = 100_000_000
# Nanoseconds and bytes of a name, before it is parsed and after, a tensor's or not.
_NAME, _NAME_MEMORY, _TENSOR, _TENSOR_MEMORY = 300, 150, 4_500, 700
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "float4_e2m1fn_x2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


def read(source: Source) -> Manifest:
    """Raises ReadError for a header that is damaged, or that the file does not live up to."""
    if (length := int.from_bytes(source.data[:8], "little")) > MAX_HEADER:
        raise _damaged(source.path, f"it would be {length:,} bytes long")
    if 8 + length > source.size:
        raise truncated(source.path, "the safetensors header is cut off")
    raw = source.data[8 : 8 + length]
    # Counted before they are parsed: each costs many times the bytes that it has here.
    names = raw.count(b'":')
    source.budget.earn(min(names // 4, (source.size - 8 - length) // 4))
    source.budget.spend(names * _NAME, names * _NAME_MEMORY + 3 * length)
    header = _header(source.path, raw)
    tensors, end = _tensors(source, header, 8 + length)
    if end < source.size:
        raise _damaged(source.path, f"{source.size - end:,} bytes follow the last tensor")
    return Manifest(
        path=source.path,
        file=source.path,
        container="safetensors",
        size=source.size,
        header_sha256=hashlib.sha256(raw).hexdigest(),
        state_dicts=(StateDict("", tensors, ordered=False),) if tensors else (),
        metadata=header.get("__metadata__", {}),
    )


class _Twice(ValueError):
    """A key stands twice in one JSON object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Twice
    return members


def _not_json(word: str) -> Any:
    """NaN and Infinity are Python's own, and no JSON."""
    raise ValueError(word)


def _header(path: str, raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
        header = json.loads(text, object_pairs_hook=_object, parse_constant=_not_json)
        if "\\ud" in text.lower():  # half a character, by its number: it can be shown nowhere
            json.dumps(header, ensure_ascii=False).encode("utf-8")
    except _Twice:
        raise _damaged(path, "a name stands twice in it") from None
    except UnicodeError:
        raise _damaged(path, "it is no UTF-8") from None
    except (ValueError, RecursionError):
        raise _damaged(path, "it is no JSON") from None
    if not isinstance(header, dict):
        raise _damaged(path, "it is no JSON object")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata are no strings")
    return header


def _damaged(path: str, why: str) -> ReadError:
    return ReadError(
        f"the safetensors header is invalid: {why}",
        where=path,
        fix="do not load this file; save the weights again with the safetensors library",
        rule="safetensors-header-invalid",
    )


def _tensors(
    source: Source, header: dict[str, Any], base: int
) -> tuple[tuple[TensorSpec, ...], int]:
    """The tensors in the header's order, and the byte behind the last one's data."""
    specs = [
        _tensor(source, name, entry, base)
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    end = base
    for spec in sorted(specs, key=_span):
        start, stop = _span(spec)
        if start != end:
            raise _damaged(source.path, f"the bytes of {spec.name!r} leave a gap or overlap")
        end = stop
    return tuple(specs), end


def _span(spec: TensorSpec) -> tuple[int, int]:
    assert spec.storage is not None
    return spec.storage.offset, spec.storage.offset + spec.storage.nbytes


def _tensor(source: Source, name: str, entry: Any, base: int) -> TensorSpec:
    source.budget.spend(_TENSOR, _TENSOR_MEMORY)
    if not isinstance(entry, dict):
        raise _damaged(source.path, f"the entry of {name!r} is no object")
    stated = str(entry.get("dtype"))
    if (dtype := DTYPES.get(stated)) is None:
        raise _damaged(source.path, f"{name!r} has the unknown dtype {stated[:40]!r}")
    shape, span = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or span is None or len(span) != 2 or span[0] > span[1]:
        raise _damaged(source.path, f"the shape or place of {name!r} is none")
    if stated == "F4":
        # Counted in halves of a byte there, in bytes (two numbers each) by torch.
        if not shape or shape[-1] % 2:
            raise _damaged(source.path, f"{name!r} holds an odd number of 4-bit numbers")
        shape = [*shape[:-1], shape[-1] // 2]
    numel = 1
    for axis in shape:  # as the library multiplies, which stops at an overflow before a zero
        numel *= axis
        if numel >= 1 << 64:
            raise _damaged(source.path, f"the shape of {name!r} overflows")
    nbytes = span[1] - span[0]
    if prod(shape) * DTYPE_BITS[dtype] != nbytes * 8:
        raise _damaged(source.path, f"the shape of {name!r} does not fit its {nbytes:,} bytes")
    if base + span[1] > source.size:
        raise truncated(source.path, f"tensor {name!r} is cut off")
    if not nbytes:
        source.budget.earn(-1)  # it was taken for one that has bytes
    storage = Storage(source.path, name, base + span[0], nbytes)
    return TensorSpec(name, dtype, tuple(shape), storage)


def _sizes(value: Any) -> list[int] | None:
    if not isinstance(value, list) or len(value) > 64:
        return None
    return value if all(type(n) is int and 0 <= n < 1 << 63 for n in value) else None
