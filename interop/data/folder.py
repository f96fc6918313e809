"""A folder with one folder a class -> samples, and batches of them.

A class is found by its folder's name among the model's labels, never by its place in a listing:
"eight" comes first in the alphabet and ninth among the digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interop.data import audio_decode, pictures
from interop.data.base import Data, Record
from interop.data.classes import some, verb
from interop.errors import DataError
from interop.facts import Preprocessing

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample's file, and its class as an index into the model's labels (-1: no labels)."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class Batch:
    """`pictures` float32 (n, channels, height, width), `labels` int64 (n,), sha256 of each file."""

    pictures: NDArray[np.float32]
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]


class Folder:
    """The pictures (PNG, JPEG, BMP, WebP) under `path`, sorted by path.

    With `labels`, every folder directly under `path` is a class and must bear a label's name, and
    every label must have its folder (an empty one says "none of these here"). Without, pictures
    are taken from anywhere below and all labels are -1. Hidden entries are passed over; files that
    are no pictures, or in no class's folder, are counted in `ignored`. Raises DataError where the
    folder is missing, holds no picture or does not fit the labels.
    """

    suffixes = SUFFIXES
    # What there is none of, and what should be there.
    wanted = ("PNG or JPEG, BMP or WebP picture", "pictures")

    def __init__(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self.labels = None if labels is None else tuple(labels)
        self.ignored = 0
        if not self.path.is_dir():
            fix = f"give a folder that holds one folder of {self.wanted[1]} a class"
            raise DataError(
                "is a file" if self.path.exists() else "no such folder", where=str(path), fix=fix
            )
        if self.labels is None:
            samples = [Sample(p, -1) for p in self._files(self.path)]
        else:
            index = {name: i for i, name in enumerate(self.labels)}
            samples = [
                Sample(p, index[name])
                for name in self._classes(index)
                for p in self._files(self.path / name)
            ]
            self.ignored += sum(p.is_file() for p in self.path.glob("[!.]*"))
        if not samples:
            fix = f"give a folder that holds one folder of {self.wanted[1]} a class"
            raise DataError(f"holds no {self.wanted[0]}", where=str(path), fix=fix)
        self.samples: tuple[Sample, ...] = tuple(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def batches(
        self, how: Preprocessing, size: int, samples: Sequence[Sample] | None = None
    ) -> Iterator[Batch]:
        """All samples (or those given) in order, `size` at a time; the last batch may be smaller.

        Each file is read once, when its batch is asked for. Raises DataError for a broken picture,
        or for pictures of several shapes where the preprocessing leaves the shape to the picture.
        """
        pictures.check(how)
        samples = self.samples if samples is None else samples
        for start in range(0, len(samples), size):
            yield _batch(samples[start : start + size], how)

    def spread(self, how: Preprocessing, count: int) -> NDArray[np.float32]:
        """At most `count` pictures taken evenly over the whole set, so that all classes show."""
        picks = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return next(self.batches(how, len(picks), [self.samples[i] for i in picks])).pictures

    def _classes(self, index: dict[str, int]) -> list[str]:
        names = sorted(p.name for p in self.path.glob("[!.]*") if p.is_dir())
        strange = [n for n in names if n not in index]
        absent = [n for n in index if n not in names]
        if strange or absent:
            parts = []
            if strange:
                parts.append(f"{some(strange)} {verb(strange)} no label of the model")
            if absent:
                parts.append(f"{some(absent)} {verb(absent)} a label without a folder")
            raise DataError(
                "class folders do not match the labels: " + ", and ".join(parts),
                where=str(self.path),
                fix="name each folder like the model's label (an empty folder where there are no "
                f"{self.wanted[1]}), or give the model's labels with --labels",
            )
        return names

    def _files(self, folder: Path) -> list[Path]:
        files = [
            p
            for p in folder.rglob("*")
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        ]
        kept = sorted(p for p in files if p.suffix.lower() in self.suffixes)
        self.ignored += len(files) - len(kept)
        return kept


def _batch(samples: Sequence[Sample], how: Preprocessing) -> Batch:
    arrays, hashes = [], []
    for sample in samples:
        data = sample.path.read_bytes()
        hashes.append(sha256(data).hexdigest())
        arrays.append(pictures.prepare(pictures.decode(data, where=str(sample.path)), how))
        if arrays[-1].shape != arrays[0].shape:
            raise DataError(
                f"becomes {arrays[-1].shape} where {samples[0].path.name} becomes "
                f"{arrays[0].shape}: one batch needs one shape",
                where=str(sample.path),
                fix="add a crop to the preprocessing, or resize to a height and a width",
            )
    labels = np.array([s.label for s in samples], dtype=np.int64)
    return Batch(np.stack(arrays), labels, tuple(hashes))


class SoundFolder(Folder):
    """The same of sound files; only `samples` and `ignored` are of use."""

    suffixes = audio_decode.SUFFIXES
    wanted = ("WAV, FLAC, OGG or MP3 file", "sounds")


class ClassFolder(Data):
    """A `Folder` as a data set: pictures or sounds, their truth the class number.

    The truth is None where no labels were given.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.path, self.ignored = folder.path, folder.ignored
        self.kind = "sounds" if isinstance(folder, SoundFolder) else "pictures"

    def __len__(self) -> int:
        return len(self.folder)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        decode = audio_decode.decode if self.kind == "sounds" else pictures.decode
        chosen = self.folder.samples if picks is None else [self.folder.samples[i] for i in picks]
        for sample in chosen:
            data = pictures.read(sample.path)
            yield Record(
                sample.path.relative_to(self.path).as_posix(),
                sha256(data).hexdigest(),
                decode(data, where=str(sample.path)),
                None if sample.label < 0 else sample.label,
            )
