"""Few of the handwritten digits, as class folders."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.commands import ROOT

HELD_BACK = ROOT / "fixtures" / "digits" / "heldout"
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def held_back(out: Path, each: int, labels: Sequence[str] = LABELS) -> Path:
    """The first `each` of every class of those that no training saw; the folder `out`."""
    for label in labels:
        (out / label).mkdir(parents=True)
        for picture in sorted((HELD_BACK / label).iterdir())[:each]:
            shutil.copy(picture, out / label)
    return out


def for_training(out: Path, each: int, classes: int = len(LABELS)) -> Path:
    """The first `each` of the first `classes` classes, of those that the backbones have seen."""
    import numpy as np

    from fixtures.make import split, write_pictures

    images, found, training, _ = split()
    few = [i for c in range(classes) for i in training[found[training] == c][:each]]
    write_pictures(out, images, found, np.array(few))
    return out
