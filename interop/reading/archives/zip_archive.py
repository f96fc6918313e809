"""The bytes of a zip archive -> its entries, and where each entry's bytes lie in the file.

Only what torch.save and its repackers write: no encryption, no parts. A zip says most things twice
(in its directory and before each entry), and readers differ in which they believe: an archive whose
two accounts differ is refused, so that nobody can be shown another file here than elsewhere. The
standard library's zipfile would cost more to import than reading a checkpoint does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct
from typing import BinaryIO

from interop.errors import ReadError
from interop.reading.bytes.address import over_limit, truncated, unrecognised
from interop.reading.bytes.source import Source

MAX_ENTRIES = 1_000_000
MAX_DIRECTORY = 1 << 28  # bytes
# What tells of the structure may unfold to so many bytes, or to so many times its own.
_UNFOLDED, _TIMES = 1 << 20, 32
MAX_INFLATED = 1 << 28  # bytes that a small file may unfold to
_ENTRY, _ENTRY_MEMORY = 4_500, 500  # nanoseconds of its two accounts; bytes
_BYTE = 3  # nanoseconds, unfolded
_FULL = 0xFFFFFFFF
STORED, DEFLATED = 0, 8
_END = b"PK\x05\x06"
# Flag bits: 1 and 2 tell how hard deflate tried, 3 that sizes follow the data, 11 that names are
# UTF-8. Bits 0, 6 and 13 mean encryption, 5 a patch; the others mean nothing.
_HONEST_FLAGS = 0x080E
_SIZES_FOLLOW = 0x0008
_SAME_IN_BOTH = ~0x0806  # some writers set bits 1, 2 and 11 in one place alone
_BLOCK = 1 << 22
# Entries that torch's writers alone have.
_TORCHS = frozenset({"data.pkl", "version", "byteorder", "archive_format", ".format_version"})
_DESCRIPTOR = 24  # bytes that may follow an entry's data: its checksum and sizes once more
_AGAIN = "do not load this file; ask its author for one that torch.save or safetensors wrote"


# A line of the directory and a local header, without what is of no use here.
_LINE = Struct("<8x2H4x3I3H8xI")
_LOCAL = Struct("<6x2H4x3I2H")


class Entry:
    """One file of the archive: its sizes, and where its local header and its data lie.

    `end` is the byte at which the next entry, or the directory, begins; `start` is -1 until the
    local header was looked at.
    """

    __slots__ = ("crc", "end", "flags", "header", "method", "name", "packed", "size", "start")

    def __init__(
        self, name: str, method: int, flags: int, crc: int, packed: int, size: int, header: int
    ) -> None:
        self.name = name
        self.method = method
        self.flags = flags
        self.crc = crc
        self.packed = packed
        self.size = size
        self.header = header
        self.end = 0
        self.start = -1


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _is_end(tail: bytes, at: int) -> bool:
    """Does an end record that stands here, with its comment, reach to the end of the file?"""
    return at + 22 + _u16(tail, at + 20) == len(tail)


class Archive:
    """The entries of a zip archive by name, in the directory's order.

    Raises ReadError: "file-truncated" where bytes are missing, "zip-headers-disagree",
    "zip-entry-duplicated", "zip-entry-escapes" or "zip-entry-encrypted" for what no honest writer
    does, "pickle-over-limit" for a directory without end.
    """

    __slots__ = ("directory", "entries", "source", "summed")

    def __init__(self, source: Source) -> None:
        self.source = source
        start, size, count = self._find_directory()
        self.directory = source.data[start : start + size]
        self.entries: dict[str, Entry] = {}
        at = 0
        source.budget.spend(count * _ENTRY, count * _ENTRY_MEMORY)
        for _ in range(count):
            at = self._read_entry(at)
        if at != size:
            raise self.disagree(f"its directory holds more than the {count:,} entries it states")
        self._place_entries(start)
        # torch.save can be told to compute no checksums and then writes 0 for every one. Whoever
        # reads other archives holds 0 too.
        self.summed = any(entry.crc for entry in self.entries.values()) or not any(
            name.rpartition("/")[2] in _TORCHS for name in self.entries
        )

    # ------------------------------------------------------------ refusals

    def refusal(self, rule: str, what: str) -> ReadError:
        """The refusal of an archive that breaks a rule."""
        return ReadError(what, where=self.source.path, fix=_AGAIN, rule=rule)

    def disagree(self, what: str) -> ReadError:
        """The refusal of an archive that is another one to another reader."""
        what = f"a zip archive that programs read differently: {what}"
        return self.refusal("zip-headers-disagree", what)

    # ------------------------------------------------------------ the directory

    def _find_directory(self) -> tuple[int, int, int]:
        """Start, size and number of entries of the central directory."""
        source = self.source
        base = max(0, source.size - 65557)
        tail = source.data[base:]
        if (at := tail.rfind(_END)) < 0 or len(tail) - at < 22:
            raise truncated(source.path, "a zip archive without its directory: the end is missing")
        if not _is_end(tail, at):
            raise self.disagree("other bytes follow its end")
        earlier = tail.find(_END)
        while earlier < at:
            if _is_end(tail, earlier):
                raise self.disagree("it has two ends")
            earlier = tail.find(_END, earlier + 1)
        count, size, start = _u16(tail, at + 10), _u32(tail, at + 12), _u32(tail, at + 16)
        end = base + at
        locator = source.data[max(0, end - 20) : end]
        if locator[:4] == b"PK\x06\x07":
            short, locator_end, end = (count, size, start), end, _u64(locator, 8)
            record = source.data[end : end + 56]
            if len(record) < 56 or record[:4] != b"PK\x06\x06":
                raise truncated(source.path, "the zip archive's directory is damaged")
            count, size, start = _u64(record, 32), _u64(record, 40), _u64(record, 48)
            wide = (0xFFFF, count), (_FULL, size), (_FULL, start)
            agree = all(a in either for a, either in zip(short, wide, strict=True))
            if end + 76 != locator_end or not agree:
                raise self.disagree("it states its directory's place twice, and not the same one")
        elif count == 0xFFFF or size == _FULL or start == _FULL:
            raise truncated(source.path, "the zip archive's directory is damaged")
        if start + size > end:
            raise truncated(source.path, "the zip archive's directory is not where it should be")
        if start + size < end:
            raise self.disagree("its directory does not end where the archive does")
        if count > MAX_ENTRIES or size > MAX_DIRECTORY:
            what = f"its zip directory has {count:,} entries, {size:,} bytes"
            raise over_limit(source.path, what)
        if count * 46 > size:
            raise truncated(source.path, "the zip archive's directory is damaged")
        return start, size, count

    def _read_entry(self, at: int) -> int:
        data = self.directory
        if data[at : at + 4] != b"PK\x01\x02" or len(data) < at + 46:
            raise truncated(self.source.path, "the zip archive's directory is damaged")
        flags, method, crc, packed, size, named, extended, noted, header = _LINE.unpack_from(
            data, at
        )
        extra_at = at + 46 + named
        name = data[at + 46 : extra_at].decode("utf-8", "replace")
        behind: int = extra_at + extended + noted
        if behind > len(data):
            raise truncated(self.source.path, "the zip archive's directory is damaged")
        extra = data[extra_at : extra_at + extended]
        if _FULL in (packed, size, header):
            size, packed, header = _wide(extra, size, packed, header)
        self._judge(name, flags, extra)
        self.entries[name] = Entry(name, method, flags, crc, packed, size, header)
        return behind

    def _judge(self, name: str, flags: int, extra: bytes) -> None:
        """Refuse what an entry's line of the directory alone shows."""
        if name in self.entries:
            # Readers differ in which one they take: a way to show each of them another file.
            what = f"the zip archive holds two entries named {name!r}"
            raise self.refusal("zip-entry-duplicated", what)
        if ".." in name or "\\" in name or ":" in name or name[:1] == "/":
            parts = name.replace("\\", "/").split("/")
            drive = len(parts[0]) == 2 and parts[0][1] == ":"
            if "\\" in name or ".." in parts or drive or not parts[0]:
                what = f"unpacked, its entry {name!r} would be written outside of the folder"
                raise self.refusal("zip-entry-escapes", what)
        if flags & ~_HONEST_FLAGS:
            what = f"its entry {name!r} is encrypted, or sets flags ({flags:#06x}) as if it were"
            raise self.refusal("zip-entry-encrypted", what)
        # Some readers stop at a zero byte; field 0x7075 is a second, Unicode name.
        if "\0" in name or (b"up" in extra and _has_field(extra, 0x7075)):
            raise self.disagree(f"its entry {name!r} has two names")

    def _place_entries(self, directory: int) -> None:
        """Where each entry must end; refuse entries that overlap, and what precedes the first."""
        following = directory
        for entry in sorted(self.entries.values(), key=_header, reverse=True):
            entry.end = following
            following = entry.header
            if entry.header + 30 + entry.packed > entry.end:
                raise self._overlap(entry)
        if following:
            raise self.disagree(f"{following:,} bytes precede its first entry")

    def _overlap(self, entry: Entry) -> ReadError:
        if entry.end >= self.source.size:
            what = f"entry {entry.name!r} of the zip archive is cut off"
            return truncated(self.source.path, what)
        return self.disagree(f"its entry {entry.name!r} overlaps what follows it")

    # ------------------------------------------------------------ the entries

    def agree(self) -> None:
        """Hold every entry's local header against the directory; ReadError where they differ.

        Of a remote file only those are held that are read: each would be a request of its own.
        """
        if not self.source.remote:
            for entry in self.entries.values():
                self.start(entry)

    def start(self, entry: Entry) -> int:
        """The byte at which an entry's data begins, by its local header, which must agree."""
        if entry.start >= 0:
            return entry.start
        source = self.source
        local = source.data[entry.header : entry.header + 30]
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise truncated(source.path, f"entry {entry.name!r} of the zip archive is missing")
        flags, method, crc, packed, size, named, extended = _LOCAL.unpack(local)
        name_end = entry.header + 30 + named
        start: int = name_end + extended
        name = source.data[entry.header + 30 : name_end].decode("utf-8", "replace")
        if name != entry.name:
            raise self.disagree(f"its entry {entry.name!r} is {name!r} by another account")
        if _FULL in (packed, size):
            size, packed, _ = _wide(source.data[name_end:start], size, packed, 0)
        # What follows the data may be absent here: then it is zero, or full for a long entry.
        absent = (0, _FULL) if flags & _SIZES_FOLLOW else (-1,)
        same = (
            (flags ^ entry.flags) & _SAME_IN_BOTH == 0
            and method == entry.method
            and (crc == entry.crc or crc in absent)
            and (packed == entry.packed or packed in absent)
            and (size == entry.size or size in absent)
        )
        if not same:
            raise self.disagree(f"it tells of its entry {entry.name!r} in two ways that disagree")
        if (stop := start + entry.packed) > entry.end:
            raise self._overlap(entry)
        if entry.end - stop > _DESCRIPTOR:
            what = f"{entry.end - stop:,} bytes after its entry {entry.name!r} belong to none"
            raise self.disagree(what)
        entry.start = start
        return start

    def structure(self, entry: Entry, most: int) -> bytes:
        """The bytes of an entry that tells of the others: a pickle, or JSON.

        Raises ReadError, "pickle-over-limit", for more than `most`, or more than they deflate to.
        """
        limit = most
        if entry.method != STORED:
            limit = max(_UNFOLDED, min(most, _TIMES * entry.packed))
        self.source.budget.spend(entry.size, entry.size)
        if (data := self.read(entry, limit)) is None:
            what = f"its entry {entry.name!r} unfolds from {entry.packed:,} to {entry.size:,} bytes"
            raise over_limit(self.source.path, what)
        return data

    def read(self, entry: Entry, limit: int) -> bytes | None:
        """An entry's bytes, inflated, their checksum held; None where they are more than `limit`.

        Raises ReadError, "zip-checksum-wrong" among them.
        """
        start = self.start(entry)
        if entry.size > (limit if entry.method == STORED else min(limit, MAX_INFLATED)):
            return None
        data = self.source.data[start : start + entry.packed]
        if entry.method == STORED:
            if entry.packed != entry.size:
                raise self.disagree(f"its entry {entry.name!r} is stored, and of two sizes")
        elif entry.method == DEFLATED:
            data = self._inflate(entry, data)
        else:
            what = f"entry {entry.name!r} is compressed in an uncommon way"
            raise unrecognised(self.source.path, what, "save it with torch.save")
        self.hold(entry, _crc32(data, 0))
        self.source.release(start, start + entry.packed)
        return data

    def unfold(self, entry: Entry, file: BinaryIO) -> None:
        """Write the bytes of a deflated entry to a file, a block at a time, and pay for them.

        Raises ReadError as `read` does.
        """
        import zlib

        self.source.budget.spend(entry.size * _BYTE)
        start, size, crc = self.start(entry), 0, 0
        inflater = zlib.decompressobj(-15)
        try:
            for at in range(start, start + entry.packed, _BLOCK):
                data = self.source.data[at : min(at + _BLOCK, start + entry.packed)]
                while data and size <= entry.size:
                    piece = inflater.decompress(data, _BLOCK)
                    data = inflater.unconsumed_tail
                    size, crc = size + len(piece), _crc32(piece, crc)
                    file.write(piece)
        except zlib.error as error:
            what = f"entry {entry.name!r} is damaged: {error}"
            raise truncated(self.source.path, what) from None
        if size != entry.size:
            raise self.disagree(f"its entry {entry.name!r} has not the size it states")
        self.hold(entry, crc)

    def check_sum(self, entry: Entry) -> None:
        """Hold the checksum of an entry, one that is stored as it is without a copy of it.

        Reads all of its bytes: for those who read the values anyway. Raises ReadError,
        "zip-checksum-wrong".
        """
        if entry.method != STORED:
            self.read(entry, MAX_INFLATED)
            return
        start, crc = self.start(entry), 0
        for at in range(start, start + entry.packed, _BLOCK):
            stop = min(at + _BLOCK, start + entry.packed)
            crc = _crc32(self.source.view(at, stop), crc)
            self.source.release(at, stop)
        self.hold(entry, crc)

    def hold(self, entry: Entry, crc: int) -> None:
        """Hold a sum that was made of an entry's bytes against the one that it states."""
        if self.summed and crc != entry.crc:
            what = f"entry {entry.name!r} of the zip archive does not have the checksum it states"
            raise self.refusal("zip-checksum-wrong", what)

    def _inflate(self, entry: Entry, raw: bytes) -> bytes:
        import zlib

        try:
            # One byte more than promised shows an entry that unfolds to more than it says.
            data = zlib.decompressobj(-15).decompress(raw, entry.size + 1)
        except zlib.error as error:
            what = f"entry {entry.name!r} is damaged: {error}"
            raise truncated(self.source.path, what) from None
        if len(data) != entry.size:
            raise self.disagree(f"its entry {entry.name!r} has not the size it states")
        return data


@contextmanager
def opened(path: str) -> Iterator[Archive]:
    """The archive that a file is as a whole."""
    with Source(path) as source:
        yield Archive(source)


def _header(entry: Entry) -> int:
    return entry.header


def _crc32(data: bytes | memoryview, crc: int) -> int:
    from binascii import crc32

    return crc32(data, crc)


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Sizes past 4 GB stand in an extra field, each only if its short form is full."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = _u16(extra, at), _u16(extra, at + 2)
        if kind == 1:
            numbers = extra[at + 4 : at + 4 + length]
            values, here = [], 0
            for value in (size, packed, header):
                if value == _FULL and here + 8 <= len(numbers):
                    value = _u64(numbers, here)
                    here += 8
                values.append(value)
            return values[0], values[1], values[2]
        at += 4 + length
    return size, packed, header


def _has_field(extra: bytes, wanted: int) -> bool:
    at = 0
    while at + 4 <= len(extra):
        if _u16(extra, at) == wanted:
            return True
        at += 4 + _u16(extra, at + 2)
    return False
