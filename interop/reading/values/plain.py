"""A few small tensors' places in files -> their numbers as Python floats, without numpy.

Only the bytes of these tensors are read, from a file or a part of a remote one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import product

from interop.errors import ReadError
from interop.facts import DTYPE_BITS, Layout, Storage, TensorSpec
from interop.reading.bytes.address import truncated
from interop.reading.bytes.source import Source
from interop.reading.pickle.state_dicts import extent

MOST_BYTES = 1 << 26  # of one tensor's storage that are looked at
_LETTERS = {
    "float64": "d", "float32": "f", "float16": "e", "bfloat16": "H",
    "int64": "q", "int32": "i", "int16": "h", "int8": "b", "uint8": "B",
}  # fmt: skip


def numbers(tensors: Iterable[TensorSpec]) -> list[list[float]]:
    """Return the values of each tensor in row-major order.

    Raises ReadError if the values cannot be had, or are not plain real numbers.
    """
    with ExitStack() as opened:
        sources: dict[str, Source] = {}
        return [_numbers(spec, sources, opened) for spec in tensors]


def _numbers(spec: TensorSpec, sources: dict[str, Source], opened: ExitStack) -> list[float]:
    if spec.storage is None or spec.layout is not Layout.STRIDED or spec.quantizer:
        raise ReadError(f"{spec.name!r} is not a plain tensor", where=spec.name)
    if (letter := _LETTERS.get(spec.dtype)) is None:
        raise ReadError(f"{spec.name!r} is of type {spec.dtype}", where=spec.name)
    width, end = DTYPE_BITS[spec.dtype] // 8, extent(spec)
    if end > spec.storage.nbytes:
        raise truncated(spec.storage.file, f"tensor {spec.name!r} reaches past its storage")
    start = spec.offset * width
    if max(end - start, spec.nbytes) > MOST_BYTES:
        raise ReadError(f"{spec.name!r} is too large", where=spec.storage.file)
    raw = _bytes(spec.storage, start, end, sources, opened)
    values: Sequence[float] = struct.unpack(f"<{len(raw) // width}{letter}", raw)
    if letter == "H":  # a bfloat16 is the upper half of a float32
        halves = struct.pack(f"<{2 * len(values)}H", *(v for one in values for v in (0, one)))
        values = struct.unpack(f"<{len(values)}f", halves)
    if spec.stride is not None:
        steps = zip(spec.shape, spec.stride, strict=True)
        values = [values[sum(at)] for at in product(*(range(0, n * s, s) if s else [0] * n
                                                      for n, s in steps))]  # fmt: skip
    return [-v for v in values] if spec.neg else list(values)


def _bytes(
    storage: Storage, start: int, end: int, sources: dict[str, Source], opened: ExitStack
) -> bytes:
    if end <= start:
        return b""
    if storage.offset < 0:  # it does not lie in the file as it is
        if storage.nbytes > MOST_BYTES:
            raise ReadError("its storage is too large to unpack", where=storage.file)
        from interop.reading.values.inflate import unpacked

        return unpacked(storage)[start:end]
    if (source := sources.get(storage.file)) is None:
        source = sources[storage.file] = opened.enter_context(Source(storage.file))
    raw = source.data[storage.offset + start : storage.offset + end]
    if len(raw) != end - start:
        raise truncated(storage.file, "is shorter than when it was read")
    return raw
