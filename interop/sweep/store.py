"""A folder, a prefix of a store, or a list of addresses -> the models in it.

One listing gives the size of every file and what changes with its content, so that no file is
asked for by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

from interop.errors import ConfigError
from interop.identity import split_place
from interop.reading import parts
from interop.reading.bytes import location
from interop.reading.bytes.address import is_remote, shown
from interop.reading.grouping import grouped, is_model, may_be_other
from interop.records import dataclass

STDIN, LIST = "-", ".txt"
_MOST_LIST = 1 << 30  # bytes of a list of addresses


class File(NamedTuple):
    """A file: its size in bytes, and what changes with its content ("" if that is not known)."""

    size: int
    stamp: str


class Model(NamedTuple):
    """One model: its path from the store's root, the bytes of its files, and what changes with
    their content ("" if only a look at it tells). `perhaps`: its ending may be of anything;
    `folder`: it is a folder of files."""

    path: str
    size: int
    stamp: str
    perhaps: bool = False
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """Files by their path from `root`, a folder or a prefix; `models` are the path of each model
    and its files. The root of a list is "" unless all its addresses have a folder in common."""

    given: str
    root: str
    files: Mapping[str, File]
    models: Mapping[str, list[str]]

    @property
    def remote(self) -> bool:
        """Whether models are reached over a network."""
        return is_remote(self.root) or any(map(is_remote, self.models))

    def address(self, path: str) -> str:
        """Return where a path of the store is."""
        return at(self.root, path)

    def each(self) -> Iterator[Model]:
        """Yield the models by their path."""
        for path, files in sorted(self.models.items()):
            folder, size = files[0] != path, sum(self.files[f].size for f in files)
            perhaps = not folder and may_be_other(path)
            yield Model(path, size, self._stamp(files), perhaps, folder)

    def _stamp(self, files: list[str]) -> str:
        if len(files) == 1:
            size, stamp = self.files[files[0]]
            return f"{size} {stamp}" if stamp else ""
        lines = (f"{f} {self.files[f].size} {self.files[f].stamp}" for f in sorted(files))
        return sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def at(root: str, path: str) -> str:
    """Return where a path from a root is; a path of a list may be an address itself."""
    return location.joined(root, path) if root and not is_remote(path) else path


def is_store(given: str) -> bool:
    """Whether it is a list of addresses, or a folder or prefix that is not one model itself."""
    if given == STDIN or given.endswith(LIST):
        return True
    return not given.startswith(("http:", "https:")) and location.is_folder(given)


def opened(given: str, *, empty: bool = False) -> Store:
    """Return what is in a store. Raises ConfigError if it holds no models, unless it may be
    `empty`, and ReadError if a server refuses."""
    if given == STDIN or given.endswith(LIST):
        store = _listed(given)
    else:
        files = _below(given)
        store = Store(shown(given), given, files, grouped(files))
    if not store.models and not empty:
        raise ConfigError("holds no model files", where=store.given, fix="give another folder")
    return store


def expanded(given: str) -> list[str]:
    """Return the addresses of the models that an argument means: of a store all those in it, of
    one model itself. Raises ConfigError and ReadError."""
    if not is_store(given):
        return [given]
    store = opened(given, empty=True)
    top = {path for path in store.files if "/" not in path}
    one = len(store.models) < 2 or is_model(top) or parts.MODULES in top
    if one and given != STDIN and not given.endswith(LIST):
        return [given]
    return [store.address(model.path) for model in store.each()]


def _below(given: str) -> dict[str, File]:
    if is_remote(given):
        if given.startswith(("http:", "https:")):
            what, fix = "a web server lists no files", "list the addresses in a .txt file"
            raise ConfigError(what, where=shown(given), fix=fix)
        from interop.reading.bytes import remote

        return {path: File(*about) for path, about in remote.below(given).items()}
    if not Path(given).is_dir():
        fix = "give a folder, an s3:// prefix, a .txt list of addresses, or - for a list on stdin"
        raise ConfigError("is no folder", where=given, fix=fix)
    return dict(_on_disk(given, ""))


def _on_disk(folder: str, front: str) -> Iterator[tuple[str, File]]:
    """Files below a folder; hidden folders, and folders behind links, are left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if not front:
            what = f"cannot be listed: {error.strerror}"
            raise ConfigError(what, where=folder, fix="check its rights") from None
        return
    for entry in entries:
        if entry.is_dir():
            if not entry.name.startswith(".") and not entry.is_symlink():
                yield from _on_disk(entry.path, f"{front}{entry.name}/")
        else:
            yield front + entry.name, _state(entry)


def _state(entry: os.DirEntry[str] | Path) -> File:
    try:
        state = entry.stat()
    except OSError as error:  # it is told of when it is read
        return File(0, f"error {error.errno}")
    return File(state.st_size, str(state.st_mtime_ns))


# ---------------------------------------------------------------- a list of addresses


def _listed(given: str) -> Store:
    addresses = list(dict.fromkeys(_lines(given)))
    root = _in_common(addresses)
    cut = len(root) + 1 if root else 0
    paths = {address[cut:]: address for address in addresses}
    files = {path: _named(address) for path, address in paths.items()}
    name = "the list on stdin" if given == STDIN else shown(given)
    return Store(name, root, files, {path: [path] for path in files})


def _lines(given: str) -> Iterator[str]:
    if given == STDIN:
        text = sys.stdin.read()
    else:
        text = location.text(given, _MOST_LIST)
    for line in text.splitlines():
        address = line.strip().rstrip("/")
        if address and not address.startswith("#"):
            yield address


def _in_common(addresses: list[str]) -> str:
    """The folder that all addresses are in; "" if there is none."""
    if not addresses:
        return ""
    if len({is_remote(address) for address in addresses}) > 1:
        return ""
    # Of lists it compares part by part.
    same = commonprefix([address.split("/")[:-1] for address in addresses])  # noqa: RUF071
    # "s3://" alone is no place.
    return "/".join(same) if len(same) > 2 * is_remote(addresses[0]) else ""


def _named(address: str) -> File:
    """A file of a list. One elsewhere is looked at when it is read: a request for each is dear."""
    if is_remote(address):
        return File(0, "")
    path = Path(split_place(address)[0])
    if not path.is_dir():
        return _state(path)
    inner = dict(_on_disk(str(path), ""))
    lines = sorted(f"{name} {file.size} {file.stamp}" for name, file in inner.items())
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return File(sum(file.size for file in inner.values()), sha256(text).hexdigest())
