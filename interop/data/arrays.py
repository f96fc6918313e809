"""An .npz file -> named inputs of a model as they are, and labels: for whatever is no picture.

Text that was tokenised, sound that was cut: what prepares it is the person's own code, and here is
what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.errors import DataError

LABELS = ("label", "labels")


class Inputs:
    """The arrays of an .npz file, a row a sample; "labels" holds a class number for each, if there.

    Raises DataError where it is no such file or the arrays differ in length.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"cannot be read as an .npz file ({error})",
                where=str(path),
                fix="save one with numpy.savez: an array for each input, by the input's name",
            ) from None
        self.path = Path(path)
        self.labels = next((found.pop(name) for name in LABELS if name in found), None)
        self.arrays: dict[str, NDArray[Any]] = found
        lengths = {len(a) for a in (*found.values(), *self._label_arrays()) if a.ndim}
        if not found or len(lengths) != 1 or 0 in lengths:
            raise DataError(
                f"its arrays have {sorted(lengths)} rows, where each needs as many as the others",
                where=str(path),
                fix="save an array for each input, a row a sample",
            )

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def spread(self, count: int) -> dict[str, NDArray[Any]]:
        """At most `count` samples taken evenly over the whole file."""
        picks = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return {name: array[picks] for name, array in self.arrays.items()}

    def _label_arrays(self) -> Sequence[NDArray[Any]]:
        return [] if self.labels is None else [self.labels]
