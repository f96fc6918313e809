"""The paths of a tree -> the models in it: single files, and folders that are one model.

By names alone, so that a commit, a folder and a listing of a store are grouped alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from interop.reading import folder as folders
from interop.reading.companion_files import DESCRIPTIONS, ENDINGS, INDEX, by_name, loose

# Files of these may be anything; they count if they are read as a model.
PERHAPS = (".bin", ".pkl", ".pickle", ".h5", ".hdf5", ".npz")
_WHOLE = ("interop.json", "saved_model.pb", *folders.INDEXES)
_SKIPPED = ("rng_state", ".")


def grouped(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the path of each model -> its files, of all the paths of a tree."""
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    whole = {f for f, inner in by_folder.items() if f and is_model({_name(p) for p in inner})}
    models: dict[str, list[str]] = {}
    for folder, inner in by_folder.items():
        owner = next((w for w in (folder, *_above(folder)) if w in whole), None)
        if owner is not None:
            models.setdefault(owner, []).extend(inner)
            continue
        by_path = {_name(path): path for path in inner}
        near = _Near(by_path)
        shards = {n for name in by_path if INDEX.fullmatch(name) for n in near.of(name)}
        for name, path in by_path.items():
            model = name.lower().endswith((*ENDINGS, *PERHAPS)) and not _beside(name)
            if INDEX.fullmatch(name) or (model and name not in shards):
                models[path] = [path, *(by_path[n] for n in near.of(name))]
    return models


def may_be_other(path: str) -> bool:
    """Whether the ending alone does not say that a file is a model."""
    return path.lower().endswith(PERHAPS)


class _Near:
    """The names of one folder, of which each model file is asked for those that belong to it.

    A folder may hold a hundred thousand: only what can belong to a file is looked at.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._descriptions = [n for n in self._names if n in DESCRIPTIONS]
        self._loose = [n for n in self._names if loose(n)]

    def of(self, name: str) -> list[str]:
        """Return which of the names belong to a model file, as `by_name` says."""
        known = [*self._descriptions]
        if name.lower().endswith(".onnx"):
            known += [*self._loose, *self._begin(name[: -len("onnx")])]
        elif index := INDEX.fullmatch(name):
            known += self._begin(f"{index[1]}-")
        return by_name(name, dict.fromkeys(known))

    def _begin(self, front: str) -> Iterator[str]:
        for at in range(bisect_left(self._names, front), len(self._names)):
            if not self._names[at].startswith(front):
                return
            yield self._names[at]


def is_model(names: set[str]) -> bool:
    """Whether a folder with files of these names is one model as a whole."""
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
