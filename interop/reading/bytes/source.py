"""A path -> the file's bytes, mapped into memory: a reader touches only the pages it looks at.

A reader sees a `Source`, whatever is behind it: a file, a part of one, or bytes far away.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, overload

from interop.reading.bytes.address import is_remote, shown, truncated, unrecognised
from interop.reading.bytes.budget import Budget


class Bytes(Protocol):
    """What a reader asks of a file's bytes; `mmap` and `bytes` have it."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> bytes: ...
    def find(self, wanted: bytes, start: int, end: int, /) -> int: ...


class Window:
    """The bytes [start, stop) of others, without a copy."""

    __slots__ = ("_data", "_start", "_stop")

    def __init__(self, data: Bytes, start: int, stop: int) -> None:
        self._data = data
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> bytes: ...
    def __getitem__(self, at: int | slice, /) -> int | bytes:
        if isinstance(at, slice):
            start, stop, _ = at.indices(len(self))
            return self._data[self._start + start : self._start + max(start, stop)]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._data[(self._start if at >= 0 else self._stop) + at]

    def find(self, wanted: bytes, start: int, end: int, /) -> int:
        end = min(end, len(self))
        offset = self._data.find(wanted, self._start + start, self._start + end)
        return offset - self._start if offset >= 0 else -1


class Source:
    """A regular, non-empty file, open and mapped read-only; `data[a:b]` gives bytes.

    `base` is the byte of the file at which `data` begins: 0 but for a part of a file. What a
    reader records as a place in the file is counted from the file's beginning. Of a file that is
    `remote` every look may be a request over the network. `budget` is what reading it may cost.
    """

    __slots__ = ("base", "budget", "data", "path", "remote", "size")

    data: Bytes

    def __init__(self, path: str) -> None:
        self.path = shown(path)
        self.base = 0
        self.remote = is_remote(path)
        if self.remote:
            from interop.reading.bytes.remote import FetchedParts

            self.data = FetchedParts(path)
            self.size = len(self.data)
            if self.size == 0:
                raise truncated(self.path, "the file is empty", "upload it again")
            self.budget = Budget(self.path, self.size)
            return
        try:
            # Not blocking: opening a named pipe would otherwise wait for a writer for ever.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        except FileNotFoundError:
            raise unrecognised(path, "there is no such file", "check the path") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            what = f"cannot be opened: {why}"
            raise unrecognised(path, what, "check its path and rights") from None
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise unrecognised(path, "is no regular file", "give a model file or a folder")
            if state.st_size == 0:
                raise truncated(path, "the file is empty", "fetch or save it again")
            self.size = state.st_size
            try:
                self.data = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                what = f"cannot be mapped: {error}"
                raise unrecognised(path, what, "copy it elsewhere") from None
        finally:
            os.close(handle)
        self.budget = Budget(self.path, self.size)

    def within(self, start: int, stop: int) -> Source:
        """The bytes [start, stop), to be read as a file of their own; they go when this one does.

        ReadError where the file does not hold them.
        """
        if not 0 <= start <= stop <= self.size:
            raise truncated(self.path, f"it ends before byte {stop:,}, where a part of it should")
        part = Source.__new__(Source)
        part.path, part.base, part.size = self.path, self.base + start, stop - start
        part.remote, part.budget = self.remote, self.budget
        part.data = Window(self.data, start, stop)
        return part

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if (close := getattr(self.data, "close", None)) is not None:
            close()

    def view(self, start: int, stop: int) -> bytes | memoryview:
        """The bytes [start, stop), without a copy where they are mapped.

        Not to be kept: the file cannot be closed as long as it is.
        """
        if isinstance(self.data, mmap.mmap):
            return memoryview(self.data)[start:stop]
        return self.data[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Let the system have back the pages of [start, stop), which were looked at once."""
        if isinstance(self.data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            if stop > first:
                self.data.madvise(mmap.MADV_DONTNEED, first, stop - first)

    def sha256(self, most: int | None = None) -> str:
        """The hash of the whole file, or of its first bytes, read in pieces."""
        import hashlib

        digest = hashlib.sha256()
        for piece in self.pieces(0, self.size if most is None else min(most, self.size)):
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self, start: int, end: int) -> Iterator[bytes | memoryview]:
        """The bytes [start, end), some megabytes at a time, each to be used before the next."""
        step = 1 << 22
        for at in range(start, end, step):
            stop = min(at + step, end)
            yield self.view(at, stop)
            self.release(at, stop)


_BINARY = getattr(os, "O_BINARY", 0)
