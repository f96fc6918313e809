"""A folder with images/ and masks/ -> pictures, and for each an array of class numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interop.data import pictures
from interop.data.arrays import checked_mask
from interop.data.base import Data, Record
from interop.data.folder import SUFFIXES
from interop.errors import DataError

IMAGES, MASKS = "images", "masks"
_FIX = "give a folder with images/ and masks/, a PNG of class numbers of the same name a picture"


class MaskFolder(Data):
    """Pictures under images/ and their masks under masks/, found by the file's name.

    A mask is a PNG of one channel, as large as its picture; its values are the numbers of the
    model's labels, and 255 counts neither way. Raises DataError where a picture has no mask.
    """

    kind = "pictures"

    def __init__(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        self.path, self.labels = Path(path), labels
        images, masks = self.path / IMAGES, self.path / MASKS
        if not images.is_dir() or not masks.is_dir():
            lacking = IMAGES if not images.is_dir() else MASKS
            raise DataError(f"holds no folder {lacking}/", where=str(path), fix=_FIX)
        files = sorted(p for p in images.rglob("[!.]*") if p.is_file())
        pictures = [p for p in files if p.suffix.lower() in SUFFIXES]
        self.pairs = [(p, masks / p.relative_to(images).with_suffix(".png")) for p in pictures]
        if not self.pairs:
            raise DataError("holds no picture", where=str(images), fix=_FIX)
        for picture, mask in self.pairs:
            if not mask.is_file():
                what = f"has no mask {mask.relative_to(self.path).as_posix()}"
                raise DataError(what, where=str(picture), fix=_FIX)
        lone = {p for p in masks.rglob("[!.]*") if p.is_file()} - {m for _, m in self.pairs}
        self.ignored = len(files) - len(pictures) + len(lone)

    def __len__(self) -> int:
        return len(self.pairs)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        for path, mask in self.pairs if picks is None else [self.pairs[i] for i in picks]:
            data = pictures.read(path)
            picture = pictures.decode(data, where=str(path))
            drawn = pictures.decode(pictures.read(mask), where=str(mask))
            yield Record(
                path.relative_to(self.path).as_posix(),
                sha256(data).hexdigest(),
                picture,
                class_numbers(drawn, picture, self.labels, where=str(mask)),
            )


def class_numbers(
    mask: Image.Image, picture: Image.Image, labels: Sequence[str] | None, *, where: str
) -> NDArray[Any]:
    """The mask's values, uint8 (height, width). Raises DataError where it cannot be one."""
    fault = ""
    if mask.mode not in ("L", "P", "1"):
        fault = f"is a picture in colours (mode {mask.mode}), not of class numbers"
    elif mask.size != picture.size:
        fault = f"is {mask.size[0]}x{mask.size[1]}, its picture {picture.width}x{picture.height}"
    if fault:
        raise DataError(fault, where=where, fix=_FIX)
    values = np.array(mask, dtype=np.uint8)
    checked_mask(values, labels, where=where)
    return values
