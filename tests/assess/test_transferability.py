"""The scores against their definitions, independent computations and public implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, ortho_group

from interop.assess import transferability as scores
from interop.errors import DataError
from tests.assess import cases

SEED = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def references(name: str, score: str) -> dict[str, Any]:
    return cases.VECTORS["features"][name]["scores"][score]


def drawn(seed: int, n: int, d: int, classes: int = 3) -> tuple[Any, Any]:
    """Features that tell something of the classes, each of which occurs."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(classes, d))[y] + rng.normal(size=(n, d)), y


def evidence(x: Any, t: Any, alpha: float, beta: float) -> float:
    """log N(t; 0, I / beta + X X' / alpha), from the dense covariance."""
    covariance = np.eye(len(t)) / beta + x @ x.T / alpha
    return float(multivariate_normal(cov=covariance).logpdf(t))


def brute_force(x: Any, t: Any) -> float:
    """The greatest evidence by a general optimiser over both unknowns, from several starts."""
    values, vectors = np.linalg.eigh(x @ x.T)
    values, squares = np.clip(values, 0, None), (vectors.T @ t) ** 2

    def loss(at: Any) -> float:
        alpha, beta = np.exp(np.clip(at, -25, 25))
        variances = 1 / beta + values / alpha
        return float((np.log(2 * np.pi * variances) + squares / variances).sum() / 2)

    assert loss((0.3, -0.7)) == pytest.approx(-evidence(x, t, np.exp(0.3), np.exp(-0.7)), rel=1e-8)
    starts = [(a, b) for a in (-4, 0, 4, 12) for b in (-1, 1, 4)]
    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
    return -min(minimize(loss, s, method="Nelder-Mead", options=options).fun for s in starts)


# ---------------------------------------------------------------- LogME


@pytest.mark.parametrize("name", cases.FEATURES)
def test_logme_is_the_maximum_of_the_evidence(name: str) -> None:
    """Public code stops its iterations early, and adds 1e-5 (thuml's icml) or drops a constant
    (pactran's 0.5 log 2 pi): all are near the exact maximum, and none is above it but by rounding,
    where N > D and no column is zero. In F15 a class number is absent: only flair's mean is over
    the classes that are there."""
    x, y = cases.features(name)
    known = references(name, "logme")
    found = scores.logme(x, y)
    assert found == pytest.approx(known["exact"], abs=1e-6)
    if name.startswith("F15"):
        assert found == pytest.approx(known["flair"], abs=1e-6)
        assert known["thuml fixed point"] - found > 1.5 and known["tllib"] is None
        return
    for public in ("thuml icml", "tllib"):
        assert found == pytest.approx(known[public], abs=5e-3)
        assert known[public] < found + 1e-7
    if name.startswith(("F01", "F02", "F14")):
        # The authors' fixed point has converged there.
        assert found == pytest.approx(known["thuml fixed point"], rel=1e-8)


@pytest.mark.parametrize(
    "name", ["F05_more_features_than_samples_2c", "F16_F08_with_columns_rolled"]
)
def test_where_the_fixed_point_loses_directions_the_optimiser_sides_with_us(name: str) -> None:
    """thuml's fixed point leaves the singular values that are 0 out of its determinant: 1.31 for
    N < D, and a value that goes by the order of the columns where one is all zero."""
    x, y = cases.features(name)
    best = np.mean([brute_force(x, (y == c).astype(float)) for c in np.unique(y)]) / len(x)
    assert scores.logme(x, y) == pytest.approx(best, abs=1e-6)
    assert references(name, "logme")["thuml fixed point"] - best > 0.02


def test_a_column_of_zeros_and_the_order_of_columns_change_nothing() -> None:
    x, y = cases.features("F08_one_all_zero_feature")
    rolled, _ = cases.features("F16_F08_with_columns_rolled")
    assert scores.logme(x, y) == pytest.approx(scores.logme(rolled, y), abs=1e-12)
    assert scores.logme(np.delete(x, 3, axis=1), y) == pytest.approx(scores.logme(x, y), abs=1e-12)


