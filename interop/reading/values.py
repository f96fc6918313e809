"""Tensors' places in files -> their values: statistics and hashes, or numpy arrays.

The one module of this room that needs numpy. Files are mapped and passed over in blocks, so memory
stays bounded whatever the checkpoint's size. bfloat16 and 8-bit floats, which numpy lacks, are
widened to float32; their hash is that of the bytes as they are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from interop.errors import ReadError
from interop.facts import DTYPE_BITS, Stats, Storage, TensorSpec
from interop.reading.source import over_limit, truncated
from interop.reading.weights import extent

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK = 1 << 22  # bytes passed over at once
# A tensor of broadcast axes may be larger than the file that holds it, but not without end.
_MAX_UNFOLDED = 1 << 33
_NUMPY = {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2",
    "int64": "<i8", "int32": "<i4", "int16": "<i2", "int8": "i1",
    "uint64": "<u8", "uint32": "<u4", "uint16": "<u2", "uint8": "u1", "bool": "?",
    "complex64": "<c8", "complex128": "<c16", "complex32": "<u4",
    "qint8": "i1", "quint8": "u1", "qint32": "<i4",
}  # fmt: skip
# Exponent bits, mantissa bits, exponent bias, and what its largest codes mean.
_FLOAT8 = {
    "float8_e4m3fn": (4, 3, 7, "nan at full"),
    "float8_e5m2": (5, 2, 15, "as IEEE"),
    "float8_e4m3fnuz": (4, 3, 8, "nan at minus zero"),
    "float8_e5m2fnuz": (5, 2, 16, "nan at minus zero"),
}
# Sign bits that a conjugation and a negation flip, in the formats that numpy cannot compute with.
_FLIPS = {"bfloat16": (0, 0x8000), "complex32": (0x80000000, 0x80008000)}
_tables: dict[str, Array] = {}


def values(tensors: Sequence[TensorSpec]) -> Iterator[tuple[TensorSpec, Stats]]:
    """Each tensor with the statistics of its values, in the order given.

    NaN and infinities are counted by element; `minimum` and `maximum` are of the finite values,
    and None where there are none, or no order (complex numbers, packed 4-bit numbers). `sha256` is
    of the dense, row-major, little-endian bytes. Tensors without a storage are left out. Raises
    ReadError where the values cannot be had.
    """
    files = _Files()
    for spec in tensors:
        if spec.storage is not None:
            yield spec, _stats(spec, files.view(spec))


def array(spec: TensorSpec) -> Array:
    """The tensor's values, mapped from the file where they need no change (then read-only).

    bfloat16 and 8-bit floats come widened to float32, complex32 as complex64; packed 4-bit numbers
    as the bytes that hold them. Raises ReadError where the file does not hold the values.
    """
    if spec.storage is None:
        raise ReadError(f"no file holds the values of {spec.name!r}", fix="materialise it first")
    return _resolved(spec, _widened(spec, _Files().view(spec)))


class _Files:
    """Byte views of files and of inflated storages, kept while tensors are gone over."""

    def __init__(self) -> None:
        self._maps: dict[str, Array] = {}
        self._inflated: tuple[Storage, Array] | None = None

    def view(self, spec: TensorSpec) -> Array:
        """The elements as stored, with the tensor's shape and strides."""
        storage = spec.storage
        assert storage is not None
        data = self._bytes(storage)
        if extent(spec) > len(data):
            raise truncated(storage.file, f"tensor {spec.name!r} reaches past its storage")
        if spec.nbytes > max(_MAX_UNFOLDED, 2 * storage.nbytes):
            raise over_limit(storage.file, f"tensor {spec.name!r} unfolds to {spec.nbytes:,} bytes")
        code = _NUMPY.get(spec.dtype, "u1")
        width = DTYPE_BITS[spec.dtype] // 8
        if width == 0:  # packed 4-bit numbers, or strings
            if spec.stride is not None or spec.offset:
                raise truncated(storage.file, f"tensor {spec.name!r} is a view of packed numbers")
            return data[: spec.nbytes]
        if spec.numel == 0:
            return np.empty(spec.shape, code)
        elements = data[spec.offset * width : extent(spec)].view(code)
        if spec.stride is None:
            return elements[: spec.numel].reshape(spec.shape)
        strides = tuple(step * width for step in spec.stride)
        return np.lib.stride_tricks.as_strided(elements, spec.shape, strides, writeable=False)

    def _bytes(self, storage: Storage) -> Array:
        if storage.offset < 0:
            return self._unpacked(storage)
        if storage.nbytes == 0:
            return np.empty(0, "u1")
        data = self._maps.get(storage.file)
        if data is None:
            try:
                data = np.memmap(storage.file, "u1", "r").view(np.ndarray)
            except (OSError, ValueError) as error:
                raise truncated(storage.file, f"cannot be mapped: {error}") from None
            self._maps[storage.file] = data
        if storage.offset + storage.nbytes > len(data):
            raise truncated(storage.file, "is shorter than when it was read")
        return data[storage.offset : storage.offset + storage.nbytes]

    def _unpacked(self, storage: Storage) -> Array:
        if self._inflated is None or self._inflated[0] != storage:
            from interop.reading.unpack import unpacked

            self._inflated = storage, np.frombuffer(unpacked(storage), "u1")
        return self._inflated[1]


