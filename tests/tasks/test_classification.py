"""Class scores against scikit-learn, torchmetrics and counts by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from interop.errors import ModelError
from interop.facts.sections.bench import Confused
from interop.tasks import task
from interop.tasks.classification import macros
from tests.tasks.made import Plain, batch, by_name

LABELS = ("cat", "dog", "cow")


def made(classes: int, n: int = 300) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 2 * np.eye(classes)[truth]
    return list(logits.astype(np.float32)), truth


@pytest.mark.parametrize("classes", [2, 5, 12])
def test_figures_agree_with_the_libraries(classes: int) -> None:
    import torch
    from sklearn.metrics import log_loss, precision_recall_fscore_support, top_k_accuracy_score
    from torchmetrics.functional.classification import multiclass_calibration_error

    answers, truth = made(classes)
    logits = np.stack(answers)
    found = by_name(task("text-classification").scores(answers, truth))
    names = {"top-1", "macro precision", "macro recall", "macro F1", "calibration error"}
    names |= {"negative log likelihood"} | ({"top-5"} if classes > 5 else set())
    assert found.keys() == names
    assert found["top-1"].value == pytest.approx((logits.argmax(1) == truth).mean())
    wanted = precision_recall_fscore_support(truth, logits.argmax(1), average="macro")
    for name, value in zip(("precision", "recall", "F1"), wanted[:3], strict=True):
        assert found[f"macro {name}"].value == pytest.approx(value)
    shares = torch.from_numpy(logits).double().softmax(1)
    ece = multiclass_calibration_error(shares, torch.from_numpy(truth), classes, n_bins=15)
    assert found["calibration error"].value == pytest.approx(float(ece), abs=1e-6)
    loss = log_loss(truth, shares.numpy(), labels=range(classes))
    assert found["negative log likelihood"].value == pytest.approx(loss, rel=1e-5)
    if classes > 5:
        assert found["top-5"].value == pytest.approx(
            top_k_accuracy_score(truth, logits, k=5, labels=range(classes))
        )
    assert all(score.interval is not None for score in found.values())


def test_classes_that_never_occur_count_not_and_those_never_answered_count_as_zero() -> None:
    # Class 0: 1 of 2 found, 1 of 1 said; class 1: 0 of 1, 0 of 1; class 2: 0 of 0, 0 of 1.
    precision, recall, f1 = macros(np.array([0, 0, 1]), np.array([0, 1, 2]), 9)
    assert precision == pytest.approx(1 / 3)
    assert recall == pytest.approx(0.5 / 3)
    assert f1 == pytest.approx(2 / 3 / 3)


def test_calibration_error_by_hand() -> None:
    # Twice sure to 0.75, once right: |0.5 - 0.75|. Sure to 0.5 (just above), right: 0.5, a third.
    sure = np.log(np.array([[3, 1], [3, 1], [1, 1]], dtype=np.float32))
    found = by_name(task("text-classification").scores(list(sure), [0, 1, 0]))
    assert found["calibration error"].value == pytest.approx((2 * 0.25 + 0.5) / 3, abs=1e-6)
    assert found["calibration error"].better == -1


def test_an_answer_its_words_key_and_margin() -> None:
    kind = task("image-classification", LABELS)
    outputs = {"features": np.zeros((2, 7), np.float32), "logits": np.eye(3, dtype=np.float32)[:2]}
    cat, dog = kind.answers(outputs, batch([0, 0]), Plain())
    assert kind.key(cat) == "cat" and kind.key(dog) == "dog"
    assert kind.right(cat, 0) is True and kind.right(dog, 0) is False
    assert kind.margin(cat) == pytest.approx(0.5)
    assert kind.words(dog) == "dog (58 %)" and kind.truth_words(2) == "cow"


def test_windows_of_one_record_are_averaged() -> None:
    kind = task("audio-classification", LABELS)
    logits = np.array([[1, 0, 0], [0, 4, 0], [0, 0, 1]], dtype=np.float32)
    first, second = kind.answers({"x": logits}, batch([0, 0], rows=(0, 0, 1)), Plain())
    assert first.tolist() == [0.5, 2, 0] and second.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "outputs",
    [
        {"logits": np.zeros((2, 4), np.float32)},
        {"logits": np.zeros((1, 3), np.float32)},
        {"logits": np.zeros((2, 3, 5), np.float32)},
        {"logits": np.zeros((2, 3), np.int64)},
        {},
    ],
)
def test_outputs_of_another_task_are_refused(outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match=r"where one output \(2, 3\)"):
        task("image-classification", LABELS).answers(outputs, batch([0, 1]), Plain())


def test_details_agree_with_counts_by_hand() -> None:
    rows = np.eye(3, dtype=np.float32)
    answers, truth = [rows[0], rows[0], rows[1], rows[1]], [0, 1, 1, 1]
    found = task("image-classification", LABELS).tables("A", answers, truth)
    assert found.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))
    assert found.confused == (Confused("dog", "cat", 1),)
    cat, dog, cow = found.classes
    assert (cat["class"], cat["precision"], cat["recall"], cat["support"]) == ("cat", 0.5, 1, 1)
    assert dog["f1"] == pytest.approx(0.8) and cow["support"] == 0


def test_ten_thousand_samples_of_a_thousand_classes_are_scored_in_seconds() -> None:
    answers, truth = made(1000, 10_000)
    start = time.perf_counter()
    kind = task("image-classification")
    by_name(kind.scores(answers, truth))
    assert kind.tables("A", answers, truth).confusion is None
    assert time.perf_counter() - start < 15
