"""Scores against scikit-learn and against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, top_k_accuracy_score

from interop.bench.accuracy import (
    Predictions,
    between_models,
    between_runtimes,
    macro_f1,
    scores,
)
from interop.facts import Measurement


def predictions(
    logits: object, truth: object, role: str = "A", runtime: str = "pytorch",
    labels: tuple[str, ...] | None = None,
) -> Predictions:  # fmt: skip
    found = np.asarray(logits, dtype=np.float32)
    n, classes = found.shape
    names = labels or tuple(f"c{i}" for i in range(classes))
    hashes = tuple(f"h{i}" for i in range(n))
    return Predictions(role, runtime, names, hashes, hashes, np.asarray(truth), found)


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    return {m.name: m for m in found}


@pytest.mark.parametrize("classes", [3, 7, 10])
def test_scores_agree_with_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 200)
    logits = rng.normal(size=(200, classes)) + 2 * np.eye(classes)[truth]
    found = by_name(scores(predictions(logits, truth)))
    assert found["top-1"].value == pytest.approx((logits.argmax(1) == truth).mean())
    assert found["macro F1"].value == pytest.approx(
        f1_score(truth, logits.argmax(1), average="macro")
    )
    if classes > 5:
        wanted = top_k_accuracy_score(truth, logits, k=5)
        assert found["top-5"].value == pytest.approx(wanted)
    else:
        assert "top-5" not in found, "of five classes or fewer it says nothing"
    for m in found.values():
        assert m.interval is not None and m.value is not None
        assert m.interval[0] <= m.value <= m.interval[1]


def test_macro_f1_leaves_out_classes_that_never_occur() -> None:
    truth, answers = np.array([0, 0, 1]), np.array([0, 1, 1])
    assert macro_f1(truth, answers, 5) == pytest.approx(f1_score(truth, answers, average="macro"))


def test_wilsons_interval_is_the_published_one() -> None:
    # 81 of 263: Newcombe 1998, table I, method 3.
    logits = np.tile([1.0, 0.0], (263, 1))
    truth = np.where(np.arange(263) < 81, 0, 1)
    top = by_name(scores(predictions(logits, truth)))["top-1"]
    assert top.interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_a_change_of_runtime_that_flips_is_counted() -> None:
    native = predictions([[1, 0], [0, 1], [1, 0.9]], [0, 1, 0])
    exported = predictions([[1, 0], [0, 1], [1, 1.1]], [0, 1, 0], runtime="onnxruntime")
    found = by_name(between_runtimes(native, exported))
    assert found["flips"].value == 1
    assert found["agreement"].value == pytest.approx(2 / 3)
    assert found["largest logit difference"].value == pytest.approx(0.2, abs=1e-6)
    same = by_name(between_runtimes(native, native))
    assert same["flips"].value == 0 and same["largest logit difference"].value == 0


def test_mcnemars_exact_test_on_known_counts() -> None:
    # 8 samples that only A gets right, 1 that only B does: 2 * (1 + 9) / 2**9.
    truth = np.zeros(20, dtype=int)
    a, b = np.tile([1.0, 0.0], (20, 1)), np.tile([1.0, 0.0], (20, 1))
    b[:8], a[8] = [0.0, 1.0], [0.0, 1.0]
    found = by_name(between_models(predictions(a, truth), predictions(b, truth, "B")))
    assert found["McNemar's exact test"].value == pytest.approx(20 / 512)
    assert found["accuracy change"].value == pytest.approx(-7 / 20)
    assert found["negative flips"].value == pytest.approx(8 / 20)
    assert found["flips"].value == 9
    assert len(found["flips"].conditions["flipped"]) == 9
    assert found["accuracy change"].conditions["mcnemar_p"] == pytest.approx(20 / 512)


def test_models_with_labels_in_another_order_are_compared_by_name() -> None:
    a = predictions(np.eye(3), [0, 1, 2], labels=("cat", "dog", "eel"))
    order = [2, 0, 1]
    b = predictions(np.eye(3)[:, order], [order.index(i) for i in range(3)], "B",
                    labels=tuple(a.labels[i] for i in order))  # fmt: skip
    found = by_name(between_models(a, b))
    assert found["agreement"].value == 1 and found["accuracy change"].value == 0


def test_equal_models_differ_by_nothing() -> None:
    one = predictions(np.eye(4), [0, 1, 2, 3])
    found = by_name(between_models(one, one))
    assert found["McNemar's exact test"].value == 1
    # Four equal answers are no certainty: the interval says how little they show.
    low, high = found["accuracy change"].interval
    assert low == -high and high > 0.2
