"""A repository or a store -> the models in it: single files, and folders that are one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from interop.gate.repository.git import Repository, unit_id
from interop.reading.bytes.address import is_remote
from interop.reading.grouping import grouped, may_be_other
from interop.records import dataclass
from interop.sweep.store import File, Store

_AT_ONCE = 16  # requests to a server


@dataclass(frozen=True, slots=True)
class Unit:
    """One model: `path` from the root, its files (of a single one itself first, then those beside
    it that say what it is or may hold its weights), and what identifies their content.

    `identity` is of git's blobs where the files are as the index has them (`clean`), else of path,
    size and time of change. `perhaps`: the ending alone does not say that it is a model.
    """

    path: str
    files: tuple[str, ...]
    identity: tuple[str, ...]
    clean: bool
    perhaps: bool = False


def in_repository(repository: Repository, under: str = "") -> list[Unit]:
    """The models below a folder of a working tree that .gitignore does not leave out."""
    blobs, dirty = repository.clean()
    return list(_units(repository.root, [*blobs, *dirty], under, blobs))


def in_store(store: Store) -> list[Unit]:
    """The models of a folder, a prefix or a list.

    Here path, size and time of change identify a file; on a server size and ETag, the same in any
    place. Raises ReadError if a server refuses.
    """
    files = _looked_at(store)
    units = []
    for path, inner in sorted(store.models.items()):
        perhaps = inner[0] == path and may_be_other(path)
        identity = tuple(_identity(store, path, file, files[file]) for file in sorted(inner))
        units.append(Unit(path, tuple(inner), identity, clean=False, perhaps=perhaps))
    return units


def _looked_at(store: Store) -> Mapping[str, File]:
    """What identifies the files; of a list, a request each tells it."""
    unknown = [path for path, file in store.files.items() if not file.stamp]
    if not unknown or not store.remote:
        return store.files
    from interop.reading.bytes import remote

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = threads.map(lambda path: remote.file(store.address(path)), unknown)
        return {**store.files, **{p: File(*f) for p, f in zip(unknown, found, strict=True)}}


def _identity(store: Store, model: str, path: str, file: File) -> str:
    address = store.address(path)
    if not is_remote(address) or not file.stamp:
        return f"{address} {file.size} {file.stamp}"
    return f"{path.removeprefix(model)} etag:{file.stamp}:{file.size:012}"


def _units(root: Path, paths: list[str], under: str, blobs: dict[str, str]) -> Iterator[Unit]:
    inner = f"{under.rstrip('/')}/" if under not in ("", ".") else ""
    for path, files in sorted(grouped(p for p in paths if p.startswith(inner)).items()):
        clean = unit_id(blobs, files)
        perhaps = files[0] == path and may_be_other(path)
        yield Unit(
            path, tuple(files), clean or _stamps(root, files), clean is not None, perhaps
        )  # fmt: skip


def _stamps(root: Path, files: list[str]) -> tuple[str, ...]:
    stamps = []
    for file in sorted(files):
        try:
            state = (root / file).stat()
            stamp = f"{state.st_size} {state.st_mtime_ns}"
        except OSError as error:  # it is told of when it is read
            stamp = str(error.errno)
        stamps.append(f"{root / file} {stamp}")
    return tuple(stamps)
