"""Two models' features of the same samples -> how alike they are; features -> a k-NN probe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interop.assess.transferability import Array, as_features, as_labels
from interop.errors import DataError

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


def linear_cka(x: ArrayLike, y: ArrayLike, debiased: bool = True) -> float:
    """Linear CKA of `x` (N, D1) and `y` (N, D2), whose rows are the same samples in one order.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = XX', L = YY': 1 where they are the same up to
    rotation, shift and one scale. Biased, |X'Y|^2 / (|X'X| |Y'Y|) of centred features, from 0 to 1
    and far above 0 for unrelated features where D > N. Debiased, with the unbiased HSIC of Song et
    al. (JMLR 2012), around 0 there and at times below: the one to read unless N >> D.
    Kornblith, Norouzi, Lee, Hinton, ICML 2019; debiased, Nguyen, Raghu, Kornblith, ICLR 2021.
    Computed in float64 over all samples at once: batches would change the value.
    Raises DataError for unequal numbers of samples, fewer than 2 (debiased: 4), features that do
    not vary, and debiased also where they vary too little for their number of samples.
    """
    a, b = as_features(x), as_features(y)
    least = 4 if debiased else 2
    if len(a) != len(b) or len(a) < least:
        what = f"CKA of {len(a)} and {len(b)} samples"
        raise DataError(what, fix=f"give the same {least} or more")
    floors = [1e-14 * float((one**2).sum()) for one in (a, b)]
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    if any(float((one**2).sum()) <= floor for one, floor in zip((a, b), floors, strict=True)):
        raise DataError("CKA is not defined: the features are the same for all samples")
    cross, own_a, own_b = (_hsic(p, q, debiased) for p, q in ((a, b), (a, a), (b, b)))
    if own_a <= 0 or own_b <= 0:
        raise DataError("CKA is not defined: too few samples", fix="give more samples")
    return cross / float(np.sqrt(own_a) * np.sqrt(own_b))


def _hsic(a: Array, b: Array, debiased: bool) -> float:
    """HSIC of centred features, but for a factor that cancels; on the smaller side.

    The debiased form is Song's, written with the centred rows' norms (as Kornblith et al. do).
    """
    n = len(a)
    if n * (a.shape[1] + b.shape[1]) < a.shape[1] * b.shape[1]:
        cross = float(((a @ a.T) * (b @ b.T)).sum())
    else:
        cross = float(((a.T @ b) ** 2).sum())
    if not debiased:
        return cross
    rows_a, rows_b = (a**2).sum(axis=1), (b**2).sum(axis=1)
    norms = float(rows_a.sum() * rows_b.sum())
    return cross - n / (n - 2) * float(rows_a @ rows_b) + norms / ((n - 1) * (n - 2))


def knn_accuracy(
    features: ArrayLike,
    labels: ArrayLike,
    k: int = 5,
    folds: int | Sequence[Fold] = 5,
    seed: int = 0,
) -> Array:
    """(J,): in each fold the share of its samples that their `k` nearest in training put right.

    `features` (N, D), by cosine distance; `labels` (N,). `folds` are J pairs of places (training,
    test), or a number of stratified ones, drawn with `seed`. Each neighbour counts alike; a tie
    goes to the class that sorts first.
    Raises DataError for fewer than two classes, a class with fewer samples than folds, or fewer
    than `k` samples to train on.
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier

    x = as_features(features)
    y = as_labels(labels, len(x))
    if isinstance(folds, int):
        if not 2 <= folds <= (fewest := int(np.bincount(y).min())):
            raise DataError(f"{folds} folds, and a class has {fewest} samples")
        cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
        folds = list(cut.split(x, y))
    scores = []
    for train, test in folds:
        if not 1 <= k <= len(train) or not len(test):
            raise DataError(f"a fold of {len(train)} and {len(test)} samples for {k} neighbours")
        probe = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(x[train], y[train])
        scores.append(float((probe.predict(x[test]) == y[test]).mean()))
    return np.array(scores)
