"""Bytes of a real file -> bytes nearly those of one: flips, cuts, splices, false lengths."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

from hypothesis import strategies as st

# Lengths and counts at which readers go wrong.
_NUMBERS = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
    (1 << 40) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, data: bytes, other: bytes = b"") -> bytes:
    """One to six edits of `data`; splices take from `other`."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(made) - 1)))
        made = draw(st.sampled_from(_EDITS))(draw, made, at, other or data)
    return bytes(made)


Edit = Callable[[st.DrawFn, bytearray, int, bytes], bytearray]


def _flip(draw: st.DrawFn, made: bytearray, at: int, other: bytes) -> bytearray:
    if made:
        made[at] = draw(st.integers(0, 255))
    return made


def _cut(draw: st.DrawFn, made: bytearray, at: int, other: bytes) -> bytearray:
    length = draw(st.integers(1, 64))
    return made[:at] + made[at + length :]


def _end(draw: st.DrawFn, made: bytearray, at: int, other: bytes) -> bytearray:
    return made[:at] if draw(st.integers(0, 3)) == 0 else made


def _splice(draw: st.DrawFn, made: bytearray, at: int, other: bytes) -> bytearray:
    start = draw(st.integers(0, len(other)))
    part = other[start : start + draw(st.integers(1, 200))]
    return made[:at] + part + made[at + draw(st.sampled_from((0, len(part)))) :]


def _repeat(draw: st.DrawFn, made: bytearray, at: int, other: bytes) -> bytearray:
    part = made[at : at + draw(st.integers(1, 16))]
    return made[:at] + part * draw(st.integers(2, 200)) + made[at + len(part) :]


def _length(draw: st.DrawFn, made: bytearray, at: int, other: bytes) -> bytearray:
    width = draw(st.sampled_from((1, 2, 4, 8)))
    order = draw(st.sampled_from(("little", "big")))
    number = draw(st.sampled_from(_NUMBERS)) & ((1 << 8 * width) - 1)
    made[at : at + width] = number.to_bytes(width, order)
    return made


_EDITS: tuple[Edit, ...] = (_flip, _flip, _cut, _end, _splice, _repeat, _length, _length)


@st.composite
def repacked(draw: st.DrawFn, data: bytes) -> bytes:
    """A zip archive with one entry mutated and everything that is said about it put right, so that
    the mutation reaches the reader behind the archive's."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    name = draw(st.sampled_from(sorted(entries, key=lambda n: (-len(entries[n]) % 97, n))))
    entries[name] = draw(mutated(entries[name]))
    if draw(st.integers(0, 9)) == 0:
        del entries[draw(st.sampled_from(sorted(entries)))]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", draw(st.sampled_from((0, 8)))) as new:
        for entry, content in entries.items():
            new.writestr(zipfile.ZipInfo(entry), content)
    return target.getvalue()
