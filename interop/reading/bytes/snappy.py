"""A block that Snappy compressed -> its bytes, by the format's description alone.

A block states its size; then come literals, and copies of what was unpacked before.
"""

from __future__ import annotations

from interop.reading.bytes.protobuf import Malformed, varint

# How many bytes an element can unpack to: what a small block states is no reason to wait for it.
_MOST_EACH = 64


def unpacked(data: bytes, most: int) -> bytes:
    """The bytes of a block; Malformed where it is damaged, or is of more than `most`."""
    size, at = varint(data, 0, len(data))
    end = len(data)
    if size > most or size > _MOST_EACH * end:
        raise Malformed(f"a block that unpacks to {size:,} bytes")
    out = bytearray()
    while at < end:
        tag = data[at]
        at += 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if length > 60:  # 61 to 64 count the bytes that the length takes
                wide = length - 60
                length = int.from_bytes(_next(data, at, wide), "little") + 1
                at += wide
            out += _next(data, at, length)
            at += length
            continue
        wide = (1, 2, 4)[kind - 1]
        offset = int.from_bytes(_next(data, at, wide), "little")
        at += wide
        if kind == 1:
            length, offset = (tag >> 2 & 7) + 4, offset | tag >> 5 << 8
        _copy(out, offset, length)
        if len(out) > size:
            break
    if len(out) != size:
        raise Malformed("a block that does not unpack to the size it states")
    return bytes(out)


def _next(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise Malformed("a block that is cut off")
    return data[at : at + length]


def _copy(out: bytearray, offset: int, length: int) -> None:
    """Append what stands `offset` before the end; it may overlap with what it becomes."""
    if not 0 < offset <= len(out):
        raise Malformed("a copy of what was never there")
    start = len(out) - offset
    piece = out[start : start + length]
    while len(piece) < length:
        piece += piece[: length - len(piece)]
    out += piece


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def masked_crc(data: bytes) -> int:
    """The CRC-32C of some bytes, turned and shifted as LevelDB's tables keep it."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF
