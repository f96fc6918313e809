"""A data set -> prepared batches of any of its samples, in any order.

Pictures are prepared once and texts and sounds held, as far as memory is given to them; larger sets
are read again in each epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Data, Preparation, Prepared, Record
from interop.errors import DataError
from interop.facts import Json

MEMORY = 2 << 30  # bytes of a data set that are held
_READ = 64
Say = Callable[[str], None]


class Samples:
    """A data set's samples by their number; `records` have no `raw` but where it is held.

    `kept` tells that the prepared inputs are in memory.
    """

    def __init__(
        self,
        records: Sequence[Record],
        prepare: Preparation | None,
        *,
        arrays: dict[str, Array] | None = None,
        data: Data | None = None,
    ) -> None:
        self.records, self.prepare, self.data = tuple(records), prepare, data
        self._arrays = arrays

    @classmethod
    def read(cls, data: Data, prepare: Preparation, say: Say, memory: int = MEMORY) -> Samples:
        """Goes over all of `data` once. Raises DataError for what cannot be read or prepared."""
        count = len(data)
        first = next(iter(data.records([0])))
        fits = _size(data.kind, prepare, first) * count <= memory
        arrays: dict[str, Array] | None = None
        records: list[Record] = []
        for chunk in _chunks(data, min(_READ, prepare.most or _READ)):
            if data.kind == "pictures" and fits and prepare.most is None:
                inputs = prepare(chunk).inputs
                arrays = arrays or {n: np.empty((count, *a.shape[1:]), a.dtype)
                                    for n, a in inputs.items()}  # fmt: skip
                _put(arrays, inputs, len(records), chunk)
            bare = not fits or arrays is not None
            records += [replace(r, raw=None) for r in chunk] if bare else chunk
            say(f"{len(records)} of {count} samples read")
        return cls(records, prepare, arrays=arrays, data=None if fits else data)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def kept(self) -> bool:
        return self._arrays is not None

    @property
    def most(self) -> int | None:
        """How many go together; None for any number."""
        return None if self.kept or self.prepare is None else self.prepare.most

    def take(self, picks: Sequence[int] | NDArray[np.int64]) -> Prepared:
        """The samples of these numbers, prepared, in this order."""
        if self._arrays is not None:
            where = np.asarray(picks, dtype=np.int64)
            inputs = {n: a[where] for n, a in self._arrays.items()}
            own = tuple(self.records[i] for i in picks)
            return Prepared(inputs, own, tuple(range(len(own))), ({},) * len(own))
        assert self.prepare is not None
        if self.data is None:
            return self.prepare([self.records[i] for i in picks])
        order = sorted(int(i) for i in picks)
        records = dict(zip(order, self.data.records(order), strict=True))
        return self.prepare([records[int(i)] for i in picks])

    def about(self) -> dict[str, Json]:
        """The number of samples, and one hash of all of their contents in order."""
        text = "".join(f"{r.sha256} {_told(r.truth)}\n" for r in self.records)
        return {"samples": len(self), "sha256": sha256(text.encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class SplitPart:
    """Some of a data set's samples: a training set, or a validation set."""

    samples: Samples
    picks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.picks)

    @property
    def records(self) -> list[Record]:
        return [self.samples.records[i] for i in self.picks]

    def batches(self, size: int) -> list[NDArray[np.int64]]:
        """The numbers of all samples in their order, at most so many at a time."""
        return cut(self.picks, min(size, self.samples.most or size))


def cut(picks: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Parts of at most `size`, as even as may be: no last batch of one."""
    return np.array_split(picks, -(-len(picks) // size))


def whole(samples: Samples) -> SplitPart:
    return SplitPart(samples, np.arange(len(samples)))


def parted(
    samples: Samples, share: float, seed: int, *, by_class: bool
) -> tuple[SplitPart, SplitPart]:
    """A training and a validation part, drawn by `seed`; `share` of each class is held back.

    Samples with the same content stay together, so that none is trained on and validated with. Of
    a class of which the share is less than half a sample none is held back. Raises DataError where
    either part is left empty.
    """
    groups: dict[str, list[int]] = {}
    for i, record in enumerate(samples.records):
        groups.setdefault(record.sha256, []).append(i)
    strata: dict[str, list[list[int]]] = {}
    for own in groups.values():
        key = str(samples.records[own[0]].truth) if by_class else ""
        strata.setdefault(key, []).append(own)
    random = np.random.default_rng([seed, len(samples)])
    picks: list[int] = []
    for key in sorted(strata):
        of_class = strata[key]
        wanted = round(share * sum(map(len, of_class)))
        taken = 0
        for place in random.permutation(len(of_class)):
            own = of_class[int(place)]
            if taken + len(own) > wanted:
                continue
            picks += own
            taken += len(own)
    back = np.array(sorted(picks), dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(samples)), back)
    if not len(back) or not len(rest):
        what = f"of its {len(samples)} samples {len(back)} would be held back for validation"
        fix = "give more samples, another share with --validation, or a data set of its own"
        raise DataError(what, fix=fix)
    return SplitPart(samples, rest), SplitPart(samples, back)


def shared(training: SplitPart, validation: SplitPart) -> int:
    """How many samples of the validation are in the training too, by their content."""
    seen = {r.sha256 for r in training.records}
    return sum(r.sha256 in seen for r in validation.records)


def commonest(part: SplitPart) -> tuple[object, float]:
    """The truth that most samples have, and their share."""
    truth, count = Counter(r.truth for r in part.records).most_common(1)[0]
    return truth, count / len(part)


def _size(kind: str, prepare: Preparation, first: Record) -> int:
    """Bytes that one sample takes while it is held."""
    if kind == "pictures":
        # Pictures of many shapes are held as they are stored, decoded.
        return sum(a.nbytes for a in prepare([first]).inputs.values())
    if kind == "sounds":
        return int(first.raw.samples.nbytes) * 2
    return 1  # texts and arrays are in memory as they are


def _chunks(data: Data, size: int) -> Iterator[list[Record]]:
    records: list[Record] = []
    for record in data.records():
        records.append(record)
        if len(records) == size:
            yield records
            records = []
    if records:
        yield records


def _put(arrays: dict[str, Array], inputs: object, start: int, records: Sequence[Record]) -> None:
    assert isinstance(inputs, dict)
    for name, array in inputs.items():
        if array.shape[1:] != arrays[name].shape[1:]:
            what = f"becomes {array.shape[1:]} where others become {arrays[name].shape[1:]}"
            fix = "resize to a height and a width, or add a crop to the preprocessing"
            raise DataError(what, where=records[0].name, fix=fix)
        arrays[name][start : start + len(array)] = array


def _told(truth: object) -> str:
    return truth.tobytes().hex() if isinstance(truth, np.ndarray) else str(truth)