@settings(max_examples=8, deadline=None)
@given(SEED, st.integers(5, 9), st.integers(1, 12))
def test_logme_is_what_brute_force_finds(seed: int, n: int, d: int) -> None:
    # Noise well above the fit's error: the optimiser is not to run after a maximum at infinity.
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(n, d)), rng.normal(size=n) + 3
    x /= np.sqrt(d)
    if d >= n - 1:
        x[1] = x[0]  # two samples that features cannot tell apart
        x[3] = x[2]
    found = scores.logme_regression(x, t)
    assert found == pytest.approx(brute_force(x, t) / n, abs=2e-6)


@few
@given(SEED, st.integers(4, 12), st.integers(1, 14), st.floats(-8, 8), st.floats(-8, 8))
def test_no_prior_and_noise_have_more_evidence(
    seed: int, n: int, d: int, alpha: float, beta: float
) -> None:
    x, y = drawn(seed, n, d, 2)
    got = [evidence(x, (y == c).astype(float), np.exp(alpha), np.exp(beta)) for c in (0, 1)]
    assert np.mean(got) / n <= scores.logme(x, y) + 1e-9


def test_features_that_tell_nothing_leave_the_evidence_of_noise_alone() -> None:
    # alpha -> infinity: N(t; 0, I mean(t ** 2)), and a half of the labels are 1.
    y = np.arange(12) % 2
    alone = -0.5 * (np.log(2 * np.pi * 0.5) + 1)
    assert scores.logme(np.zeros((12, 3)), y) == pytest.approx(alone, abs=1e-12)
    x = np.random.default_rng(0).normal(size=(12, 3))
    t = (y == 0).astype(float)
    x -= np.outer(t, t @ x) / (t @ t)  # orthogonal to one indicator, and of no use to it
    x -= np.outer(1 - t, (1 - t) @ x) / (t @ t)
    assert scores.logme(x, y) == pytest.approx(alone, abs=1e-12)


def test_a_perfect_fit_is_unbounded_where_a_sample_is_left_over_and_finite_where_none_is() -> None:
    y = np.arange(10) % 2
    x = np.eye(2)[y] @ np.array([[1.0, 2.0], [3.0, -1.0]])
    assert scores.logme(x, y) == np.inf
    assert np.isfinite(scores.logme(x + 1e-3 * np.random.default_rng(0).normal(size=x.shape), y))
    wide = np.diag(np.arange(1.0, 7.0))  # as many directions as samples: t ~ N(0, X X' / alpha)
    t = np.array([1.0, 2, 3, 4, 5, 6.5])
    limit = -3 * (np.log(2 * np.pi * np.mean((t / wide.diagonal()) ** 2)) + 1)
    limit -= np.log(wide.diagonal()).sum()
    assert scores.logme_regression(wide, t) == pytest.approx(limit / 6, abs=1e-7)


def test_logme_of_an_indicator_as_a_target_is_that_of_the_class() -> None:
    x, y = cases.features("F03_balanced_10c")
    onehot = np.eye(10)[y]
    assert scores.logme_regression(x, onehot) == pytest.approx(scores.logme(x, y), abs=1e-9)
    one = [scores.logme_regression(x, t) for t in onehot.T]
    assert np.mean(one) == pytest.approx(scores.logme(x, y), abs=1e-9) and len(set(one)) > 1


# ---------------------------------------------------------------- LEEP, NCE, NLEEP


@pytest.mark.parametrize("name", cases.PROBABILITIES)
def test_leep(name: str) -> None:
    """pactran's is minus LEEP; with a source class of no mass (P09) thuml, tllib and parc give NaN,
    where the limit leaves that class out. P11 is float32, of which public code keeps 7 digits."""
    p, y = cases.probabilities(name)
    known = cases.VECTORS["probabilities"][name]["scores"]["leep"]
    found = scores.leep(p, y)
    assert found == pytest.approx(known["exact"], rel=1e-8) and found < 0
    assert found == pytest.approx(-known["pactran, negated"], rel=1e-6)
    for public in ("thuml", "tllib", "parc"):
        if name.startswith("P09"):
            assert known[public] is None
        else:
            assert found == pytest.approx(known[public], rel=1e-6 if "P11" in name else 1e-8)


