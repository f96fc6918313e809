"""Samples in any order, and parts that share nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interop.data import open_data, preparation
from interop.data.base import Record
from interop.errors import DataError
from interop.finetune.samples import Samples, commonest, cut, parted, shared, whole
from interop.identity import identify_file


def records(truths: list[int], same: tuple[int, ...] = ()) -> Samples:
    """Samples without content; those of `same` are copies of one another."""
    made = [Record(str(i), "copy" if i in same else str(i), None, t) for i, t in enumerate(truths)]
    return Samples(made, None, arrays={"input": np.arange(len(truths))[:, None]})


def test_each_class_is_held_back_by_its_share() -> None:
    training, validation = parted(records([0] * 50 + [1] * 10), 0.2, 0, by_class=True)
    assert len(training) == 48
    assert [sum(r.truth == c for r in validation.records) for c in (0, 1)] == [10, 2]
    assert not set(training.picks) & set(validation.picks)
    again, _ = parted(records([0] * 50 + [1] * 10), 0.2, 0, by_class=True)
    other, _ = parted(records([0] * 50 + [1] * 10), 0.2, 1, by_class=True)
    assert list(again.picks) == list(training.picks) != list(other.picks)


def test_copies_of_one_sample_stay_together() -> None:
    same = tuple(range(0, 40, 4))
    for seed in range(20):
        training, validation = parted(records([0] * 40, same), 0.3, seed, by_class=True)
        assert shared(training, validation) == 0
        held = [i for i in same if i in set(validation.picks)]
        assert len(held) in (0, len(same))
    # Drawn without regard to content they would be on both sides.
    assert shared(whole(records([0, 0], (0, 1))), whole(records([0, 0], (0, 1)))) == 2


def test_nothing_held_back_is_refused() -> None:
    with pytest.raises(DataError, match="0 would be held back"):
        parted(records([0, 1, 2]), 0.2, 0, by_class=True)


def test_batches_are_even() -> None:
    assert [len(p) for p in cut(np.arange(33), 32)] == [17, 16]
    assert [len(p) for p in cut(np.arange(64), 32)] == [32, 32]


def test_the_commonest_truth() -> None:
    assert commonest(whole(records([1, 1, 0]))) == (1, pytest.approx(2 / 3))


def test_what_is_read_anew_is_what_is_held(digits: Path) -> None:
    identity = identify_file(digits / "shufflenet.pth")
    data = open_data(digits / "heldout", "image-classification", identity.labels.names)
    prepare = preparation(identity, "image-classification", ("input",))
    held = Samples.read(data, prepare, lambda _: None)
    anew = Samples.read(data, prepare, lambda _: None, memory=1)
    assert held.kept and not anew.kept and anew.data is not None
    picks = [200, 3, 77]
    a, b = held.take(picks), anew.take(picks)
    assert np.array_equal(a.inputs["input"], b.inputs["input"])
    assert [r.truth for r in a.records] == [r.truth for r in b.records]
    assert [r.name for r in a.records] == [r.name for r in b.records]
    assert held.about() == anew.about()
