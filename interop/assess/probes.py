"""Features and folds -> what a linear probe answers on rows that it has not seen.

A probe is a multinomial logistic regression (L-BFGS) or a ridge regression (closed form) on
standardised features; its strength of regularisation is chosen within the training rows alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
STRENGTHS = tuple(float(10.0**e) for e in (-4, -3, -2, -1, 0))
INNER = 3
_STEPS = 300


def probe(
    features: Array, truth: Array, classes: int, group: Array, train: Array, test: Array, seed: int
) -> dict[str, Array]:
    """Train on some rows, answer others. `classes` is 0 for a regression.

    Gives "answers" (rows,) to the test rows, class numbers or numbers; of classes also "sure"
    (rows, classes), logarithms of probabilities; "strength", which was chosen; and "seconds" of
    processor time.

    One thread, so that every machine and backend gives the same figures.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    began = process_time()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an optimiser that stops at its bound is said by figures
        scaled, after = _scaled(features[train], features[test])
        fit = _classified if classes else _regressed
        answers, sure, strength = fit(scaled, truth[train], after, classes, group[train], seed)
    arrays = {
        "answers": answers,
        "strength": np.array(strength),
        "seconds": np.array(process_time() - began),
    }
    return arrays if sure is None else {**arrays, "sure": sure.astype(np.float32)}


def _scaled(train: Array, test: Array) -> tuple[Array, Array]:
    """Both, in units of the training rows' own spread."""
    middle = train.mean(axis=0, dtype=np.float64)
    spread = train.std(axis=0, dtype=np.float64)
    spread[spread < 1e-12] = 1.0
    scale = spread * np.sqrt(train.shape[1])  # so that one strength means the same at any width
    x, after = (train - middle) / scale, (test - middle) / scale
    if x.shape[1] <= len(x):
        return x, after
    # A penalised fit lies in the span of the training rows: in a basis of that it is the same one,
    # with as many numbers as there are rows.
    basis, _ = np.linalg.qr(x.T)
    return x @ basis, after @ basis


def _classified(
    x: Array, y: Array, after: Array, classes: int, group: Array, seed: int
) -> tuple[Array, Array | None, float]:
    there = np.unique(y)
    if len(there) == 1:
        sure = np.full((len(after), classes), -np.inf)
        sure[:, there[0]] = 0.0
        return np.full(len(after), there[0]), sure, 0.0
    inner = list(_inner(x, y, group, seed))
    strength = _best(x, y, inner) if inner else 1.0
    model = _logistic(strength).fit(x, y)
    sure = np.full((len(after), classes), -np.inf)
    sure[:, model.classes_] = model.predict_log_proba(after)
    return sure.argmax(axis=1), sure, strength


def _logistic(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    # scikit-learn's C is the inverse of the penalty; a thousandth suits features of unit length.
    return LogisticRegression(C=strength * 1000, max_iter=_STEPS)


def _inner(x: Array, y: Array, group: Array, seed: int) -> Sequence[tuple[Array, Array]]:
    """Splits of the training rows; none where a class has fewer rows than there are parts."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    parts = min(INNER, int(np.unique(y, return_counts=True)[1].min()), len(np.unique(group)))
    if parts < 2:
        return []
    if len(np.unique(group)) < len(group):
        return list(StratifiedGroupKFold(parts, shuffle=True, random_state=seed).split(x, y, group))
    return list(StratifiedKFold(parts, shuffle=True, random_state=seed).split(x, y))


def _best(x: Array, y: Array, inner: Sequence[tuple[Array, Array]]) -> float:
    """The strength with the least log loss on rows left out, the stronger penalty on a tie.

    Accuracies of a few rows tie too often to choose by.
    """
    losses = np.zeros(len(STRENGTHS))
    for train, test in inner:
        start: Any = None
        for place, strength in enumerate(STRENGTHS):
            model = _logistic(strength)
            if start is not None:  # from the neighbour's solution it is a few steps
                model.set_params(warm_start=True)
                model.coef_, model.intercept_, model.classes_ = start
            model.fit(x[train], y[train])
            start = model.coef_, model.intercept_, model.classes_
            sure = model.predict_log_proba(x[test])
            place_of = np.searchsorted(model.classes_, y[test]).clip(0, len(model.classes_) - 1)
            right = np.where(
                model.classes_[place_of] == y[test], sure[np.arange(len(test)), place_of], -20.0
            )
            losses[place] -= right.clip(-20.0).sum()
    return STRENGTHS[int(losses.argmin())]


def _regressed(
    x: Array, y: Array, after: Array, classes: int, group: Array, seed: int
) -> tuple[Array, Array | None, float]:
    from sklearn.linear_model import RidgeCV

    # Leave-one-out within the training rows, in closed form.
    model = RidgeCV(alphas=[1 / (1000 * s) for s in STRENGTHS]).fit(x, y)
    return model.predict(after), None, float(1 / (1000 * model.alpha_))


def some_of_each(truth: Array, train: Array, count: int, seed: int) -> Array | None:
    """`count` training rows of each class, drawn by `seed`; None where one has fewer."""
    random = np.random.default_rng(seed)
    picked = []
    for number in np.unique(truth[train]):
        rows = train[truth[train] == number]
        if len(rows) < count:
            return None
        picked.append(random.permutation(rows)[:count])
    return np.sort(np.concatenate(picked))
