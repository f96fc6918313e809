"""A folder of a repository -> the models in it: single files, and folders that are one model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from interop.gate.companion_files import ENDINGS, INDEX, by_name
from interop.gate.repository.git import Repository, unit_id
from interop.reading import folder as folders
from interop.records import dataclass

# Files of these may be anything; they count where they are read as a model.
PERHAPS = (".bin", ".pkl", ".pickle", ".h5", ".hdf5", ".npz")
_WHOLE = ("interop.json", "saved_model.pb", *folders.INDEXES)
_SKIPPED = ("rng_state", ".")


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


def grouped(paths: Iterable[str]) -> dict[str, list[str]]:
    """The path of each model -> its files, of all the paths of a tree."""
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    whole = {f for f, inner in by_folder.items() if f and _is_model({_name(p) for p in inner})}
    models: dict[str, list[str]] = {}
    for folder, inner in by_folder.items():
        owner = next((w for w in (folder, *_above(folder)) if w in whole), None)
        if owner is not None:
            models.setdefault(owner, []).extend(inner)
            continue
        by_path = {_name(path): path for path in inner}
        shards = {n for name in by_path if INDEX.fullmatch(name) for n in by_name(name, by_path)}
        for name, path in by_path.items():
            model = name.lower().endswith((*ENDINGS, *PERHAPS)) and not _beside(name)
            if INDEX.fullmatch(name) or (model and name not in shards):
                models[path] = [path, *(by_path[n] for n in by_name(name, by_path))]
    return models


def _units(root: Path, paths: list[str], under: str, blobs: dict[str, str]) -> Iterator[Unit]:
    inner = f"{under.rstrip('/')}/" if under not in ("", ".") else ""
    for path, files in sorted(grouped(p for p in paths if p.startswith(inner)).items()):
        clean = unit_id(blobs, files)
        perhaps = files[0] == path and may_be_other(path)
        yield Unit(
            path, tuple(files), clean or _stamps(root, files), clean is not None, perhaps
        )  # fmt: skip


def may_be_other(path: str) -> bool:
    """Whether the ending alone does not say that a file is a model."""
    return path.lower().endswith(PERHAPS)


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


def _is_model(names: set[str]) -> bool:
    if names & set(_WHOLE) or {"model.onnx", "model.safetensors"} <= names:
        return True
    if ".metadata" in names and any(n.endswith(".distcp") for n in names):
        return True
    return "config.json" in names and bool(names & set(folders.PREFERRED))


def _above(folder: str) -> Iterator[str]:
    yield from (p.as_posix() for p in PurePosixPath(folder).parents if p.as_posix() != ".")


def _beside(name: str) -> bool:
    return name in folders.BESIDE or name.startswith(_SKIPPED)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