@pytest.mark.parametrize("name", cases.PROBABILITIES)
def test_nce(name: str) -> None:
    """parc adds 1e-5 to each cell of the joint counts without renormalising, pactran takes soft
    probabilities, which is another quantity."""
    p, y = cases.probabilities(name)
    case = cases.VECTORS["probabilities"][name]
    known = case["scores"]["nce"]
    found = scores.nce(p.argmax(axis=1), y)
    for of in ("exact", "thuml", "tllib"):
        assert found == pytest.approx(known[of], rel=1e-8, abs=1e-12)
    assert case["minus_entropy"] - 1e-9 <= found <= 0
    assert found - known["parc"] > 1e-5


@few
@given(SEED, st.integers(1, 9), st.integers(2, 5))
def test_one_answer_for_all_is_minus_the_entropy(seed: int, sources: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, 30)])
    share = np.bincount(y) / len(y)
    entropy = -(share * np.log(share)).sum()
    p = np.tile(rng.dirichlet(np.ones(sources)), (len(y), 1))
    assert scores.leep(p, y) == pytest.approx(-entropy, rel=1e-9)
    assert scores.nce(np.zeros(len(y)), y) == pytest.approx(-entropy, rel=1e-9)
    # Answers that are the label under another name leave nothing to say.
    assert scores.nce(-y, y) == 0 and scores.leep(np.eye(classes)[y], y) == 0


