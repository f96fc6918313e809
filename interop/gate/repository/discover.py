"""A folder of a repository -> the models in it: single files, and folders that are one model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interop.gate.repository.git import Repository, unit_id
from interop.reading.grouping import grouped, may_be_other


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


def in_folder(root: Path) -> list[Unit]:
    """The models below a folder that is in no repository; hidden folders are left out."""
    paths = []
    for place, inner, names in os.walk(root):
        inner[:] = sorted(n for n in inner if not n.startswith("."))
        front = Path(place).relative_to(root).as_posix()
        paths += [n if front == "." else f"{front}/{n}" for n in names]
    return list(_units(root, paths, "", {}))


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
