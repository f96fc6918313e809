"""Features or source probabilities, and labels -> scores that foretell a fine-tuned model.

N samples, D features, C target classes, S source classes; logarithms are natural. Everything is
computed in float64. Of each score more is better, and scores compare for the same labels alone. A
class is what occurs in `labels`; a number that no sample has is none.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interop.errors import DataError

Array = NDArray[np.float64]
Classes = NDArray[np.intp]

# A singular value counts as rounding below this many times eps times the Frobenius norm.
ROUNDING = 4.0
# Of a row of probabilities its sum may be this far from 1: half precision is.
SUM = 1e-2
PER_DECADE = 8  # points of the grid over which the evidence is searched


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    """LogME: the mean over classes of the greatest log evidence of the class's indicator, over N.

    `features` (N, D), `labels` (N,). Each indicator t (0 or 1) is regressed on X with the prior
    w ~ N(0, I / alpha) and noise of variance 1 / beta; the evidence
    N(t; 0, I / beta + X X' / alpha) is maximised over both. A density, so that it may be positive;
    -inf < score <= inf. X is not centred and has no intercept, as the authors have it: adding a
    constant to X changes the score.

    The maximum is the true one, by the profile over h = beta / alpha, rather than of a fixed point
    stopped early: for N < D and for columns of zeros too, at h = 0 where the features tell nothing
    (alpha -> inf), and inf where they fit an indicator without error in fewer than N directions.
    You, Liu, Wang, Long, ICML 2021; You et al., JMLR 2022.
    Raises DataError for fewer than two classes, or values that are not finite.
    """
    x, y = _both(features, labels)
    u, s = _directions(x, _floor(features, x))
    counts = np.bincount(y).astype(np.float64)
    evidence = _greatest_evidence(s**2, _class_sums(u, y).T ** 2, counts, len(x))
    return float(evidence.mean() / len(x))


def logme_regression(features: ArrayLike, targets: ArrayLike) -> float:
    """LogME of continuous targets: as `logme`, with one column of `targets` in a class's place.

    `features` (N, D), `targets` (N,) or (N, T), in any unit; the score depends on the unit.
    Raises DataError for a target that does not vary, or values that are not finite.
    """
    x, t = as_features(features), np.asarray(targets, dtype=np.float64)
    t = t[:, None] if t.ndim == 1 else t
    if t.ndim != 2 or len(t) != len(x) or not t.shape[1]:
        raise DataError(f"targets of shape {t.shape} for {len(x)} samples")
    if not np.isfinite(t).all():
        raise DataError("a target is not finite")
    if (np.ptp(t, axis=0) == 0).any():
        raise DataError("a target is the same for all samples", fix="leave that target out")
    u, s = _directions(x, _floor(features, x))
    evidence = _greatest_evidence(s**2, (u.T @ t) ** 2, (t**2).sum(axis=0), len(x))
    return float(evidence.mean() / len(x))


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """LEEP: mean_i log(sum_z Q(y_i | z) P[i, z]), with Q(y | z) counted from P and the labels.

    `probabilities` (N, S) of the source classes, not logits; `labels` (N,). At most 0; -H(y) where
    P is the same for all samples. A source class without mass is left out, which is the limit.
    Nguyen, Hassner, Seeger, Archambeau, ICML 2020.
    Raises DataError for rows that are no probabilities, or fewer than two classes.
    """
    p = _probabilities(probabilities)
    y = as_labels(labels, len(p))
    joint = _class_sums(p, y)
    mass = joint.sum(axis=0)
    given = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    return float(np.log(np.einsum("is,is->i", given[y], p)).mean())


def nce(source_labels: ArrayLike, labels: ArrayLike) -> float:
    """Negative conditional entropy: -H(Y | Z) = sum p(y, z) log(p(y, z) / p(z)), from counts.

    `source_labels` (N,) are the source classes that a model puts the samples in, `labels` (N,) the
    target's. Between -H(Y) and 0. With as many source classes as samples it is 0 by overfitting.
    Tran, Nguyen, Hassner, ICCV 2019.
    Raises DataError for fewer than two target classes.
    """
    y = as_labels(labels, np.size(labels))
    z = as_labels(source_labels, len(y), least=1)
    pairs, joint = np.unique(np.stack([y, z]), axis=1, return_counts=True)
    return float((joint * np.log(joint / np.bincount(z)[pairs[1]])).sum() / len(y)) + 0.0


def nleep(
    features: ArrayLike, labels: ArrayLike, components: int | None = None, seed: int = 0
) -> float:
    """NLEEP: LEEP of a Gaussian mixture's responsibilities, for models without a classifier.

    `features` (N, D) go through a PCA that keeps 80 % of their variance; the mixture has
    `components` of full covariance: by default five for each class, but no more than leave ten
    samples to each, and not fewer than classes. At most 0. It depends on the seed, by 0.1 or more
    where samples are few, and is near 0 by overfitting where they are few for the PCA's axes.
    Li, Jia, Sang, Zhu, Green, Wang, Gong, CVPR 2021.
    Raises DataError for fewer samples than components, fewer than two classes, values that are not
    finite, or a mixture that collapses (samples that are too far apart, or too few, for it).
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    x, y = _both(features, labels)
    classes = int(y.max()) + 1
    k = components or min(5 * classes, max(classes, len(x) // 10))
    if not 1 <= k <= len(x):
        raise DataError(f"{len(x)} samples for a mixture of {k}", fix="give more samples")
    if not len(_directions(x - x.mean(axis=0), _floor(features, x))[1]):
        return leep(np.ones((len(x), 1)), labels)
    with warnings.catch_warnings():
        # A mixture that has not settled is still one: the score takes it as it is.
        warnings.simplefilter("ignore")
        seen = PCA(n_components=0.8, svd_solver="full").fit_transform(x)
        try:
            mixture = GaussianMixture(k, random_state=seed).fit(seen)
        except ValueError as error:  # a component of one sample has no covariance
            raise DataError(f"a mixture of {k} collapses ({str(error)[:60]}…)") from None
    return leep(mixture.predict_proba(seen), labels)


def h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """H-score: trace(pinv(cov(X)) cov(G)), where G_i is the mean of X over the class of sample i.

    `features` (N, D), `labels` (N,). It is the sum of the squared canonical correlations of X and
    the classes, and computed as that. Between 0 and min(rank X, C - 1); invariant to invertible
    linear maps and shifts. Where D >= N - 1 it is C - 1 whatever the features: see
    `regularized_h_score`. Bao, Li, Huang, Zhang, Zamir, Guibas, ICIP 2019.
    Raises DataError for fewer than two classes, or values that are not finite.
    """
    return float(_between(features, labels)[0].sum())


def regularized_h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """The H-score with the covariance of X shrunk by a, after Ledoit and Wolf.

    (1 - a) trace(inv(S_a) cov(G)), S_a = (1 - a) S + a (tr S / D) I; S is divided by N and cov(G)
    by N - 1, as the authors have it, so that it may exceed C - 1 by the factor N / (N - 1). At
    least 0. Invariant to rotations and to one scale for all features.
    `features` (N, D), `labels` (N,). Ibrahim, Ponomareva, Mazumder, ECML PKDD 2022.
    Raises DataError for fewer than two classes, or values that are not finite.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    between, s, x = _between(features, labels)
    if not len(s):
        return 0.0
    n, d = x.shape
    a = float(ledoit_wolf_shrinkage(x))
    shrunk = (1 - a) * s**2 / n + a * (s**2).sum() / (n * d)
    return float((1 - a) * (s**2 * between / (n - 1) / shrunk).sum())


def transrate(features: ArrayLike, labels: ArrayLike, eps: float = 1e-4) -> float:
    """TransRate: R(X) - sum_c (n_c / N) R(X_c), with R(Z) = 1/2 log det(I + Z'Z / (n eps)).

    `features` (N, D), centred over all samples and not again in a class; `labels` (N,). The classes
    are weighted by their share, by the definition and in the authors' code; others weight them
    alike. At least 0. It depends on the scale of X and on `eps` (a distortion, in squared units of
    X), which must be the same for all models. Huang, Huang, Rong, Yang, Wei, ICML 2022.
    Raises DataError for fewer than two classes, or values that are not finite.
    """
    x, y = _both(features, labels)
    x = x - x.mean(axis=0)
    parts = np.split(x[np.argsort(y, kind="stable")], np.cumsum(np.bincount(y))[:-1])
    return _rate(x, eps) - sum(len(part) / len(x) * _rate(part, eps) for part in parts)


def parc(features: ArrayLike, labels: ArrayLike, limit: int = 1000, seed: int = 0) -> float:
    """PARC: 100 times Spearman's correlation of distances by features and by labels, over pairs.

    `features` (N, D) are standardised column by column; two samples are 1 - their rows' correlation
    apart, and by labels the same or not. Above `limit` samples that many are drawn: time and memory
    go by the square of N (the paper draws 500). Between -100 and 100. Labels are compared as such,
    so that pairs tie as they should: correlations of one-hot rows differ in their last bit, and
    code that ranks those is off by up to 0.7, by the order of the rows.
    Bolya, Mittapalli, Hoffman, NeurIPS 2021, without its optional PCA.
    Raises DataError for fewer than two classes or three samples, a sample whose standardised
    features are all the same (those of one feature are), or values that are not finite.
    """
    from scipy.stats import rankdata

    x, y = _both(features, labels)
    if len(x) > limit:
        picks = np.sort(np.random.default_rng(seed).choice(len(x), limit, replace=False))
        x, y = x[picks], y[picks]
    # A constant column becomes 0: its rounding, of 1e-17, would be standardised to 1.
    x = (x - x.mean(axis=0)) / np.where(varies := np.ptp(x, axis=0) > 0, x.std(axis=0), 1) * varies
    rows = x - x.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if (norms <= 1e-12 * np.linalg.norm(x, axis=1, keepdims=True)).any():
        raise DataError("PARC is not defined: the standardised features of a sample do not differ")
    rows = rows / norms
    upper = np.triu_indices(len(rows), 1)
    apart, differ = rankdata(1 - (rows @ rows.T)[upper]), (y[:, None] != y)[upper]
    if np.ptp(apart) == 0 or differ.all() or not differ.any():
        raise DataError("PARC is not defined: all pairs of samples are equally far apart")
    return float(100 * np.corrcoef(apart, differ)[0, 1])


# ---------------------------------------------------------------- what is given


def _both(features: ArrayLike, labels: ArrayLike) -> tuple[Array, Classes]:
    x = as_features(features)
    return x, as_labels(labels, len(x))


def as_features(features: ArrayLike) -> Array:
    """(N, D) in float64. Raises DataError for another shape, or values that are not finite."""
    try:
        x = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"features are no numbers: {error}") from error
    if x.ndim != 2 or not x.size:
        raise DataError(f"features of shape {x.shape}", fix="give them as (samples, features)")
    if not np.isfinite(x).all():
        raise DataError("a feature is not finite", fix="see which layer gives NaN or infinity")
    return x


def as_labels(labels: ArrayLike, n: int, least: int = 2) -> Classes:
    """(n,) numbers 0..C-1 of the classes that occur, in their sorted order.

    Raises DataError for another number of labels, NaN, or fewer than `least` classes.
    """
    given: NDArray[Any] = np.asarray(labels)
    if given.shape != (n,):
        raise DataError(f"labels of shape {given.shape} for {n} samples")
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise DataError("a label is not finite")
    names, y = np.unique(given, return_inverse=True)
    if len(names) < least:
        raise DataError(f"{len(names)} class in the labels", fix=f"give {least} or more")
    return y.astype(np.intp)


def _probabilities(probabilities: ArrayLike) -> Array:
    p = as_features(probabilities)
    sums = p.sum(axis=1, keepdims=True)
    if (p < 0).any() or (np.abs(sums - 1) > SUM).any():
        raise DataError("rows that are no probabilities", fix="apply softmax to logits first")
    normed: Array = p / sums
    return normed


# ---------------------------------------------------------------- linear algebra


def _floor(given: ArrayLike, x: Array) -> float:
    """The singular value below which a direction of `x` is rounding, in the type it was given."""
    eps = np.finfo(np.float32 if np.asarray(given).dtype == np.float32 else np.float64).eps
    return float(ROUNDING * eps * np.linalg.norm(x))


def _directions(x: Array, floor: float) -> tuple[Array, Array]:
    """The left singular vectors (N, k) and singular values (k,) of `x` (N, D) above `floor`."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    keep = s > floor
    return u[:, keep], s[keep]


def _class_sums(x: Array, y: Classes) -> Array:
    """(C, k): the rows of `x` (N, k) summed by class; every class occurs."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(y))[:-1]])
    sums: Array = np.add.reduceat(x[np.argsort(y, kind="stable")], starts, axis=0)
    return sums


def _between(features: ArrayLike, labels: ArrayLike) -> tuple[Array, Array, Array]:
    """For each direction of the centred features: the share of its variance that is between
    classes (k,), and its singular value (k,); and the centred features (N, D)."""
    x, y = _both(features, labels)
    centred = x - x.mean(axis=0)
    u, s = _directions(centred, _floor(features, x))
    return (_class_sums(u, y) ** 2 / np.bincount(y)[:, None]).sum(axis=0), s, centred


def _rate(z: Array, eps: float) -> float:
    """1/2 log det(I + Z'Z / (n eps)), on the smaller side."""
    n, d = z.shape
    gram = (z.T @ z if d <= n else z @ z.T) / (n * eps)
    return float(np.linalg.slogdet(np.eye(len(gram)) + gram)[1]) / 2


def _greatest_evidence(s2: Array, inside: Array, total: Array, n: int) -> Array:
    """(T,): max over alpha and beta of log N(t; 0, I / beta + X X' / alpha), for each target t.

    `s2` (k,) are the squared singular values of X (n, D), none of them 0; `inside` (k, T) the
    targets' squared coordinates on its left singular vectors, `total` (T,) their squared norms.

    With h = beta / alpha the covariance is (I + h X X') / beta, and beta is best at n / Q(h),
    Q = sum_i inside_i / (1 + h s2_i) + what of t is outside X: one unknown remains,
    L(h) = -n/2 (log(2 pi Q(h) / n) + 1) - 1/2 sum_i log(1 + h s2_i). It may have several maxima.
    """
    from scipy.optimize import minimize_scalar

    k = len(s2)
    outside = total - inside.sum(axis=0)
    outside[outside <= n * np.finfo(np.float64).eps * total] = 0.0

    def evidence(h: Array, among: Array, rest: Array) -> Array:
        """(H, T) for `h` (H,), from the coordinates `among` (k, T) and `rest` (T,)."""
        grown = 1 + np.outer(h, s2)
        q = (1 / grown) @ among + rest
        fit = n / 2 * (np.log(2 * np.pi * q / n) + 1)
        evidence: Array = -fit - np.log(grown).sum(axis=1)[:, None] / 2
        return evidence

    best = -n / 2 * (np.log(2 * np.pi * total / n) + 1)  # h = 0: the weights are 0
    if not k:
        return np.asarray(best)
    steps = _grid(s2, inside, outside, n)
    grid = evidence(np.exp(steps), inside, outside)
    for t in range(len(best)):
        if not outside[t] and k < n:
            best[t] = np.inf  # the noise may be as small as one likes
            continue
        at = int(grid[:, t].argmax())
        around = steps[max(at - 1, 0)], steps[min(at + 1, len(steps) - 1)]
        one, rest = inside[:, t : t + 1], outside[t : t + 1]
        fine = minimize_scalar(
            lambda v, one=one, rest=rest: -evidence(np.exp([v]), one, rest)[0, 0],
            bounds=around,
            method="bounded",
            options={"xatol": 1e-9},
        )
        best[t] = max(best[t], grid[at, t], -fine.fun)
    return np.asarray(best)


def _grid(s2: Array, inside: Array, outside: Array, n: int) -> Array:
    """The logarithms of h to try: from where X adds nothing to where more of it only costs, or
    where N directions fit t (k = n) changes nothing.

    For large h the slope of the evidence is 0 at h = sum(inside / s2) / outside (n - k) / k.
    """
    least, most = 1e-8 / s2.max(), 1e8 / s2.min()
    open_ = outside > 0
    if open_.any():
        turn = (inside[:, open_] / s2[:, None]).sum(axis=0) / outside[open_] * (n - len(s2))
        most = max(most, 100 * float(turn.max()) / len(s2))
    return np.linspace(np.log(least), np.log(most), int(np.log10(most / least) * PER_DECADE) + 2)
