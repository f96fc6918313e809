"""A torchvision data set that lies on this disk -> pictures, and their classes by name.

Nothing is ever downloaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from interop.data.base import Data, Record
from interop.data.classes import in_range, matched
from interop.data.masks import class_numbers
from interop.errors import ConfigError, DataError, ExtraMissing
from interop.facts import TaskName

PREFIX = "torchvision:"
TASKS = (TaskName.IMAGE_CLASSIFICATION, TaskName.IMAGE_SEGMENTATION)
# The folders by which a data set is known, below its root or being it.
_KNOWN = {
    "cifar-10-batches-py": "CIFAR10",
    "cifar-100-python": "CIFAR100",
    "MNIST": "MNIST",
    "FashionMNIST": "FashionMNIST",
    "KMNIST": "KMNIST",
    "QMNIST": "QMNIST",
}
_SPLITS = ("test", "val")
_FIX = "write torchvision:NAME=FOLDER, with the folder that torchvision calls its root"


def recognised(path: Path) -> str | None:
    """ "NAME=ROOT" where the folder is a data set that torchvision wrote, or holds one."""
    for inner, name in _KNOWN.items():
        for root in (path, path.parent):
            here = root / inner
            if here.is_dir() and here in (path, path / inner):
                if name.endswith("MNIST") and not (here / "raw").is_dir():
                    continue
                return f"{name}={root}"
    return None


class Torchvision(Data):
    """A data set of torchvision's that gives a PIL image with a class number or a mask.

    `spec` is "CIFAR10=FOLDER". `split` is a name that the data set has, else the held-back part:
    "test", or "val". Its class names are matched to the labels by name; ImageNet's synonyms and
    MNIST's "0 - zero" match in any of their spellings; a data set that names no classes is taken
    for numbers. A record's hash is of its pixels. Raises DataError, ConfigError, ExtraMissing.
    """

    kind = "pictures"

    def __init__(
        self, spec: str, task: str, labels: Sequence[str] | None = None, split: str | None = None
    ) -> None:
        name, sign, root = spec.partition("=")
        if not sign or not root:
            raise ConfigError(f"{spec!r} names no folder", where=PREFIX + spec, fix=_FIX)
        self.path, self.name, self.task, self.labels = Path(root), name, task, labels
        self._found, self.split = _opened(name, self.path, task, split)
        self._places: dict[int, int] | None = None
        classes = spellings(self._found)
        if labels and task == TaskName.IMAGE_CLASSIFICATION and classes:
            places = matched(
                classes, labels, what=f"the classes of {name}", where=root,
                fix="give labels of the same names with --labels",
            )  # fmt: skip
            self._places = {number: places[c] for number, c in enumerate(classes)}

    def __len__(self) -> int:
        return len(self._found)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        for place in range(len(self)) if picks is None else picks:
            where = f"{self.path}, {self.name} {self.split} {place}"
            try:
                picture, target = self._found[place]
            except Exception as error:  # whatever Pillow or the data set's own reader objects to
                what = f"cannot be read ({error})"
                raise DataError(what, where=where, fix="unpack the data set again") from None
            if not isinstance(picture, Image.Image):
                what = f"gives a {type(picture).__name__}, not a picture"
                raise DataError(what, where=where, fix=_FIX)
            yield Record(
                f"{self.split} {place}",
                sha256(f"{picture.mode} {picture.size}\n".encode() + picture.tobytes()).hexdigest(),
                picture,
                self._truth(target, picture, where),
            )

    def _truth(self, target: Any, picture: Image.Image, where: str) -> Any:
        if self.task == TaskName.IMAGE_SEGMENTATION:
            if not isinstance(target, Image.Image):
                what = f"gives a {type(target).__name__} where a mask is needed"
                raise DataError(what, where=where, fix=_FIX)
            return class_numbers(target, picture, self.labels, where=where)
        try:
            number = int(target)
        except (TypeError, ValueError):
            what = f"gives a {type(target).__name__} where a class number is needed"
            raise DataError(what, where=where, fix="take a data set of classes") from None
        if self._places is not None:
            return self._places[number]
        return in_range(number, self.labels, where=where) if self.labels else None


def _opened(name: str, root: Path, task: str, split: str | None) -> tuple[Any, str]:
    """The data set, and which part of it."""
    try:
        from torchvision import datasets
    except ImportError:
        what = "torchvision is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[run]'") from None
    kind = getattr(datasets, name, None) if name in datasets.__all__ else None
    if kind is None:
        raise ConfigError(f"torchvision has no data set {name!r}", where=PREFIX + name, fix=_FIX)
    takes = inspect.signature(kind).parameters
    options: dict[str, Any] = {"download": False} if "download" in takes else {}
    if task == TaskName.IMAGE_SEGMENTATION and "target_types" in takes:
        options["target_types"] = "segmentation"
    fault = ""
    for part in (split,) if split else _SPLITS:
        try:
            return kind(str(root), **options, **_part(takes, part)), part
        except Exception as error:  # each data set objects in its own way
            fault = fault or f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    what = f"torchvision cannot read {name} there ({fault})"
    raise DataError(what, where=str(root), fix="unpack the data set there; interop downloads none")


def _part(takes: Any, split: str) -> dict[str, Any]:
    """How this data set is asked for a part of it."""
    if "train" in takes:
        return {"train": split == "train"}
    return {key: split for key in ("split", "image_set") if key in takes}


def spellings(found: Any) -> list[Hashable]:
    """For each class number, the names that it goes by; [] where the data set names none."""
    classes = getattr(found, "classes", None)
    if not classes or isinstance(classes, str):
        return []
    spellings: list[Hashable] = []
    for name in classes:
        if isinstance(name, str):
            number, sign, word = name.partition(" - ")
            spellings.append((name, number, word) if sign else (name,))
        else:
            spellings.append((", ".join(map(str, name)), *map(str, name)))
    return spellings
