"""Protobuf bytes -> their fields, one level at a time, without a copy of what is not asked for.

A length-delimited field is given as the range where it lies; only its user decides to look inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Bytes

VARINT, WIDE, BYTES, NARROW = 0, 1, 2, 5
_PAID = 16  # fields that are paid for at once
_MAX_INTEGERS = 1 << 16  # bytes of a packed list: shapes, never weights
Field = tuple[int, int, int, int]


class Malformed(Exception):
    """The bytes are no protobuf message."""


class Overrun(Malformed):
    """A field reaches past the end of its message."""

    def __init__(self, number: int) -> None:
        super().__init__(f"field {number} reaches past the end")
        self.number = number


def varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and the byte behind it."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise Malformed("a number of more than ten bytes")
    raise Overrun(0)


def fields(
    data: Bytes,
    at: int,
    end: int,
    budget: Budget | None = None,
    *,
    work: int = 480,
    memory: int = 0,
) -> Iterator[Field]:
    """(number, wire type, a, b): for VARINT a is the value, else the field's bytes are [a, b).

    `budget` pays for those that are looked at: nanoseconds and bytes for each.
    """
    count = 0
    while at < end:
        count += 1
        if not count % _PAID and budget is not None:
            budget.spend(_PAID * work, _PAID * memory)
        # Nearly every tag and length is below 128: no call for those.
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = varint(data, at - 1, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("a field without a number")
        if wire == BYTES:
            size, at = varint(data, at, end)
            if size > end - at:
                raise Overrun(number)
            yield number, wire, at, at + size
            at += size
        elif wire == VARINT:
            value, at = varint(data, at, end)
            yield number, wire, value, at
        elif wire in (WIDE, NARROW):
            size = 8 if wire == WIDE else 4
            if size > end - at:
                raise Overrun(number)
            yield number, wire, at, at + size
            at += size
        else:
            raise Malformed(f"field {number} has the wire type {wire}")
    if budget is not None:
        budget.spend(count % _PAID * work, count % _PAID * memory)


def signed(value: int) -> int:
    """A varint as the int64 it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def integers(data: Bytes, field: Field) -> list[int]:
    """A repeated int64 field, packed or not."""
    _, wire, a, b = field
    if wire == VARINT:
        return [signed(a)]
    if wire != BYTES or b - a > _MAX_INTEGERS:
        raise Malformed("a list of integers that is none")
    values = []
    while a < b:
        value, a = varint(data, a, b)
        values.append(signed(value))
    return values


def text(data: Bytes, field: Field) -> str:
    """A string field; bytes that are no UTF-8 are shown as such."""
    _, wire, a, b = field
    if wire != BYTES or b - a > 1 << 24:
        raise Malformed("a text that is none")
    return data[a:b].decode("utf-8", "replace")