# ---------------------------------------------------------------- statistics


def _stats(spec: TensorSpec, view: Array) -> Stats:
    digest = hashlib.sha256()
    nan = inf = 0
    bounds: list[float] = []
    measured = spec.dtype in _NUMPY or spec.dtype in _FLOAT8 or spec.dtype == "float8_e8m0fnu"
    for stored in _blocks(view):
        block = _as_seen(spec, stored)
        digest.update(block.reshape(-1).view("u1").data)
        if not measured:
            continue
        nans, infs, found = _extremes(_widened(spec, block))
        nan, inf = nan + nans, inf + infs
        bounds += found
    low, high = (min(bounds), max(bounds)) if bounds else (None, None)
    return Stats(nan, inf, low, high, digest.hexdigest())


def _as_seen(spec: TensorSpec, stored: Array) -> Array:
    """A conjugate or negative view's own bytes."""
    if not (spec.conj or spec.neg):
        return stored
    flips = _FLIPS.get(spec.dtype)
    if flips is None:
        return np.ascontiguousarray(_resolved(spec, stored))
    flip = stored.dtype.type(flips[0] * spec.conj ^ flips[1] * spec.neg)
    flipped: Array = np.bitwise_xor(stored, flip)
    return flipped


def _blocks(view: Array) -> Iterator[Array]:
    """The elements in row-major order, as contiguous pieces of bounded size."""
    if view.size == 0:
        return
    if view.flags.c_contiguous:
        flat = view.reshape(-1)
        step = max(1, _BLOCK // flat.itemsize)
        for start in range(0, flat.size, step):
            yield flat[start : start + step]
    elif view.nbytes <= _BLOCK:
        yield np.ascontiguousarray(view)
    else:
        row = view.nbytes // view.shape[0]
        if row > _BLOCK // 2:
            for part in view:
                yield from _blocks(part)
            return
        step = max(1, _BLOCK // row)
        for start in range(0, view.shape[0], step):
            yield np.ascontiguousarray(view[start : start + step])


def _extremes(numbers: Array) -> tuple[int, int, list[float]]:
    """NaNs, infinities, and the least and greatest finite number."""
    if numbers.dtype.kind == "c":
        return *_count(numbers), []
    least, most = numbers.min(), numbers.max()
    if numbers.dtype.kind != "f" or (np.isfinite(least) and np.isfinite(most)):
        return 0, 0, [float(least), float(most)]
    finite = numbers[np.isfinite(numbers)]
    found = [float(finite.min()), float(finite.max())] if finite.size else []
    return *_count(numbers), found


def _count(numbers: Array) -> tuple[int, int]:
    return int(np.count_nonzero(np.isnan(numbers))), int(np.count_nonzero(np.isinf(numbers)))


# ---------------------------------------------------------------- number formats


def _resolved(spec: TensorSpec, numbers: Array) -> Array:
    """Conjugate and negative views store what they are a view of."""
    if spec.conj:
        numbers = np.conjugate(numbers)
    return np.negative(numbers) if spec.neg else numbers


def _widened(spec: TensorSpec, stored: Array) -> Array:
    if spec.dtype == "bfloat16":
        wide: Array = stored.astype("<u4") << 16
        return wide.view("<f4")
    if spec.dtype == "complex32":
        halves = np.ascontiguousarray(stored).view("<f2").astype("<f4")
        return halves.view("<c8").reshape(stored.shape)
    if spec.dtype in _FLOAT8 or spec.dtype == "float8_e8m0fnu":
        found: Array = _table(spec.dtype)[stored]
        return found
    return stored


def _table(dtype: str) -> Array:
    """The float32 value of each of the 256 codes of an 8-bit float format."""
    if dtype not in _tables:
        if dtype == "float8_e8m0fnu":  # an exponent alone (OCP microscaling formats, 5.4.1)
            table = np.full(256, np.nan, "<f4")
            table[:255] = np.ldexp(1.0, np.arange(255) - 127)
        else:
            table = np.array([_float8(code, *_FLOAT8[dtype]) for code in range(256)], "<f4")
        _tables[dtype] = table
    return _tables[dtype]


def _float8(code: int, exponent_bits: int, mantissa_bits: int, bias: int, rule: str) -> float:
    """One code's value: OCP 8-bit floating point (e4m3fn, e5m2), or the unsigned-zero variants."""
    sign = -1.0 if code & 0x80 else 1.0
    mantissa = code & ((1 << mantissa_bits) - 1)
    exponent = (code & 0x7F) >> mantissa_bits
    full = (1 << exponent_bits) - 1
    if rule == "nan at minus zero" and code == 0x80:
        return float("nan")
    if rule == "nan at full" and code & 0x7F == 0x7F:
        return float("nan")
    if rule == "as IEEE" and exponent == full:
        return float("nan") if mantissa else sign * float("inf")
    part = mantissa / (1 << mantissa_bits)
    if exponent == 0:
        return sign * part * 2.0 ** (1 - bias)
    return sign * (1 + part) * 2.0 ** (exponent - bias)
