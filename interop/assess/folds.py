"""What is right of each record -> which rows train and which test, the same for all candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.assess.dataset import Labelled
from interop.errors import ConfigError, DataError
from interop.facts import TaskName

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to train on and rows to test on, of one fold of one repeat; both ascending."""

    repeat: int
    number: int
    train: Rows
    test: Rows


@dataclass(frozen=True, slots=True)
class Folds:
    """All folds; `held` are rows that none of them has: the test set, touched once."""

    folds: tuple[Fold, ...]
    held: Rows
    how: str

    @property
    def rest(self) -> Rows:
        """The rows of all folds together."""
        return np.sort(np.concatenate([f.test for f in self.folds if f.repeat == 0]))

    @property
    def test_over_train(self) -> float:
        """Rows of a test part for one of training, for the corrected variance."""
        return float(np.mean([len(f.test) / len(f.train) for f in self.folds]))


def folds(of: Labelled, count: int, repeats: int, held: float, seed: int = 0) -> Folds:
    """Stratified by class where there are classes; no group is on both sides of a fold.

    `held` is the share of records that is kept for the test set. Raises ConfigError for numbers
    that make no folds, DataError where a class has too few records, or there are too few groups.
    """
    if count < 2 or repeats < 1 or not 0 <= held < 0.9:
        raise ConfigError(f"{count} folds, {repeats} times", fix="give 2 folds or more, once")
    assert of.truth is not None
    group = of.group[of.record]
    grouped = len(np.unique(of.group)) < len(of.group) or len(of.record) > len(of.names)
    _check(of, count, grouped)
    every: Rows = np.arange(len(of.truth))
    rest, kept = every, every[:0]
    if held:
        rest, kept = next(_split(of, every, group, max(round(1 / held), 2), seed + 1000, grouped))
    cuts = [(r, _split(of, rest, group, count, seed + r, grouped)) for r in range(repeats)]
    splits = [Fold(repeat, n, *rows) for repeat, cut in cuts for n, rows in enumerate(cut)]
    ways = ["stratified by class"] if of.classifies else []
    if grouped:
        ways.append(f"by group ({of.grouped_by or 'the words of a text go together'})")
    return Folds(tuple(splits), kept, ", ".join(ways) or "at random")


def _check(of: Labelled, count: int, grouped: bool) -> None:
    assert of.truth is not None
    if of.classifies:
        least = int(np.bincount(of.truth, minlength=len(of.labels)).min())
        if least < count and of.spec.task != TaskName.TOKEN_CLASSIFICATION:
            name = of.labels[int(np.bincount(of.truth, minlength=len(of.labels)).argmin())]
            what = f"the class {name!r} has {least} samples, which {count} folds cannot share"
            fix = "give more samples, or fewer folds with --folds"
            raise DataError(what, where=of.spec.path, fix=fix)
    groups = len(np.unique(of.group))
    if groups < count:
        what = f"has {groups} groups, which {count} folds cannot share"
        raise DataError(what, where=of.spec.path, fix="give fewer folds with --folds")


def _split(
    of: Labelled, rows: Rows, group: Rows, parts: int, seed: int, grouped: bool
) -> Iterator[tuple[Rows, Rows]]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    assert of.truth is not None
    options = {"shuffle": True, "random_state": seed}
    plain, by_group = KFold, GroupKFold
    if of.classifies:
        plain, by_group = StratifiedKFold, StratifiedGroupKFold
    splitter = (by_group if grouped else plain)(parts, **options)
    for train, test in splitter.split(rows, of.truth[rows], group[rows] if grouped else None):
        yield rows[np.sort(train)], rows[np.sort(test)]
