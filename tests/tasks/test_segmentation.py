"""Masks against torch's own upsampling, torchmetrics and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from interop.errors import DataError, ModelError
from interop.facts.sections.bench import Confused
from interop.tasks import task
from tests.tasks.made import Plain, batch, by_name

LABELS = ("road", "sky", "tree")


def scores_of(mask: list[list[int]], classes: int = 3) -> np.ndarray:
    """Scores (1, classes, h, w) whose largest is the mask."""
    return np.eye(classes, dtype=np.float32)[np.array(mask)].transpose(2, 0, 1)[None]


def answers(pairs: list[tuple[list[list[int]], list[list[int]]]]):  # type: ignore[no-untyped-def]
    kind = task("image-segmentation", LABELS)
    return [
        kind.answers({"out": scores_of(said)}, batch([np.array(real)]), Plain())[0]
        for said, real in pairs
    ]


def test_figures_by_hand() -> None:
    kind = task("image-segmentation", LABELS)
    # Over both: road 2 right, 1 missed, 0 wrong; sky 2 right, 0 missed, 1 wrong; 255 counts not.
    found = answers([([[0, 1], [1, 1]], [[0, 0], [1, 255]]), ([[0, 1]], [[0, 1]])])
    scores = by_name(kind.scores(found, []))
    assert scores["mIoU"].value == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores["pixel accuracy"].value == pytest.approx(4 / 5)
    tables = kind.tables("A", found, [])
    assert [row["class"] for row in tables.classes] == ["road", "sky"]
    road = tables.classes[0]
    assert road["iou"] == pytest.approx(2 / 3) and road["accuracy"] == pytest.approx(2 / 3)
    assert road["pixels"] == 3
    assert tables.confusion == ((2, 1, 0), (0, 2, 0), (0, 0, 0))
    assert tables.confused == (Confused("road", "sky", 1),)


def test_figures_agree_with_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

    rng = np.random.default_rng(0)
    kind = task("image-segmentation", tuple("abcde"))
    truths = [rng.choice([0, 1, 2, 3, 255], (20, 30)) for _ in range(6)]
    maps = [rng.normal(size=(1, 5, 20, 30)).astype(np.float32) for _ in truths]
    for m in maps:
        m[:, 4] = -9  # never answered, never true
    found = [
        kind.answers({"logits": m}, batch([t]), Plain())[0]
        for m, t in zip(maps, truths, strict=True)
    ]
    said = torch.from_numpy(np.stack([m[0].argmax(0) for m in maps]))
    real = torch.from_numpy(np.stack(truths))
    scores = by_name(kind.scores(found, truths))
    wanted = multiclass_jaccard_index(said, real, 5, average="macro", ignore_index=255)
    assert scores["mIoU"].value == pytest.approx(float(wanted))
    wanted = multiclass_accuracy(said, real, 5, average="micro", ignore_index=255)
    assert scores["pixel accuracy"].value == pytest.approx(float(wanted))


@pytest.mark.parametrize("at_once", [1, 3000, 1 << 23])
def test_scores_are_raised_to_the_mask_before_the_largest_is_taken(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torch.nn.functional import interpolate

    monkeypatch.setattr("interop.tasks.segmentation._AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    small = rng.normal(size=(1, 3, 5, 7)).astype(np.float32)
    kind = task("image-segmentation", LABELS)
    found = kind.answers({"out": small}, batch([np.zeros((33, 40), int)]), Plain())[0]
    raised = interpolate(torch.from_numpy(small), size=(33, 40), mode="bilinear")
    assert (found.pixels() == raised.argmax(1)[0].numpy()).all()
    nearest = np.repeat(np.repeat(small.argmax(1)[0], 7, 0), 6, 1)[:33, :40]
    assert (found.pixels() != nearest).any(), "another way of raising gives another mask"


def test_keys_are_alike_whatever_the_order_of_the_labels() -> None:
    one, other = task("image-segmentation", ("a", "b")), task("image-segmentation", ("b", "a"))
    truth = batch([np.array([[0, 0]])])
    ours = one.answers({"out": scores_of([[0, 1]], 2)}, truth, Plain())[0]
    theirs = other.answers({"out": scores_of([[1, 0]], 2)}, truth, Plain())[0]
    assert one.key(ours) == other.key(theirs)
    assert one.key(ours) != one.key(theirs)
    assert one.right(ours, None) is None


def test_words_and_agreement() -> None:
    kind = task("image-segmentation", LABELS)
    ours = answers([([[0, 0, 0, 1]], [[0, 0, 0, 0]]), ([[2, 2]], [[2, 2]])])
    theirs = answers([([[0, 0, 1, 1]], [[0, 0, 0, 0]]), ([[2, 2]], [[2, 2]])])
    assert kind.words(ours[0]) == "road 75 %, sky 25 %"
    assert kind.truth_words(np.array([[1, 255]])) == "sky 100 %"
    assert by_name(kind.between(ours, theirs))["pixel agreement"].value == pytest.approx(5 / 6)


def test_the_interval_draws_pictures() -> None:
    right, wrong = ([[0, 1]], [[0, 1]]), ([[1, 0]], [[0, 1]])
    kind = task("image-segmentation", LABELS)
    sure = by_name(kind.scores(answers([right] * 20), []))["mIoU"]
    unsure = by_name(kind.scores(answers([right, wrong] * 10), []))["mIoU"]
    assert sure.interval == (1.0, 1.0)
    assert unsure.interval is not None and unsure.interval[1] - unsure.interval[0] > 0.2


@pytest.mark.parametrize("shape", [(1, 4, 2, 2), (2, 3, 2, 2), (1, 3), (3, 2, 2)])
def test_outputs_of_another_task_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"needed"):
        task("image-segmentation", LABELS).answers(
            {"out": np.zeros(shape, np.float32)}, batch([np.zeros((2, 2), int)]), Plain()
        )


def test_a_mask_with_more_classes_than_the_model_is_refused() -> None:
    with pytest.raises(DataError, match="record 0: has a mask of classes up to 3"):
        answers([([[0, 1]], [[0, 3]])])
