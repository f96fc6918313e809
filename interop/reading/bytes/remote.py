"""An address that fsspec reaches -> bytes, of which only the parts that are asked for are fetched.

A file on a server that answers no part of a file, and one of which much is wanted, is fetched once
as a whole, into a folder that goes when the process ends.
"""

from __future__ import annotations

import atexit
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any, NamedTuple, overload

from interop.errors import ExtraMissing, ReadError
from interop.reading.bytes import address as location
from interop.reading.bytes.address import shown, truncated, unrecognised

# The first part that is fetched holds the header of nearly every checkpoint; small files whole.
FIRST = 1 << 18
# From so many bytes on, one copy of the file is cheaper than ever more parts.
WHOLE = 1 << 26
_BEHIND = 1 << 14  # what is read next lies close behind


class FetchedParts:
    """The bytes of a remote file, fetched in parts as they are asked for.

    `requests` counts the parts, `fetched` their bytes.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests = self.fetched = 0
        self._fs, self._path = _filesystem(address)
        about = _about(address)
        if about.get("type") == "directory":
            raise unrecognised(shown(address), "is a folder", "name the file in it")
        size = about.get("size")
        self._listed = address in _LISTED
        self._parts: list[tuple[int, bytes]] = []
        self._whole: mmap.mmap | bytes | None = None
        self.size = size or 0
        self._file: Any = None
        if size is None or about.get("partial") is False:
            self._take_whole()

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> bytes: ...
    def __getitem__(self, at: int | slice, /) -> int | bytes:
        if self._whole is not None:
            return self._whole[at]
        if isinstance(at, slice):
            start, stop, _ = at.indices(self.size)
            return self._bytes(start, stop)
        if not -self.size <= at < self.size:
            raise IndexError(at)
        return self._bytes(at % self.size, at % self.size + 1)[0]

    def find(self, wanted: bytes, start: int, end: int, /) -> int:
        step, overlap = 1 << 12, len(wanted) - 1
        end = min(end, self.size)
        while start < end:
            stop = min(start + step, end)
            if (offset := self[start:stop].find(wanted)) >= 0:
                return start + offset
            if stop == end:
                break
            start, step = stop - overlap, 2 * step
        return -1

    def close(self) -> None:
        self._parts = []
        if self._file is not None:
            self._file.close()
        if isinstance(self._whole, mmap.mmap):
            self._whole.close()

    def _bytes(self, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        for begin, part in reversed(self._parts):
            if begin <= start and stop <= begin + len(part):
                return part[start - begin : stop - begin]
        if self.fetched + stop - start > WHOLE:
            self._take_whole()
            return self._bytes_of_whole(start, stop)
        # What is asked for is small more often than not, and something close to it comes next.
        least = FIRST << min(max(self.requests - 4, 0), 8)
        end = min(self.size, max(stop + _BEHIND, start + least))
        begin = max(0, min(start, end - FIRST)) if end == self.size else start
        if (data := self._fetch(begin, end)) is None:
            self._take_whole()
            return self._bytes_of_whole(start, stop)
        self._parts.append((begin, data))
        return data[start - begin : stop - begin]

    def _bytes_of_whole(self, start: int, stop: int) -> bytes:
        assert self._whole is not None
        return self._whole[start:stop]

    def _fetch(self, start: int, end: int) -> bytes | None:
        """The bytes [start, end); None where the server would rather send the whole file."""
        with _told(self.address):
            if self._listed:  # opening it would ask for its size once more
                return self._counted(
                    self._fs.cat_file(self._path, start=start, end=end), end - start
                )
            if self._file is None:
                self._file = self._fs.open(self._path, "rb", cache_type="none")
            self._file.seek(start)
            try:
                data: bytes = self._file.read(end - start)
            except ValueError:  # what fsspec raises, before it takes the bytes
                return None
        return self._counted(data, end - start)

    def _counted(self, data: bytes, wanted: int) -> bytes:
        self.requests += 1
        self.fetched += len(data)
        if len(data) != wanted:
            what = f"the server sent {len(data):,} bytes where {wanted:,} were asked for"
            raise truncated(shown(self.address), what, "fetch the file and check it here")
        return data

    def _take_whole(self) -> None:
        path = Path(copy(self.address))
        self.size = path.stat().st_size
        if self.size == 0:
            self._whole = b""
            return
        with path.open("rb") as file:
            self._whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def copy(address: str) -> str:
    """The path of a copy of the whole file on this machine; it goes when the process ends."""
    fs, path = _filesystem(address)
    folder = tempfile.mkdtemp(prefix="interop-")
    atexit.register(rmtree, folder, ignore_errors=True)
    name = address.partition("?")[0].rpartition("/")[2] or "model"
    target = os.path.join(folder, name)  # noqa: PTH118
    if (size := _about(address).get("size")) and size > disk_usage(folder).free:
        what = f"its {size:,} bytes do not fit on this machine's temporary disk"
        raise ReadError(what, where=shown(address), fix="set TMPDIR to a larger disk")
    from fsspec.callbacks import Callback

    of = f" of {size / 1e6:,.0f}" if size else ""

    def say(_: int | None, done: int, **more: object) -> None:
        location.progress(f"fetching {name}: {done / 1e6:,.0f}{of} MB")

    with _told(address):
        fs.get_file(path, target, callback=Callback(hooks={"say": say}))
    done = Path(target).stat().st_size
    if size and done != size:
        raise truncated(shown(address), f"the server sent {done:,} of {size:,} bytes", "try again")
    return target


def is_folder(address: str) -> bool:
    """Is it a folder of a store that has folders? (The web has none.)"""
    if address.startswith(("http:", "https:")):
        return False
    return bool(_about(address).get("type") == "directory")


def exists(address: str) -> bool:
    """Is there a file?"""
    try:
        return bool(_about(address).get("type", "file") == "file")
    except ReadError as error:
        if "there is no such file" in error.what:
            return False
        raise


def size(address: str) -> int:
    """A file's size in bytes; 0 where the server does not tell."""
    return int(_about(address).get("size") or 0)


