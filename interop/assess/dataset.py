"""A data set's path -> what is right of each record, without the records themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data import open_data
from interop.data.base import Data, Record
from interop.data.class_names import CLASSIFIED, class_names
from interop.data.columns import TableData
from interop.errors import ConfigError, DataError
from interop.facts import Json, TaskName
from interop.identity.describe import dataset_hash

TASKS = (*CLASSIFIED, TaskName.REGRESSION, TaskName.SPEECH_RECOGNITION)
# Columns that say which records belong together: one person's, one document's.
GROUPS = ("group", "subject", "patient", "speaker", "user", "document", "session")


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A data set as a person named it; small, so that it goes to other processes.

    `group` is a table's column, or a pattern whose first group is taken from a record's name.
    """

    path: str
    task: str
    labels: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    opened: Data | None = field(default=None, compare=False, repr=False)

    def open(self) -> Data:
        return self.opened or open_data(
            self.path, self.task, self.labels, columns=self.columns, split=self.split
        )

    def closed(self) -> DataSpec:
        """The same to be opened anew, by another process."""
        return replace(self, opened=None)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is right: a row is what one figure is of, a record or, of tagged texts, a word.

    `truth` (rows,) holds class numbers int64, or float64 numbers of a regression; of speech it is
    None. `record` (rows,) is the record of each row, `group` (records,) says which belong together.
    """

    spec: DataSpec
    kind: str
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    truths: tuple[Any, ...]
    truth: NDArray[Any] | None
    record: NDArray[np.int64]
    group: NDArray[np.int64]
    grouped_by: str
    about: Mapping[str, Json]

    @property
    def labels(self) -> tuple[str, ...]:
        return self.spec.labels

    @property
    def classifies(self) -> bool:
        return self.spec.task in CLASSIFIED

    @property
    def sha256(self) -> str:
        return dataset_hash(self.hashes)


def labelled(spec: DataSpec) -> Labelled:
    """One pass over the data set. Raises DataError, ConfigError."""
    if spec.task not in TASKS:
        what = f"{spec.task} is no task that models are assessed on"
        raise ConfigError(what, fix=f"there is {', '.join(TASKS)}")
    if not spec.labels and spec.task in CLASSIFIED:
        labels = class_names(spec.path, spec.task, columns=spec.columns, split=spec.split)
        spec = replace(spec, labels=labels)
    data = spec.open()
    spec = replace(spec, opened=data)
    names, hashes, truths = [], [], []
    for record in data.records():
        names.append(record.name)
        hashes.append(record.sha256)
        truths.append(_truth(record, spec))
    truth, rows = _rows(spec, truths)
    group, by = _groups(spec, data, names, hashes)
    return Labelled(
        spec, data.kind, tuple(names), tuple(hashes), tuple(truths), truth, rows, group, by,
        {**data.about(), "sha256": dataset_hash(hashes)},
    )  # fmt: skip


def _truth(record: Record, spec: DataSpec) -> Any:
    if record.truth is None:
        raise DataError("has no label", where=record.name, fix="assess needs a labelled data set")
    if spec.task == TaskName.REGRESSION and np.ndim(record.truth):
        raise DataError("has several targets", where=record.name, fix="assess them one by one")
    return record.truth


def _rows(spec: DataSpec, truths: Sequence[Any]) -> tuple[NDArray[Any] | None, NDArray[np.int64]]:
    places = np.arange(len(truths))
    if spec.task == TaskName.TOKEN_CLASSIFICATION:
        number = {name: i for i, name in enumerate(spec.labels)}
        flat = np.array([number[tag] for tags in truths for tag in tags], dtype=np.int64)
        return flat, np.repeat(places, [len(tags) for tags in truths])
    if spec.task == TaskName.SPEECH_RECOGNITION:
        return None, places
    return np.array(truths, dtype=np.int64 if spec.task in CLASSIFIED else np.float64), places


def _groups(
    spec: DataSpec, data: Data, names: Sequence[str], hashes: Sequence[str]
) -> tuple[NDArray[np.int64], str]:
    """Which records go together, and what says so.

    Records of the same bytes always do: one in training would answer for the other in the test.
    """
    keys, by = _stated_groups(spec, data, names)
    joined: dict[str, int] = {}
    numbers = []
    for place, digest in enumerate(hashes):
        key = str(keys[place]) if keys is not None else digest
        numbers.append(joined.setdefault(key, len(joined)))
    group = np.array(numbers, dtype=np.int64)
    if keys is None:
        twice = len(hashes) - len(joined)
        return group, f"{twice} records are another's very bytes" if twice else ""
    return _merged(group, hashes), by


def _stated_groups(
    spec: DataSpec, data: Data, names: Sequence[str]
) -> tuple[Sequence[object] | None, str]:
    if isinstance(data, TableData):
        there = {c.lower(): c for c in data.table.columns}
        column = spec.group or next((there[g] for g in GROUPS if g in there), None)
        if column is None:
            return None, ""
        if column not in data.table.columns:
            raise ConfigError(f"has no column {column!r}", where=spec.path, fix="--group COLUMN")
        return [row.get(column) for _, row in data.table.rows(only=[column])], f"column {column}"
    if spec.group:
        try:
            pattern = re.compile(spec.group)
        except re.error as error:
            raise ConfigError(f"{spec.group!r} is no pattern ({error})", where="--group") from None
        keys = [m.group(1) if (m := pattern.search(n)) and m.groups() else None for n in names]
        if None in keys:
            what = f"{names[keys.index(None)]} has no group by {spec.group!r}"
            fix = "give a pattern whose first (…) is found in every sample's name"
            raise ConfigError(what, where="--group", fix=fix)
        return keys, f"pattern {spec.group}"
    parts = [Path(n).parts for n in names]
    if parts and min(map(len, parts)) > 2:  # class/speaker/sample.wav
        return [p[1] for p in parts], "the folder within each class"
    return None, ""


def _merged(group: NDArray[np.int64], hashes: Sequence[str]) -> NDArray[np.int64]:
    """Groups that share a record of the same bytes, as one."""
    top = list(range(int(group.max(initial=0)) + 1))

    def root(i: int) -> int:
        while top[i] != i:
            i = top[i]
        return i

    first: dict[str, int] = {}
    for own, digest in zip(group.tolist(), hashes, strict=True):
        top[root(own)] = root(first.setdefault(digest, own))
    return np.array([root(g) for g in group.tolist()], dtype=np.int64)
