"""A path -> the file's bytes, mapped into memory: a reader touches only the pages it looks at.

Also the three ways in which a file can be refused, so that every reader refuses in one voice.
"""

from __future__ import annotations

import mmap
import os
import stat
from types import TracebackType

from interop.errors import ReadError


def unrecognised(path: str, what: str, fix: str) -> ReadError:
    """The file is no model, or none of a kind that is read."""
    return ReadError(what, where=path, fix=fix, rule="file-unrecognised")


def truncated(path: str, what: str, fix: str = "") -> ReadError:
    """The file promises bytes that it does not hold."""
    fix = fix or "fetch or save the file again and compare its size with the original's"
    return ReadError(what, where=path, fix=fix, rule="file-truncated")


def over_limit(path: str, what: str) -> ReadError:
    """The file's pickle asks for more than any honest checkpoint does."""
    fix = "do not load this file; ask its author for a safetensors file"
    return ReadError(what, where=path, fix=fix, rule="pickle-over-limit")


class Source:
    """A regular, non-empty file, open and mapped read-only; `data[a:b]` gives bytes."""

    __slots__ = ("data", "path", "size")

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # Not blocking: opening a named pipe would otherwise wait for a writer for ever.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        except FileNotFoundError:
            raise unrecognised(path, "there is no such file", "check the path") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise unrecognised(
                path, f"cannot be opened: {why}", "check its path and rights"
            ) from None
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
                raise unrecognised(
                    path, f"cannot be mapped: {error}", "copy it elsewhere"
                ) from None
        finally:
            os.close(handle)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.data.close()

    def sha256(self) -> str:
        """The hash of the whole file, read in pieces."""
        import hashlib

        digest = hashlib.sha256()
        step = 1 << 22
        for start in range(0, self.size, step):
            digest.update(self.data[start : start + step])
        return digest.hexdigest()


_BINARY = getattr(os, "O_BINARY", 0)
