"""An .npz file -> named inputs of a model as they are, and labels: for whatever is no picture.

Text that was tokenised, sound that was cut: what prepares it is the person's own code, and here is
what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Data, Record
from interop.data.classes import in_range
from interop.errors import DataError
from interop.facts import TaskName

LABELS = ("label", "labels")
TARGETS = (*LABELS, "y")  # what class numbers of a data set may be called
NO_CLASS = 255  # a pixel of a mask that counts neither way


class Inputs:
    """The arrays of an .npz file, a row a sample; one of `labels` holds a class number for each, if
    it is there.

    Raises DataError where it is no such file or the arrays differ in length.
    """

    def __init__(self, path: str | Path, labels: Sequence[str] = LABELS) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError) as error:
            fix = "save one with numpy.savez: an array for each input, by the input's name"
            what = f"cannot be read as an .npz file ({error})"
            raise DataError(what, where=str(path), fix=fix) from None
        self.path = Path(path)
        self.labels = next((arrays.pop(name) for name in labels if name in arrays), None)
        self.arrays: dict[str, NDArray[Any]] = arrays
        rows = [*arrays.values(), *([] if self.labels is None else [self.labels])]
        lengths = {len(a) for a in rows if a.ndim}
        if not arrays or len(lengths) != 1 or 0 in lengths:
            what = f"its arrays have {sorted(lengths)} rows, where each needs as many as the others"
            fix = "save an array for each input, a row a sample"
            raise DataError(what, where=str(path), fix=fix)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def spread(self, count: int) -> dict[str, NDArray[Any]]:
        """At most `count` samples taken evenly over the whole file."""
        picks = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return {name: array[picks] for name, array in self.arrays.items()}


def task_of(inputs: Inputs) -> str:
    """Return the task that whole numbers as labels stand for, one a row; "" for others."""
    labels = inputs.labels
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return ""
    whole = any(a.dtype.kind in "iu" for a in inputs.arrays.values())
    return TaskName.TEXT_CLASSIFICATION if whole else TaskName.IMAGE_CLASSIFICATION


class ArrayData(Data):
    """`Inputs` as a data set: a mapping of arrays a record, each without the row axis.

    The truth is the row of "labels": a class number for a classification, an array (height, width)
    of class numbers for a segmentation, a float or an array of them for a regression; None where
    the file has no labels. Raises DataError where they are of another form.
    """

    kind = "arrays"

    def __init__(self, inputs: Inputs, task: str, labels: Sequence[str] | None = None) -> None:
        self.inputs, self.path, self.names = inputs, inputs.path, labels
        given, self.task = inputs.labels, task
        if given is None:
            return
        if task == TaskName.SPEECH_RECOGNITION:
            _check_texts(given, self.path)
            return
        axes: int | None = 3 if task == TaskName.IMAGE_SEGMENTATION else 1
        axes = None if task == TaskName.REGRESSION else axes
        kinds = "iuf" if axes is None else "iu"
        if (axes and given.ndim != axes) or given.dtype.kind not in kinds:
            what = (
                f"its labels are {given.dtype} of shape {given.shape}, which says nothing of {task}"
            )
            fix = "give a class number a row (a pixel, a float) under the name labels"
            raise DataError(what, where=str(self.path), fix=fix)
        if task == TaskName.REGRESSION and not np.isfinite(given).all():
            what = "its labels hold values that are no numbers"
            raise DataError(what, where=str(self.path), fix="take those rows out")

    def __len__(self) -> int:
        return len(self.inputs)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        for i in range(len(self)) if picks is None else picks:
            name, hasher = f"row {i + 1}", sha256()
            raw = {n: a[i] for n, a in self.inputs.arrays.items()}
            for key, array in sorted(raw.items()):
                hasher.update(f"{key} {array.dtype} {array.shape}\n".encode() + array.tobytes())
            yield Record(name, hasher.hexdigest(), raw, self._truth(i, f"{self.path}, {name}"))

    def _truth(self, row: int, where: str) -> Any:
        if self.inputs.labels is None:
            return None
        value = self.inputs.labels[row]
        if self.task == TaskName.SPEECH_RECOGNITION:
            return str(value)
        if self.task == TaskName.REGRESSION:
            return float(value) if value.ndim == 0 else value.astype(np.float64)
        if value.ndim:
            checked_mask(value, self.names, where=where)
            return value
        return in_range(int(value), self.names, where=where)


def _check_texts(given: NDArray[Any], path: Path) -> None:
    if given.ndim != 1 or given.dtype.kind != "U":
        what = f"its labels are {given.dtype} of shape {given.shape}, and no texts"
        fix = "give what is said in each row as a text under the name labels"
        raise DataError(what, where=str(path), fix=fix)


def checked_mask(mask: NDArray[Any], labels: Sequence[str] | None, *, where: str) -> None:
    """DataError where a mask holds a class number, other than 255, that no label stands for."""
    counted = mask[mask != NO_CLASS]
    if counted.size and labels:
        in_range(int(counted.max()), labels, where=where)
    if counted.size:
        in_range(int(counted.min()), labels, where=where)
