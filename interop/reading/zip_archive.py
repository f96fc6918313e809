"""The bytes of a zip archive -> its entries, and where each entry's bytes lie in the file.

Only what torch.save and its repackers write: no encryption, no parts. The standard library's
zipfile would do, but costs more to import than reading a checkpoint does.
"""

from __future__ import annotations

from interop.reading.source import Source, truncated, unrecognised

MAX_ENTRIES = 1_000_000
MAX_INFLATED = 1 << 28  # bytes that a small file may unfold to
_FULL = 0xFFFFFFFF
STORED, DEFLATED = 0, 8


class Entry:
    """One file of the archive: its sizes, and where its local header lies."""

    __slots__ = ("crc", "flags", "header", "method", "name", "packed", "size")

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


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


class Archive:
    """The entries of a zip archive by name, in the directory's order."""

    __slots__ = ("directory", "entries", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        start, size, count = self._find_directory()
        self.directory = source.data[start : start + size]
        self.entries: dict[str, Entry] = {}
        at = 0
        for _ in range(count):
            at = self._read_entry(at)

    def _find_directory(self) -> tuple[int, int, int]:
        """Start, size and number of entries of the central directory."""
        source = self.source
        base = max(0, source.size - 65557)
        tail = source.data[base:]
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < 22:
            raise truncated(source.path, "a zip archive without its directory: the end is missing")
        count, size, start = _u16(tail, at + 10), _u32(tail, at + 12), _u32(tail, at + 16)
        end = base + at
        if count == 0xFFFF or size == _FULL or start == _FULL:
            locator = source.data[max(0, end - 20) : end]
            if locator[:4] == b"PK\x06\x07":
                end = _u64(locator, 8)
                record = source.data[end : end + 56]
                if len(record) < 56 or record[:4] != b"PK\x06\x06":
                    raise truncated(source.path, "the zip archive's directory is damaged")
                count, size, start = _u64(record, 32), _u64(record, 40), _u64(record, 48)
        if start + size > end:
            raise truncated(source.path, "the zip archive's directory is not where it should be")
        if count > MAX_ENTRIES or count * 46 > size:
            raise truncated(source.path, "the zip archive's directory is damaged")
        return start, size, count

    def _read_entry(self, at: int) -> int:
        data = self.directory
        if data[at : at + 4] != b"PK\x01\x02" or len(data) < at + 46:
            raise truncated(self.source.path, "the zip archive's directory is damaged")
        lengths = _u16(data, at + 28), _u16(data, at + 30), _u16(data, at + 32)
        name = data[at + 46 : at + 46 + lengths[0]].decode("utf-8", "replace")
        extra_at = at + 46 + lengths[0]
        packed, size, header = _u32(data, at + 20), _u32(data, at + 24), _u32(data, at + 42)
        if _FULL in (packed, size, header):
            extra = data[extra_at : extra_at + lengths[1]]
            size, packed, header = self._wide(extra, size, packed, header)
        if name in self.entries:
            # Readers differ in which one they take: a way to show each of them another file.
            what = f"the zip archive holds two entries named {name!r}"
            raise unrecognised(self.source.path, what, "save the checkpoint again")
        method, flags, crc = _u16(data, at + 10), _u16(data, at + 8), _u32(data, at + 16)
        self.entries[name] = Entry(name, method, flags, crc, packed, size, header)
        return extra_at + lengths[1] + lengths[2]

    def _wide(self, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
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

    def start(self, entry: Entry) -> int:
        """The byte at which an entry's data begins, by its local header, which must agree."""
        source = self.source
        local = source.data[entry.header : entry.header + 30]
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise truncated(source.path, f"entry {entry.name!r} of the zip archive is missing")
        name_end = entry.header + 30 + _u16(local, 26)
        name = source.data[entry.header + 30 : name_end].decode("utf-8", "replace")
        packed = _u32(local, 18)
        # Bit 3: the sizes follow the data and may be absent here.
        agrees = packed in (entry.packed, _FULL) or (_u16(local, 6) & 8 and packed == 0)
        if name != entry.name or _u16(local, 8) != entry.method or not agrees:
            what = f"the zip archive tells of entry {entry.name!r} in two ways that disagree"
            raise truncated(source.path, what)
        start = name_end + _u16(local, 28)
        if start + entry.packed > source.size:
            raise truncated(source.path, f"entry {entry.name!r} of the zip archive is cut off")
        return start

    def read(self, entry: Entry, limit: int) -> bytes | None:
        """An entry's bytes, inflated; None where they are more than `limit`."""
        start = self.start(entry)
        if entry.flags & 1:
            raise unrecognised(
                self.source.path,
                f"entry {entry.name!r} is encrypted",
                "unpack it with its password",
            )
        if entry.size > (limit if entry.method == STORED else min(limit, MAX_INFLATED)):
            return None
        raw = self.source.data[start : start + entry.packed]
        if entry.method == STORED:
            if entry.packed != entry.size:
                raise truncated(self.source.path, f"entry {entry.name!r} is cut off")
            return raw
        if entry.method != DEFLATED:
            what = f"entry {entry.name!r} is compressed in an uncommon way"
            raise unrecognised(self.source.path, what, "save it with torch.save")
        return self._inflate(entry, raw)

    def _inflate(self, entry: Entry, raw: bytes) -> bytes:
        import zlib

        try:
            # One byte more than promised shows an entry that unfolds to more than it says.
            data = zlib.decompressobj(-15).decompress(raw, entry.size + 1)
        except zlib.error as error:
            what = f"entry {entry.name!r} is damaged: {error}"
            raise truncated(self.source.path, what) from None
        if len(data) != entry.size:
            raise truncated(self.source.path, f"entry {entry.name!r} has not the size it states")
        return data
