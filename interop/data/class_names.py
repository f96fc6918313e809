"""A labelled data set's path -> the names of its classes, for a model that is yet to be trained.

A model that exists brings its labels, and the data set is matched to them; one that is being made
takes the data set's own: folders and words in the alphabet's order, numbers in theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interop.data.arrays import ArrayData
from interop.data.base import Data
from interop.data.columns import TableData
from interop.data.folder import ClassFolder
from interop.data.opening import open_data
from interop.data.vision import Torchvision, spellings
from interop.errors import DataError
from interop.facts import TaskName

# Tasks whose answers are classes.
CLASSIFIED = (
    TaskName.IMAGE_CLASSIFICATION, TaskName.TEXT_CLASSIFICATION,
    TaskName.AUDIO_CLASSIFICATION, TaskName.TOKEN_CLASSIFICATION,
)  # fmt: skip
# Names of folders that are parts of a data set, and no classes.
PARTS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


def class_names(
    path: str | Path,
    task: str,
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> tuple[str, ...]:
    """The class names of the data set at `path`; () where the task has no classes.

    Raises DataError where it names fewer than two, and what `open_data` raises.
    """
    if task not in CLASSIFIED:
        return ()
    class_names = _names(open_data(path, task, None, columns=columns, split=split))
    if len(class_names) < 2:
        what = f"has {len(class_names)} class{'es' if len(class_names) != 1 else ''}"
        fix = "give a data set whose samples are of two classes or more"
        raise DataError(what, where=str(path), fix=fix)
    return class_names


def _names(data: Data) -> tuple[str, ...]:
    if isinstance(data, ClassFolder):
        return _folders(data)
    if isinstance(data, Torchvision):
        return tuple(str(n[0] if isinstance(n, tuple) else n) for n in spellings(data._found))
    if isinstance(data, ArrayData):
        given = data.inputs.labels
        return tuple(map(str, range(int(given.max()) + 1))) if given is not None else ()
    assert isinstance(data, TableData)
    return _values(data)


def _folders(data: ClassFolder) -> tuple[str, ...]:
    below = sorted(p for p in data.path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if below and {p.name.lower() for p in below} <= PARTS:
        what = f"holds parts of a data set ({', '.join(p.name for p in below)}), no classes"
        raise DataError(what, where=str(data.path), fix=f"give one of them, such as {below[0]}")
    return tuple(p.name for p in below)


def _values(table: TableData) -> tuple[str, ...]:
    """The values of the label column; all numbers up to the largest where all are numbers."""
    texts = table.texts()
    if all(v.isdecimal() and v.isascii() for v in texts):
        return tuple(map(str, range(max(map(int, texts), default=-1) + 1)))
    return tuple(sorted(texts))
