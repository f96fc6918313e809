"""Stored elements -> numbers that numpy can compute with, for every dtype that torch stores.

numpy has no bfloat16, no 8-bit floats, no complex halves and no quantized codes. Their order is
found on the codes themselves; only where two files differ are they widened to float32.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# How the elements of a dtype are looked at as they lie in the file.
STORED = {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2",
    "int64": "<i8", "int32": "<i4", "int16": "<i2", "int8": "i1",
    "uint64": "<u8", "uint32": "<u4", "uint16": "<u2", "uint8": "u1", "bool": "?",
    "complex64": "<c8", "complex128": "<c16", "complex32": "<u4",
    "qint8": "i1", "quint8": "u1", "qint32": "<i4",
}  # fmt: skip
_FLOAT8 = (
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
# The code of infinity in the 16-bit floats; codes above it are NaN.
_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}
# Sign bits that a conjugation and a negation flip, in the formats that numpy cannot compute with.
_FLIPS = {"bfloat16": (0, 0x8000), "complex32": (0x80000000, 0x80008000)}


class Range(NamedTuple):
    """NaNs, infinities, and the least and greatest finite number; None where there is none.

    Of complex numbers `low` and `high` are of the parts, (real, imaginary). `below` counts the
    infinities that are negative; of complex numbers it is 0.
    """

    nan: int
    inf: int
    low: Any = None
    high: Any = None
    below: int = 0


def is_measured(dtype: str) -> bool:
    """Are the elements numbers, one to an address? (Packed 4-bit numbers and strings are not.)"""
    return dtype in STORED or dtype in _FLOAT8


def extremes(dtype: str, block: Array) -> Range:
    """What a block of stored elements (one axis, not empty) ranges over."""
    if dtype in _INFINITY:
        return _halves(dtype, block.view("<i2"))
    if dtype in _FLOAT8:
        return _by_code(_table(dtype), block)
    if dtype == "complex32":
        return _complex(widened(dtype, block))
    if block.dtype.kind == "c":
        return _complex(block)
    low, high = block.min(), block.max()
    if block.dtype.kind != "f" or (np.isfinite(low) and np.isfinite(high)):
        return Range(0, 0, low.item(), high.item())
    return _mixed(block)


def _mixed(numbers: Array) -> Range:
    """The same for floats of which some are NaN or infinite."""
    finite = numbers[np.isfinite(numbers)]
    nan = int(np.count_nonzero(np.isnan(numbers)))
    inf = numbers.size - finite.size - nan
    below = int(np.count_nonzero(np.isneginf(numbers)))
    if not finite.size:
        return Range(nan, inf, below=below)
    return Range(nan, inf, float(finite.min()), float(finite.max()), below)


def _halves(dtype: str, codes: Array) -> Range:
    # Flipping the other bits of negative codes puts signed integers into the numbers' order.
    ordered = codes ^ ((codes >> 15) & 0x7FFF)
    low, high = int(ordered.min()), int(ordered.max())
    if -_INFINITY[dtype] <= low and high < _INFINITY[dtype]:
        ends = np.array([low, high], "<i2")
        stored = (ends ^ ((ends >> 15) & 0x7FFF)).view(STORED[dtype])
        least, most = map(float, widened(dtype, stored))
        return Range(0, 0, least, most)
    return _mixed(widened(dtype, codes.view(STORED[dtype])))


def _by_code(table: Array, codes: Array) -> Range:
    counts = np.bincount(codes.reshape(-1).view("u1"), minlength=256)
    met = table[counts > 0]
    finite = met[np.isfinite(met)]
    nan, inf = int(counts[np.isnan(table)].sum()), int(counts[np.isinf(table)].sum())
    below = int(counts[np.isneginf(table)].sum())
    if not finite.size:
        return Range(nan, inf, below=below)
    return Range(nan, inf, float(finite.min()), float(finite.max()), below)


def _complex(numbers: Array) -> Range:
    parts = numbers.reshape(-1, 1).view(f"<f{numbers.itemsize // 2}")
    low, high = parts.min(axis=0), parts.max(axis=0)
    if np.isfinite(low).all() and np.isfinite(high).all():
        return Range(0, 0, tuple(low.tolist()), tuple(high.tolist()))
    nan = int(np.count_nonzero(np.isnan(numbers)))
    return Range(nan, int(np.count_nonzero(np.isinf(numbers))))


def widened(dtype: str, stored: Array) -> Array:
    """The numbers themselves, exactly; formats that numpy has come back as they are."""
    if dtype == "bfloat16":
        wide: Array = stored.astype("<u4") << 16
        return wide.view("<f4")
    if dtype == "complex32":
        halves = np.ascontiguousarray(stored).reshape(-1).view("<f2").astype("<f4")
        return halves.view("<c8").reshape(stored.shape)
    if dtype in _FLOAT8:
        values: Array = _table(dtype)[stored]
        return values
    return stored


def computable(dtype: str, stored: Array) -> Array:
    """The numbers in a type wide enough for differences: float32, float64 or complex."""
    wide = widened(dtype, stored)
    if wide.dtype == np.float16:
        return wide.astype("<f4")
    return wide if wide.dtype.kind in "fc" else wide.astype("<f8")


def cast(dtype: str, stored: Array, to: str) -> Array | None:
    """Elements of one floating dtype as torch rounds them to another; None where that is not known.

    The rounding is to nearest, ties to even (IEEE 754, 4.3.1).
    """
    if to == "bfloat16" and dtype in ("float32", "float16"):
        with np.errstate(invalid="ignore"):  # NaN stays one
            rounded: Array = widened(dtype, stored).astype("<f4").astype(ml_dtypes.bfloat16)
        return rounded.view("<u2")
    if to in ("float8_e4m3fn", "float8_e5m2") and dtype in (*_INFINITY, "float32"):
        return _to_float8(widened(dtype, stored).astype("<f4"), to)
    if to in ("float16", "float32", "float64") and dtype in (*_INFINITY, "float32", "float64"):
        with np.errstate(over="ignore"):
            return widened(dtype, stored).astype(STORED[to])
    return None


def _to_float8(numbers: Array, to: str) -> Array:
    """The nearest code, the even one of two; past the greatest number infinity, or where the format
    has none that number, as torch 2.15 does."""
    kind = np.dtype(getattr(ml_dtypes, to))
    if to == "float8_e4m3fn":
        numbers = np.clip(numbers, -448, 448)
    with np.errstate(invalid="ignore", over="ignore"):
        code: Array = numbers.astype(kind).view("u1")
    # NaN has several codes; torch writes this one.
    return np.where(np.isnan(numbers), 0x7F | (np.signbit(numbers).astype("u1") << 7), code)


def resolved(dtype: str, stored: Array, conj: bool, neg: bool) -> Array:
    """The stored elements of a conjugate or negative view, as they are seen through it."""
    if not (conj or neg):
        return stored
    if (flips := _FLIPS.get(dtype)) is None:
        seen = np.conjugate(stored) if conj else stored
        return np.negative(seen) if neg else seen
    flipped: Array = np.bitwise_xor(stored, stored.dtype.type(flips[0] * conj ^ flips[1] * neg))
    return flipped


@cache
def _table(dtype: str) -> Array:
    """The float32 value of each of the 256 codes of an 8-bit float format."""
    values: Array = np.arange(256, dtype="u1").view(getattr(ml_dtypes, dtype)).astype("<f4")
    return values
