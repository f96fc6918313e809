"""A path or address -> what lies there: whether it is a folder, what it holds, its neighbours.

The one place that knows that a model may lie on another machine ("https://…", "s3://…", "hf://…").
"""

from __future__ import annotations

import os

from interop.reading.bytes.address import is_remote, unrecognised
from interop.reading.bytes.source import Source


def is_folder(path: str) -> bool:
    """Is there a folder? Raises ReadError where a remote place cannot be reached."""
    if is_remote(path):
        from interop.reading.bytes import remote

        return remote.is_folder(path)
    return os.path.isdir(path)  # noqa: PTH112 - pathlib is slower, and this is on every path


def exists(path: str) -> bool:
    """Is there a file? Raises ReadError where a remote place cannot be reached."""
    if is_remote(path):
        from interop.reading.bytes import remote

        return remote.exists(path)
    return os.path.isfile(path)  # noqa: PTH113


def names(folder: str) -> list[str]:
    """The names of the files in a folder, sorted."""
    if is_remote(folder):
        from interop.reading.bytes import remote

        return remote.names(folder)
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())


def size(path: str) -> int:
    """A file's size in bytes."""
    if is_remote(path):
        from interop.reading.bytes import remote

        return remote.size(path)
    return os.path.getsize(path)  # noqa: PTH202


def text(path: str, most: int) -> str:
    """A text file as a whole; ReadError where it is longer than `most` bytes, or no UTF-8."""
    if not is_remote(path) and not os.path.getsize(path):  # noqa: PTH202
        return ""
    with Source(path) as source:
        if source.size > most:
            raise unrecognised(path, "is far too large for what it should be", "write it again")
        try:
            return source.data[0 : source.size].decode("utf-8").strip()
        except ValueError:
            raise unrecognised(path, "is no text", "mend or remove it") from None


def folder_of(path: str) -> str:
    """The folder of a file; of an address without the query behind it."""
    if is_remote(path):
        return path.partition("?")[0].rpartition("/")[0]
    return os.path.dirname(path)  # noqa: PTH120


def joined(folder: str, name: str) -> str:
    """A file in a folder. In one of this machine, "" included, no name becomes an address."""
    if is_remote(folder):
        return f"{folder.rstrip('/')}/{name}"
    path = os.path.join(folder, name)  # noqa: PTH118
    return f"./{path}" if is_remote(path) else path