def names(address: str) -> list[str]:
    """The names of the files in a folder, sorted."""
    fs, path = _filesystem(address)
    with _told(address):
        entries = fs.ls(path, detail=True)
    files = (one["name"] for one in entries if one.get("type") == "file")
    return sorted(name.rstrip("/").rpartition("/")[2] for name in files)


class File(NamedTuple):
    """A file of a store: its size in bytes (0 if the server does not tell), and what changes with
    its content: an ETag, else the time of change; "" if there is neither."""

    size: int
    stamp: str


def below(address: str) -> dict[str, File]:
    """Return the files below a folder or prefix, each by its path from there, of one listing.

    Folders with a dot in front are left out. Raises ReadError.
    """
    fs, path = _filesystem(address)
    with _told(address):
        found = fs.find(path, detail=True)
    front = len(path.rstrip("/")) + 1
    paths = ((name[front:], about) for name, about in found.items() if not name.endswith("/"))
    return {
        p: _as_file(about) for p, about in paths if p and "/." not in f"/{p.rpartition('/')[0]}"
    }


def file(address: str) -> File:
    """Return what a store says of one file, of one request. Raises ReadError."""
    return _as_file(_about(address))


_STAMPS = ("ETag", "etag", "blob_id", "oid", "md5Hash", "LastModified", "last_modified", "mtime")


def _as_file(about: dict[str, Any]) -> File:
    stamp = next((str(about[k]).strip('"') for k in _STAMPS if about.get(k)), "")
    return File(int(about.get("size") or 0), stamp)


_LISTED: dict[str, dict[str, Any]] = {}


@contextmanager
def listed(address: str, size: int) -> Iterator[None]:
    """Take a file's size from a listing while it is read: one request fewer, or three.

    A server that sends no part of a file has no listings, so parts are asked for at once.
    """
    if address.startswith(("http:", "https:")) or not size:
        yield
        return
    _LISTED[address] = {"type": "file", "size": size}
    try:
        yield
    finally:
        _LISTED.pop(address, None)


@cache
def _filesystem(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ExtraMissing(
            "reading from there needs fsspec, which is not installed",
            where=shown(address),
            fix="pip install 'model-interop[remote]', or fetch the file and give its path",
        ) from None
    try:
        with _told(address):
            # Listings are not kept: a file may change between two looks of a long-lived process.
            fs, path = url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise ExtraMissing(
            f"reading from there needs more than is installed: {str(error).partition(chr(10))[0]}",
            where=shown(address),
            fix="install that, or fetch the file and give its path",
        ) from None
    return fs, path


def _about(address: str) -> dict[str, Any]:
    if (known := _LISTED.get(address)) is not None:
        return known
    fs, path = _filesystem(address)
    with _told(address):
        about: dict[str, Any] = fs.info(path)
    return about


class _told:
    """Failures of whatever library reaches the place, as one ReadError."""

    def __init__(self, address: str) -> None:
        self.address = shown(address)

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, (ReadError, ImportError)):
            return
        if isinstance(error, ValueError) and "Protocol not known" in str(error):
            what = f"addresses of {self.address.partition(':')[0]!r} are not known"
            fix = "give a path, or an https://, s3:// or hf:// address"
            raise unrecognised(self.address, what, fix) from None
        # fsspec says "not found" of every failure over HTTP; the true one is its cause.
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        status = getattr(error, "status", 0)
        if isinstance(error, FileNotFoundError) or status in (404, 410):
            raise unrecognised(self.address, "there is no such file", "check the address") from None
        keyless = type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError")
        if isinstance(error, PermissionError) or keyless or status in (401, 403):
            what = "the server refuses access"
            raise unrecognised(self.address, what, "give it the credentials it wants") from None
        # Such messages like to spell the address out, key and all.
        why = re.sub(r"//[^/\s]*@|\?[^\s']+", "…", " ".join(str(error).split()))[:200]
        why = why or type(error).__name__
        fix = "check the address and the network"
        raise unrecognised(self.address, f"cannot be fetched: {why}", fix) from None
