"""Linear probes: what they learn, what they must not, and that they are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from interop.assess import probes


def made(count=120, width=6, classes=3, apart=3.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    centres = rng.normal(0, apart, (classes, width))
    return (centres[truth] + rng.normal(0, 1, (count, width))).astype(np.float32), truth


def run(x, y, classes, group=None, seed=0):
    train, test = np.arange(0, len(y) * 2 // 3), np.arange(len(y) * 2 // 3, len(y))
    group = np.arange(len(y)) if group is None else group
    return probes.probe(x, y, classes, group, train, test, seed), train, test


def test_it_answers_what_is_apart_and_guesses_what_is_not():
    x, y = made()
    found, _, test = run(x, y, 3)
    assert (found["answers"] == y[test]).mean() > 0.9
    shuffled = np.random.default_rng(1).permutation(y)
    found, _, test = run(x, shuffled, 3)
    assert (found["answers"] == shuffled[test]).mean() < 0.65


def test_scale_and_shift_of_features_change_nothing():
    x, y = made()
    plain = run(x, y, 3)[0]
    moved = run(x * 1e3 + 5, y, 3)[0]
    assert (plain["answers"] == moved["answers"]).all()
    assert plain["strength"] == moved["strength"]


def test_the_strength_is_chosen_on_training_rows_alone():
    x, y = made(apart=0.6)
    found, _, test = run(x, y, 3)
    other = x.copy()
    other[test] = 0
    truth = y.copy()
    truth[test] = 0
    again = run(other, truth, 3)[0]
    assert again["strength"] == found["strength"] in probes.STRENGTHS


def test_the_probabilities_are_scikit_learns():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x, y = made()
    found, train, test = run(x, y, 3)
    scaler = StandardScaler().fit(x[train].astype(np.float64))
    width = np.sqrt(x.shape[1])
    model = LogisticRegression(C=float(found["strength"]) * 1000, max_iter=300)
    model.fit(scaler.transform(x[train]) / width, y[train])
    theirs = model.predict_log_proba(scaler.transform(x[test]) / width)
    np.testing.assert_allclose(np.exp(found["sure"]), np.exp(theirs), atol=1e-4)


def test_more_features_than_rows_are_fitted_in_the_rows_span(monkeypatch):
    x, y = made(count=60, width=300, apart=0.35)
    short = run(x, y, 3)[0]
    monkeypatch.setattr(np.linalg, "qr", lambda a: (np.eye(len(a)), None))
    whole = run(x, y, 3)[0]
    assert short["strength"] == whole["strength"]
    np.testing.assert_allclose(np.exp(short["sure"]), np.exp(whole["sure"]), atol=5e-3)


def test_a_class_that_training_lacks_is_never_answered():
    x, y = made()
    y[:80][y[:80] == 2] = 0
    found, _, _ = run(x, y, 3)
    assert set(found["answers"]) <= {0, 1} and np.isneginf(found["sure"][:, 2]).all()
    found, _, test = run(x, np.zeros_like(y), 3)
    assert (found["answers"] == 0).all() and len(found["answers"]) == len(test)


def test_numbers_are_fitted_by_ridge():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 5)).astype(np.float32)
    y = x @ np.array([1.0, -2, 0, 0, 3]) + 7
    found, _, test = run(x, y, 0)
    assert np.abs(found["answers"] - y[test]).max() < 0.3 and "sure" not in found


def test_few_rows_of_each_class_are_drawn_or_none():
    truth = np.array([0] * 10 + [1] * 4)
    train = np.arange(14)
    picked = probes.some_of_each(truth, train, 3, 0)
    assert np.bincount(truth[picked]).tolist() == [3, 3] and (np.diff(picked) > 0).all()
    assert probes.some_of_each(truth, train, 5, 0) is None
    assert probes.some_of_each(truth, train, 3, 1).tolist() != picked.tolist()


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_same_each_time(seed):
    x, y = made(apart=0.7)
    assert (run(x, y, 3, seed=seed)[0]["sure"] == run(x, y, 3, seed=seed)[0]["sure"]).all()