@few
@given(SEED, st.integers(2, 6))
def test_nce_is_the_mutual_information_less_the_entropy(seed: int, sources: int) -> None:
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(seed)
    y, z = rng.integers(0, 4, 50), rng.integers(0, sources, 50)
    share = np.unique(y, return_counts=True)[1] / 50
    expected = mutual_info_score(y, z) + (share * np.log(share)).sum()
    assert scores.nce(z, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", cases.FEATURES)
def test_nleep_is_leep_of_the_mixtures_responsibilities(name: str) -> None:
    """Unstable by nature: the value goes by the seed, and scikit-learn's version may change it. So
    the composition is made again here, and the stored values bound it loosely. SFDA has no log and
    is from 0 to 1, pactran's is negated: neither is NLEEP as LEEP is signed."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    x, y = cases.features(name)
    known, classes = references(name, "nleep"), len(np.unique(y))
    seen = PCA(n_components=0.8, svd_solver="full").fit_transform(x.astype(np.float64))
    for k, stored in ((classes, "a component a class"), (5 * classes, "five a class")):
        found = scores.nleep(x, y, components=k)
        p = GaussianMixture(k, random_state=0).fit(seen).predict_proba(seen)
        assert found == pytest.approx(scores.leep(p, y), abs=1e-9)
        assert found == pytest.approx(known[stored], abs=0.3) and found < 1e-9
    if known["sfda, no log"] is not None:
        assert known["sfda, no log"] > 0 and known["pactran, negated"] > 0


@pytest.mark.parametrize(("n", "classes", "components"), [(200, 4, 20), (120, 4, 12), (30, 4, 4)])
def test_nleeps_mixture_leaves_samples_to_its_components(
    n: int, classes: int, components: int
) -> None:
    x, y = drawn(1, n, 6, classes)
    by_count = {k: scores.nleep(x, y, components=k) for k in (4, 12, 20)}
    assert scores.nleep(x, y) == by_count[components] and len(set(by_count.values())) == 3


def test_nleep_tells_classes_that_lie_apart_from_none() -> None:
    apart, y = cases.features("F09_well_separated_3c")
    noise, z = cases.features("F10_random_labels_5c")
    assert (
        scores.nleep(noise, z, seed=3) == scores.nleep(noise, z, seed=3) != scores.nleep(noise, z)
    )
    assert scores.nleep(apart, y) > -1e-6 and scores.nleep(noise, z) < -1
    assert scores.nleep(np.full((60, 4), 0.1), y[:60]) == pytest.approx(np.log(1 / 3), abs=1e-9)
    with pytest.raises(DataError, match="90 samples for a mixture of 91"):
        scores.nleep(apart, y, components=91)


def test_what_half_precision_does_to_a_rows_sum_is_mended() -> None:
    p, y = cases.probabilities("P01_balanced_2c")
    off = p * np.random.default_rng(0).uniform(0.996, 1.004, (len(p), 1))
    assert scores.leep(off, y) == pytest.approx(scores.leep(p, y), rel=1e-12)
    assert scores.leep(p.astype(np.float16), y) == pytest.approx(scores.leep(p, y), rel=1e-3)


# ---------------------------------------------------------------- H-score


@pytest.mark.parametrize("name", cases.FEATURES)
def test_h_score(name: str) -> None:
    """pactran's is negated and adds 1e-6 I, parc's fast one 1e-8 to the counts. F14 is float32, of
    which a pseudo-inverse keeps 5 or 6 digits; ours is in float64 throughout."""
    x, y = cases.features(name)
    known = references(name, "h_score")
    found = scores.h_score(x, y)
    assert found == pytest.approx(known["exact"], rel=1e-8)
    digits = 1e-6 if "F14" in name else 1e-8
    assert found == pytest.approx(known["tllib"], rel=digits)
    assert found == pytest.approx(known["parc"], rel=1e-5 if "F14" in name else 1e-8)
    assert found == pytest.approx(-known["pactran, negated"], rel=1e-6)


@pytest.mark.parametrize("name", cases.FEATURES)
def test_regularized_h_score(name: str) -> None:
    """flair has pieces in float32. In F09 the score is above C - 1, by N in one covariance and
    N - 1 in the other, as the authors define it."""
    x, y = cases.features(name)
    known = references(name, "h_score_regularized")
    found = scores.regularized_h_score(x, y)
    assert found == pytest.approx(known["exact"], rel=1e-8)
    assert found == pytest.approx(known["tllib"], rel=1e-8)
    assert found == pytest.approx(known["flair"], rel=1e-6)
    assert (found > len(np.unique(y)) - 1) == name.startswith("F09")


@few
@given(SEED, st.integers(8, 30), st.integers(1, 6))
def test_the_h_score_stays_under_invertible_maps(seed: int, n: int, d: int) -> None:
    x, y = drawn(seed, n, d)
    rng = np.random.default_rng(seed)
    turn = ortho_group.rvs(d, random_state=rng) if d > 1 else np.eye(1)
    bent = x @ (turn * np.exp(rng.uniform(-3, 3, d))) + rng.normal(size=d) * 10
    found = scores.h_score(x, y)
    assert scores.h_score(bent, y) == pytest.approx(found, rel=1e-7)
    assert -1e-12 <= found <= min(d, 2) + 1e-9
    # With a column twice the span, and so the score, is the same.
    assert scores.h_score(np.column_stack([x, x[:, 0]]), y) == pytest.approx(found, rel=1e-7)


@few
@given(SEED, st.integers(6, 30), st.integers(2, 40))
def test_the_regularized_h_score_is_its_formula_and_stays_under_rotation(
    seed: int, n: int, d: int
) -> None:
    from sklearn.covariance import LedoitWolf

    x, y = drawn(seed, n, d)
    shrunk = LedoitWolf().fit(x)
    means = np.stack([x[y == c].mean(axis=0) for c in range(3)])[y]
    between = np.cov(means, rowvar=False)
    a = shrunk.shrinkage_
    found = scores.regularized_h_score(x, y)
    by_formula = (1 - a) * np.trace(np.linalg.pinv(shrunk.covariance_) @ between)
    assert found == pytest.approx(by_formula, rel=1e-7, abs=1e-9)
    turn = ortho_group.rvs(d, random_state=seed)
    assert scores.regularized_h_score(7 * x @ turn + 3, y) == pytest.approx(found, rel=1e-7)


def test_wide_features_say_nothing_by_the_h_score_and_something_once_regularised() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 3
    noise, telling = rng.normal(size=(30, 50)), np.eye(3)[y] @ rng.normal(size=(3, 50))
    assert scores.h_score(noise, y) == pytest.approx(2) == scores.h_score(noise + telling, y)
    regular = scores.regularized_h_score
    assert regular(noise + 3 * telling, y) > 5 * regular(noise, y)
    assert scores.h_score(np.ones((30, 4)), y) == 0 == regular(np.ones((30, 4)), y)


# ---------------------------------------------------------------- TransRate


@pytest.mark.parametrize("name", cases.FEATURES)
def test_transrate(name: str) -> None:
    """The definition weights a class by its share, as the authors' repository does; tllib weights
    all alike, which is another figure where classes are uneven (F02). The authors' own values are
    of normalised rows over the rank, and far smaller. With an absent class (F15) both raise."""
    x, y = cases.features(name)
    known = references(name, "transrate")
    found = scores.transrate(x, y)
    assert found == pytest.approx(known["exact"], rel=1e-8)
    uneven = name.startswith("F02")
    assert (found == pytest.approx(known["classes alike"], rel=1e-8)) is not uneven
    if known["tllib"] is None:
        assert name.startswith("F15")
    elif not uneven:
        digits = 1e-4 if "F14" in name else 1e-8
        assert found == pytest.approx(known["tllib"], rel=digits)
        rough = scores.transrate(x, y, eps=1e-1)
        assert rough == pytest.approx(known["tllib, eps 0.1"], rel=digits)


@few
@given(SEED, st.integers(6, 30), st.integers(1, 40))
def test_transrate_stays_under_rotation_and_is_not_negative(seed: int, n: int, d: int) -> None:
    x, y = drawn(seed, n, d)
    y = y[np.random.default_rng(seed).permutation(n)]
    found = scores.transrate(x, y)
    assert found > -1e-9
    turn = ortho_group.rvs(d, random_state=seed) if d > 1 else -np.eye(1)
    assert scores.transrate(x @ turn + 5, y) == pytest.approx(found, rel=1e-6, abs=1e-8)
    assert scores.transrate(3 * x, y) != pytest.approx(found, rel=1e-6)


# ---------------------------------------------------------------- PARC


@pytest.mark.parametrize("name", cases.FEATURES)
def test_parc(name: str) -> None:
    """Distances by label take two values; parc's own code makes them as correlations of one-hot
    rows, which differ in their last bit, so that ties break: by 0.73 points in F09, and by the
    order of the rows in F10. By the definition they tie."""
    x, y = cases.features(name)
    known = references(name, "parc")
    found = scores.parc(x, y)
    assert found == pytest.approx(known["exact"], rel=1e-8)
    assert found == pytest.approx(known["parc"], abs=1)
    if name.startswith(("F03", "F09", "F10")):
        assert abs(known["parc"] - found) > 0.05
    order = np.random.default_rng(0).permutation(len(y))
    assert scores.parc(x[order], y[order]) == pytest.approx(found, rel=1e-9)


@few
@given(SEED, st.integers(6, 25), st.integers(3, 8))
def test_parc_stays_under_scales_of_columns(seed: int, n: int, d: int) -> None:
    x, y = drawn(seed, n, d)
    rng = np.random.default_rng(seed)
    moved = x * np.exp(rng.uniform(-3, 3, d)) + rng.normal(size=d)
    found = scores.parc(x, y)
    # A rounding may swap two of the pairs' ranks.
    assert scores.parc(moved, y) == pytest.approx(found, abs=1e-3) and -100 <= found <= 100


def test_parc_of_many_samples_is_that_of_some_of_them() -> None:
    x, y = drawn(0, 3000, 6)
    some = scores.parc(x, y, limit=400)
    assert some == scores.parc(x, y, limit=400) != scores.parc(x, y, limit=400, seed=1)
    assert some == pytest.approx(scores.parc(x, y), abs=4)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.ones((6, 3)), [0, 1] * 3),
        (np.arange(6.0)[:, None], [0, 1] * 3),
        (np.array([[1.0, 2, 4], [3, 1, 2]]), [0, 1]),
    ],
    ids=["constant", "one feature", "one pair"],
)
def test_parc_says_where_it_is_not_defined(x: Any, y: Any) -> None:
    with pytest.raises(DataError, match="PARC is not defined"):
        scores.parc(x, y)


# ---------------------------------------------------------------- all of them

OF_FEATURES = [
    scores.logme,
    scores.nleep,
    scores.h_score,
    scores.regularized_h_score,
    scores.transrate,
    scores.parc,
]


@pytest.mark.parametrize("score", OF_FEATURES)
def test_names_of_classes_and_the_order_of_samples_change_nothing(score: Any) -> None:
    x, y = cases.features("F03_balanced_10c")
    found = score(x, y)
    names = np.array([f"class {(7 * c) % 10}" for c in y])
    assert score(x, names) == pytest.approx(found, rel=1e-9)
    if score is not scores.nleep:  # whose mixture starts at samples by their place
        order = np.random.default_rng(1).permutation(len(y))
        assert score(x[order], y[order]) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("score", OF_FEATURES)
def test_features_of_the_task_score_above_noise(score: Any) -> None:
    x, y = drawn(5, 120, 8)
    noise = np.random.default_rng(6).normal(size=x.shape)
    assert score(x, y) > score(noise, y)


@pytest.mark.parametrize("score", OF_FEATURES)
@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.ones((4, 2)), [1, 1, 1, 1], "1 class"),
        (np.array([[1.0], [np.nan], [0], [2]]), [0, 1, 0, 1], "not finite"),
        (np.array([[1.0], [np.inf], [0], [2]]), [0, 1, 0, 1], "not finite"),
        (np.ones((4, 2)), [0, 1, 0], "labels of shape"),
        (np.ones((4, 2)), [0, 1, 0, np.nan], "label is not finite"),
        (np.ones(4), [0, 1, 0, 1], "features of shape"),
        (np.ones((0, 2)), [], "features of shape"),
        ([["a"], ["b"]], [0, 1], "no numbers"),
    ],
)
def test_what_cannot_be_scored_is_said(score: Any, x: Any, y: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        score(x, y)


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(DataError, match="softmax"):
        scores.leep([[2.0, -1.0], [0.5, 0.5]], [0, 1])
    with pytest.raises(DataError, match="softmax"):
        scores.leep([[2.0, 1.0], [0.5, 0.5]], [0, 1])
    with pytest.raises(DataError, match="1 class"):
        scores.leep([[0.5, 0.5]] * 3, [2, 2, 2])
    with pytest.raises(DataError, match="1 class"):
        scores.nce([0, 1, 2], [4, 4, 4])
    with pytest.raises(DataError, match="labels of shape"):
        scores.nce([0, 1], [0, 1, 1])


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([1.0, 2, np.nan, 4], "target is not finite"),
        ([1.0, 2, 3], "targets of shape"),
        (np.column_stack([np.arange(4), np.ones(4)]), "same for all"),
    ],
)
def test_targets_that_cannot_be_regressed_on_are_said(targets: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        scores.logme_regression(np.random.default_rng(0).normal(size=(4, 2)), targets)


@pytest.mark.parametrize("score", OF_FEATURES)
def test_wide_features_are_not_squared(score: Any) -> None:
    import tracemalloc

    x, y = drawn(0, 60, 5000)
    tracemalloc.start()
    score(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000**2 * 8 / 2  # the covariance alone would take twice that


def test_a_mixture_that_collapses_is_told() -> None:
    """Features of a network that overflows: products of them lose all digits of a covariance."""
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 60)) * 1e18 * 10 ** random.uniform(0, 3, size=(40, 1))
    with pytest.raises(DataError, match="collapses"):
        scores.nleep(x, np.arange(40) % 4)
    assert scores.nleep(x / 1e18, np.arange(40) % 4) <= 0
