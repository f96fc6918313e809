"""Which rows train and which test."""

from __future__ import annotations

import numpy as np
import pytest

from interop.assess.dataset import DataSpec, Labelled
from interop.assess.folds import folds
from interop.errors import ConfigError, DataError


def labelled(truth, group=None, record=None, labels=("a", "b"), task="image-classification"):
    truth = np.asarray(truth)
    record = np.arange(len(truth)) if record is None else np.asarray(record)
    count = int(record.max()) + 1
    group = np.arange(count) if group is None else np.asarray(group)
    names = tuple(f"r{i}" for i in range(count))
    spec = DataSpec("d", task, tuple(labels))
    return Labelled(spec, "pictures", names, names, names, truth, record, group, "", {})


def test_classes_are_spread_and_every_row_is_tested_once_a_repeat():
    of = labelled([0] * 30 + [1] * 10)
    plan = folds(of, 5, 2, 0.2)
    assert len(plan.held) == 8 and np.bincount(of.truth[plan.held]).tolist() == [6, 2]
    for repeat in (0, 1):
        own = [f for f in plan.folds if f.repeat == repeat]
        tested = np.sort(np.concatenate([f.test for f in own]))
        assert tested.tolist() == plan.rest.tolist()
        assert not set(tested) & set(plan.held)
        for fold in own:
            assert not set(fold.train) & set(fold.test)
            assert np.bincount(of.truth[fold.test], minlength=2)[1] in (1, 2)
    assert plan.folds[0].test.tolist() != plan.folds[5].test.tolist()
    assert plan.test_over_train == pytest.approx(0.25, abs=0.02)


def test_no_group_is_on_both_sides():
    rng = np.random.default_rng(0)
    of = labelled(rng.integers(0, 2, 200), group=rng.integers(0, 20, 200))
    plan = folds(of, 4, 1, 0.2)
    for train, test in [(f.train, f.test) for f in plan.folds] + [(plan.rest, plan.held)]:
        assert not set(of.group[train]) & set(of.group[test])
    plain = folds(labelled(of.truth), 4, 1, 0.2)
    torn = [set(of.group[f.train]) & set(of.group[f.test]) for f in plain.folds]
    assert any(torn), "without groups, some are torn: the test above can fail"


def test_the_words_of_a_text_stay_together():
    record = np.repeat(np.arange(20), 5)
    of = labelled(np.tile([0, 1, 0, 0, 1], 20), record=record, task="token-classification")
    for fold in folds(of, 4, 1, 0.0).folds:
        assert not set(record[fold.train]) & set(record[fold.test])


def test_a_regression_needs_no_classes():
    of = labelled(np.linspace(0, 1, 40), labels=(), task="regression")
    plan = folds(of, 5, 1, 0.0)
    assert len(plan.held) == 0 and plan.how == "at random" and len(plan.rest) == 40


def test_the_same_seed_gives_the_same_folds():
    of = labelled([0, 1] * 30)
    one, two, other = (folds(of, 3, 1, 0.2, seed) for seed in (1, 1, 2))
    assert [f.test.tolist() for f in one.folds] == [f.test.tolist() for f in two.folds]
    assert [f.test.tolist() for f in one.folds] != [f.test.tolist() for f in other.folds]


def test_what_makes_no_folds_is_refused():
    with pytest.raises(DataError, match="class 'b' has 2 samples"):
        folds(labelled([0] * 30 + [1] * 2), 5, 1, 0.0)
    with pytest.raises(DataError, match="3 groups"):
        folds(labelled([0, 1] * 15, group=np.arange(30) % 3), 5, 1, 0.0)
    with pytest.raises(ConfigError):
        folds(labelled([0, 1] * 30), 1, 1, 0.0)
