"""CKA against its definition and public implementations; the k-NN probe where truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from interop.assess.similarity import knn_accuracy, linear_cka
from interop.errors import DataError
from tests.assess import cases

SEED = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)
PUBLIC = {
    False: ("google, features, biased", "google, Gram, biased"),
    True: ("google, features, debiased", "google, Gram, debiased", "torch_cka, debiased"),
}


def check(x: Any, y: Any, known: dict[str, float]) -> None:
    digits = 1e-5 if x.dtype == np.float32 else 1e-8
    for debiased, exact in ((False, "biased"), (True, "debiased")):
        found = linear_cka(x, y, debiased=debiased)
        assert found == pytest.approx(known[exact], rel=1e-8)
        for public in PUBLIC[debiased]:
            assert found == pytest.approx(known[public], rel=digits)


@pytest.mark.parametrize("name", cases.PAIRS)
def test_cka_of_pairs(name: str) -> None:
    """All agree on each of the two forms; which form a library means by CKA differs (torch_cka has
    the debiased one alone, averaged over batches), and for wide features it is the answer: K04 is
    of unrelated ones."""
    x, y = cases.pair(name)
    check(x, y, cases.VECTORS["pairs"][name]["cka"])
    if name.startswith("K04"):
        assert linear_cka(x, y, debiased=False) > 0.7 and linear_cka(x, y) < 0


@pytest.mark.parametrize("name", cases.FEATURES)
def test_cka_with_the_labels(name: str) -> None:
    x, y = cases.features(name)
    check(x, np.eye(y.max() + 1, dtype=x.dtype)[y], cases.VECTORS["features"][name]["onehot"])


def song(k: Any, m: Any) -> float:
    """The unbiased HSIC of Song et al. (2012), equation 5, of two Gram matrices."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    ones = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return float(np.trace(k @ m) + ones - 2 / (n - 2) * k.sum(axis=0) @ m.sum(axis=0))


@few
@given(SEED, st.integers(5, 30), st.integers(1, 40), st.integers(1, 40))
def test_both_sides_of_the_computation_are_the_definition(
    seed: int, n: int, p: int, q: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * 2 + 1
    y = x @ rng.normal(size=(p, q)) + rng.normal(size=(n, q))
    k, m = x @ x.T, y @ y.T
    if min(song(k, k), song(m, m)) > 1e-3 * min((k**2).sum(), (m**2).sum()):
        expected = song(k, m) / np.sqrt(song(k, k) * song(m, m))
        assert linear_cka(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    h = np.eye(n) - 1 / n
    k, m = h @ k @ h, h @ m @ h
    expected = (k * m).sum() / np.sqrt((k**2).sum() * (m**2).sum())
    assert linear_cka(x, y, debiased=False) == pytest.approx(expected, rel=1e-8)


@few
@given(SEED, st.integers(10, 40), st.integers(2, 60), st.booleans())
def test_rotation_scale_and_shift_change_nothing(seed: int, n: int, d: int, debiased: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, 7))
    found = linear_cka(x, y, debiased)
    turned = 3.5 * x @ ortho_group.rvs(d, random_state=rng) - 2
    assert linear_cka(turned, y, debiased) == pytest.approx(found, rel=1e-6, abs=1e-9)
    assert linear_cka(y, x, debiased) == pytest.approx(found, rel=1e-9, abs=1e-12)
    assert linear_cka(x, turned, debiased) == pytest.approx(1, rel=1e-9)
    bent = x * np.exp(rng.uniform(-2, 2, d))  # no rotation
    assert linear_cka(x, bent, debiased) < 1 - 1e-6


def test_unrelated_wide_features_are_alike_only_by_the_biased_form() -> None:
    rng = np.random.default_rng(0)
    drawn = [(rng.normal(size=(24, 200)), rng.normal(size=(24, 150))) for _ in range(60)]
    assert abs(np.mean([linear_cka(x, y) for x, y in drawn])) < 0.05
    assert np.mean([linear_cka(x, y, debiased=False) for x, y in drawn]) > 0.8


def test_wide_features_are_not_squared() -> None:
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(40, 5000))
    tracemalloc.start()
    linear_cka(x, x[:, ::-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000**2 * 8 / 2


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.eye(5), np.eye(6), "CKA of 5 and 6"),
        (np.eye(3), np.eye(3), "CKA of 3 and 3"),
        (np.eye(5), np.full((5, 3), 1e6 / 3), "same for all"),
        (np.eye(5), np.full((5, 3), np.nan), "not finite"),
        # As far apart from one another as can be: no two of them alike, and nothing to compare.
        (np.eye(5), np.random.default_rng(0).normal(size=(5, 2)), "too few samples"),
    ],
)
def test_where_cka_is_not_defined_it_says_so(x: Any, y: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        linear_cka(x, y)


# ---------------------------------------------------------------- k-NN


def test_the_probe_tells_directions_and_not_lengths() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (np.eye(3)[y] + 0.02 * rng.normal(size=(90, 3))) * np.exp(rng.uniform(-4, 4, (90, 1)))
    assert knn_accuracy(x, y).tolist() == [1.0] * 5
    noise = knn_accuracy(rng.normal(size=(90, 3)), y)
    assert 0.1 < noise.mean() < 0.6 and len(set(noise)) > 1


def test_the_probes_folds_are_those_that_are_given() -> None:
    # By hand: 2 is nearest to 0 and 3 to 1, but the second pair has the other's label.
    x = np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]])
    train, test = np.array([0, 1]), np.array([2, 3])
    assert knn_accuracy(x, ["a", "b", "a", "b"], k=1, folds=[(train, test)]).tolist() == [1.0]
    assert knn_accuracy(x, ["a", "b", "b", "b"], k=1, folds=[(train, test)]).tolist() == [0.5]
    assert knn_accuracy(x, ["a", "b", "b", "a"], k=1, folds=[(train, test)]).tolist() == [0.0]


def test_the_probe_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    x[:, 0] += y
    train, test = np.arange(40), np.arange(40, 60)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = np.argsort(-(unit[test] @ unit[train].T), axis=1)[:, :7]
    right = np.mean([np.bincount(y[train][row]).argmax() for row in near] == y[test])
    assert knn_accuracy(x, y, k=7, folds=[(train, test)])[0] == pytest.approx(right)


@pytest.mark.parametrize(
    ("k", "folds", "said"),
    [(5, 4, "4 folds, and a class has 3"), (9, 3, "for 9 neighbours"), (0, 3, "for 0 neighbours")],
)
def test_folds_that_cannot_be_are_said(k: int, folds: int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        knn_accuracy(np.random.default_rng(0).normal(size=(7, 2)), [0, 0, 0, 1, 1, 1, 0], k, folds)
