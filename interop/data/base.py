"""What every data set gives: records one after the other, and what they become for a model.

path -> Data -> Records -> (Preparation) -> Prepared. A data set is read as it is gone over, so that
one larger than memory streams; a record's bytes are hashed, so that stored predictions find it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.facts import Json

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Sound:
    """One channel of sound: `samples` float32 (n,) between -1 and 1, at `rate` a second."""

    samples: NDArray[np.float32]
    rate: int


@dataclass(frozen=True, slots=True)
class Boxes:
    """What is to be found in a picture, or was: `boxes` float32 (n, 4) as x1, y1, x2, y2 in pixels
    of the picture as it was stored, `labels` int64 (n,), and of a model `scores` float32 (n,).

    `crowd` bool (n,) marks groups that count neither way.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32] | None = None
    crowd: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One sample. `name` is how a person finds it again (a path below the data set, "row 12").

    `sha256` is of what is stored of it. `raw` by the data's kind: a PIL image; a str, of two texts
    judged together (text, other), for question answering (question, context), for token
    classification a tuple of words; a Sound; a mapping of arrays by input name. `truth` by the
    task: a class number; a float or an array of them; an array (height, width) of class numbers,
    255 where none counts; Boxes; a tuple of tags; a tuple of answers that are right; the text that
    is said; None for a language model.
    """

    name: str
    sha256: str
    raw: Any
    truth: Any


@dataclass(frozen=True, slots=True)
class Preview:
    """What a page shows of a record: a small picture (PNG bytes), or words, or neither."""

    png: bytes = b""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Some records as a model takes them.

    `inputs` are arrays by the model's input names, rows first; `rows` says of which record each row
    is (a long text becomes several). `about` holds what is needed to read the outputs, a mapping a
    row: "words" or "offsets" of tokens, the "size" of a picture and what it was "scaled" to, the
    number of "samples".
    """

    inputs: Mapping[str, Array]
    records: tuple[Record, ...]
    rows: tuple[int, ...]
    about: tuple[Mapping[str, Any], ...] = ()


class Data(ABC):
    """A labelled data set. `kind` is "pictures", "texts", "sounds" or "arrays".

    `ignored` counts what lies there and is no sample.
    """

    kind: str
    path: Path
    ignored: int = 0

    @abstractmethod
    def __len__(self) -> int:
        """How many records there are."""

    @abstractmethod
    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        """All records in order, or those of the given places (ascending). Raises DataError where
        one cannot be read."""

    def spread(self, count: int) -> list[Record]:
        """At most `count` records taken evenly over the whole set, so that all classes show."""
        picks = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return list(self.records([int(i) for i in picks]))

    def about(self) -> dict[str, Json]:
        """Facts for the report."""
        return {"kind": self.kind, "samples": len(self), "ignored": self.ignored}


class Preparation(ABC):
    """Records -> a model's inputs. `most` is how many go together, None for any number.

    `said` describes it for the report: by whom, and how.
    """

    most: int | None = None
    said: Mapping[str, Json] = field(default_factory=dict)

    @abstractmethod
    def __call__(self, records: Sequence[Record]) -> Prepared:
        """Raises DataError where a record cannot become what the model takes."""

    def batches(self, data: Data, size: int) -> Iterator[Prepared]:
        """All of `data`, `size` records at a time (or `most`)."""
        size = min(size, self.most or size)
        chunk: list[Record] = []
        for record in data.records():
            chunk.append(record)
            if len(chunk) == size:
                yield self(chunk)
                chunk = []
        if chunk:
            yield self(chunk)
