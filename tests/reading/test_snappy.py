"""Snappy's blocks: what another library packed, and damaged ones."""

from __future__ import annotations

import base64
import random
from contextlib import suppress

import pytest

from interop.reading.bytes.protobuf import Malformed
from interop.reading.bytes.snappy import masked_crc, unpacked

# Packed by cramjam, which is made of the Rust library of the format's authors.
PACKED = """
9gRYbGF5ZXIvYmlhcwBtb3ZpbmdfbWVhbgAJAQADDQcdJTIBAA0ZGGtlcm5lbAMdQAABCTIJGQACLg0AAAAyDQAJAQABCQcN
GwGMDXkAAUZTAAUeHRcNOx08Mm8AAAIJIC5JAA0TNrwACZYFXUoyAAkeCc4NKwkNDboNUxEBHZ8NLgFZLRQBCx2uEUIuNAAd
DA1THTwNUgmALisADUouEwAuDABKlgAJRB1cDQsJGDL2AA2yCRoNlS5SAC5hAQ0sAeku1wAsAGxheWVyL2JpYXMB
"""
WORDS = (b"layer/kernel", b"layer/bias", b"moving_mean", b"\0" * 6)


def _words() -> bytes:
    random.seed(1)
    return b"".join(random.choice(WORDS) + bytes([random.randrange(4)]) for _ in range(60))


def _literal(data: bytes) -> bytes:
    return bytes([61 << 2]) + (len(data) - 1).to_bytes(2, "little") + data


def test_what_another_library_packed_is_unpacked() -> None:
    assert unpacked(base64.b64decode(PACKED), 630) == _words()


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b"\0", b""),
        (b"\5\x10hello", b"hello"),
        (b"\xac\x02" + _literal(b"x" * 300), b"x" * 300),
        (b"\7\4ab\x12\2\0", b"abababa"),  # two bytes of offset
        (b"\6\4ab\1\2", b"ababab"),  # one
        (b"\6\4ab\x0f\2\0\0\0", b"ababab"),  # four
    ],
)
def test_literals_and_copies(block: bytes, data: bytes) -> None:
    assert unpacked(block, 1000) == data


def test_a_copy_may_overlap_with_what_it_becomes() -> None:
    # One letter, and a copy of 63 more that begins one byte back.
    assert unpacked(b"\x40\0a" + bytes([62 << 2 | 2, 1, 0]), 64) == b"a" * 64


@pytest.mark.parametrize(
    "block",
    [
        b"\5\x10hell",  # cut off
        b"\6\x10hello",  # shorter than it says
        b"\4\x10hello",  # longer
        b"\5\0a\x0e\2\0",  # a copy of what is before the beginning
        b"\5\0a\x0e\0\0",  # a copy of nothing
        b"\5\0a\x0e",  # a copy without its offset
        b"\xff\xff\xff\xff\x0f\0a",  # a size that so few bytes cannot have
        b"\x05\xfc\xff\xff\xff\xff",  # a literal of four gigabytes
        b"\x80",
    ],
)
def test_a_damaged_block_is_refused(block: bytes) -> None:
    with pytest.raises(Malformed):
        unpacked(block, 1 << 30)


def test_more_than_is_allowed_is_refused() -> None:
    with pytest.raises(Malformed):
        unpacked(base64.b64decode(PACKED), 629)


def test_random_bytes_are_refused_or_unpacked() -> None:
    random.seed(2)
    whole = base64.b64decode(PACKED)
    for _ in range(2000):
        changed = bytearray(whole)
        changed[random.randrange(len(whole))] = random.randrange(256)
        with suppress(Malformed):
            assert len(unpacked(bytes(changed), 1 << 20)) <= 1 << 20


def test_the_checksum_is_that_of_the_standard() -> None:
    crc = 0xE3069283  # of "123456789", by RFC 3720's polynomial
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
