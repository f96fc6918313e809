"""Boxes against torchmetrics' mean average precision and pictures made by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from interop.data.base import Boxes
from interop.errors import ModelError
from interop.tasks import task
from tests.tasks.made import Plain, batch, by_name

LABELS = ("cat", "dog")
BOX = [10.0, 10.0, 50.0, 50.0]


def boxes(corners: object, labels: object, scores: object = None, crowd: object = None) -> Boxes:
    return Boxes(
        np.asarray(corners, np.float32).reshape(-1, 4),
        np.asarray(labels, np.int64),
        None if scores is None else np.asarray(scores, np.float32),
        None if crowd is None else np.asarray(crowd, bool),
    )


def made(pictures: int, each: int = 20, classes: int = 5) -> tuple[list[Boxes], list[Boxes]]:
    """Truths that are found askew, some not at all, amid others that are nothing."""
    rng = np.random.default_rng(pictures)
    answers, truths = [], []
    for _ in range(pictures):
        n = int(rng.integers(0, 8))
        low = rng.uniform(0, 300, (n, 2))
        real = np.concatenate([low, low + rng.uniform(20, 150, (n, 2))], axis=1)
        labels = rng.integers(0, classes, n)
        truths.append(boxes(real, labels, crowd=rng.random(n) < 0.1))
        near = real + rng.normal(0, 6, real.shape)
        other = rng.uniform(0, 300, (each, 2))
        noise = np.concatenate([other, other + rng.uniform(20, 150, (each, 2))], axis=1)
        said = np.concatenate([labels, rng.integers(0, classes, each)])
        scores = np.concatenate([rng.uniform(0.3, 1, n), rng.uniform(0, 0.7, each)])
        answers.append(boxes(np.concatenate([near, noise]), said, scores))
    return answers, truths


def test_figures_agree_with_torchmetrics() -> None:
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    answers, truths = made(40)
    # torchmetrics' own are float32: a recall of 1/5 is then short of the threshold 0.2.
    metric = MeanAveragePrecision(
        class_metrics=True,
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    t = torch.from_numpy
    metric.update(
        [{"boxes": t(a.boxes), "labels": t(a.labels), "scores": t(a.scores)} for a in answers],
        [
            {"boxes": t(b.boxes), "labels": t(b.labels), "iscrowd": t(b.crowd.astype(int))}
            for b in truths
        ],
    )
    wanted = metric.compute()
    kind = task("object-detection", tuple("abcde"))
    found = by_name(kind.scores(answers, truths))
    assert list(found) == ["mAP", "mAP50", "mAP75"]
    for name, theirs in (("mAP", "map"), ("mAP50", "map_50"), ("mAP75", "map_75")):
        assert found[name].value == pytest.approx(float(wanted[theirs]), abs=1e-5), name
        assert found[name].interval is not None
    rows = kind.tables("A", answers, truths).classes
    assert [row["ap"] for row in rows] == pytest.approx(wanted["map_per_class"].tolist(), abs=1e-5)
    assert sum(row["support"] for row in rows) == sum((~b.crowd).sum() for b in truths)


def test_figures_by_hand() -> None:
    kind = task("object-detection", LABELS)
    truths = [boxes([BOX], [0]), boxes([BOX], [0])]
    hit, miss = boxes([BOX], [0], [0.9]), boxes([[60, 60, 90, 90]], [0], [0.9])
    assert by_name(kind.scores([hit, hit], truths))["mAP"].value == pytest.approx(1)
    assert by_name(kind.scores([miss, miss], truths))["mAP"].value == 0
    # Half of the truth found, nothing else said: precision 1 up to recall 0.5, 51 of 101 places.
    nothing = boxes([], [], [])
    half = by_name(kind.scores([hit, nothing], truths))
    assert half["mAP"].value == pytest.approx(51 / 101)
    # 40 x 40 against 32 x 40 within it: IoU 0.8, seven of the ten thresholds.
    near = boxes([[10, 10, 42, 50]], [0], [0.9])
    found = by_name(kind.scores([near, near], truths))
    assert found["mAP"].value == pytest.approx(0.7, abs=0.01)
    assert (found["mAP50"].value, found["mAP75"].value) == pytest.approx((1, 1))
    # The right box of the wrong label is not found.
    assert by_name(kind.scores([boxes([BOX], [1], [0.9])] * 2, truths))["mAP"].value == 0


def test_a_crowd_counts_neither_way() -> None:
    kind = task("object-detection", LABELS)
    group = [60, 60, 90, 90]
    answer = boxes([group, BOX], [0, 0], [0.95, 0.9])

    def found(crowd: bool, corners: list[float]) -> float:
        truth = boxes([BOX, corners], [0, 0], crowd=[False, crowd])
        return by_name(kind.scores([answer], [truth]))["mAP"].value

    assert found(True, group) == pytest.approx(1)
    # One that is nowhere near a crowd is wrong: half of what was said.
    assert found(True, [200, 200, 230, 230]) == pytest.approx(0.5)
    assert found(False, [200, 200, 230, 230]) < 0.5


def test_no_truth_at_all_has_no_figure() -> None:
    kind = task("object-detection", LABELS)
    found = kind.scores([boxes([BOX], [0], [0.9])], [boxes([], [])])
    assert np.isnan(found[0].value) and found[0].interval is None


@pytest.mark.parametrize(
    ("labels", "number", "place"),
    [(("__background__", "cat", "dog"), 2, 2), (("cat", "dog"), 2, 1), ((), 3, 2)],
)
def test_torchvisions_boxes_are_put_onto_the_stored_picture(
    labels: tuple[str, ...], number: int, place: int
) -> None:
    kind = task("object-detection", labels)
    outputs = {
        "boxes": np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32),
        "labels": np.array([number, number]),
        "scores": np.array([0.2, 0.8], np.float32),
    }
    about = [{"size": (200, 400), "scaled": (100, 100)}]
    (found,) = kind.answers(outputs, batch([None], about=about), Plain())
    assert found.boxes.tolist() == [[20, 12, 28, 16], [4, 4, 12, 8]], "the surest first"
    assert found.labels.tolist() == [place, place]
    assert found.scores is not None and found.scores.tolist() == pytest.approx([0.8, 0.2])


def test_detr_is_read_as_transformers_reads_it() -> None:
    import torch
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
    from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (2, 9, 3)).astype(np.float32)
    shares = rng.uniform(0.2, 0.5, (2, 9, 4)).astype(np.float32)
    sizes = [(200, 400), (90, 70)]
    wanted = DetrImageProcessorPil().post_process_object_detection(
        DetrObjectDetectionOutput(
            logits=torch.from_numpy(logits), pred_boxes=torch.from_numpy(shares)
        ),
        threshold=0.0,
        target_sizes=sizes,
    )
    found = task("object-detection", LABELS).answers(
        {"logits": logits, "pred_boxes": shares},
        batch([None, None], about=[{"size": s, "scaled": s} for s in sizes]),
        Plain(),
    )
    for ours, theirs in zip(found, wanted, strict=True):
        order = np.argsort(-theirs["scores"].numpy(), kind="stable")
        assert ours.scores == pytest.approx(theirs["scores"].numpy()[order])
        assert (ours.labels == theirs["labels"].numpy()[order]).all()
        assert ours.boxes == pytest.approx(theirs["boxes"].numpy()[order], abs=1e-3)


def test_as_many_scores_as_labels_are_sigmoids_of_pairs() -> None:
    logits = np.array([[[3, 2], [-1, 1]]], np.float32)
    shares = np.array([[[0.5, 0.5, 1, 1], [0.5, 0.5, 0.5, 0.5]]], np.float32)
    about = [{"size": (10, 20), "scaled": (5, 5)}]
    outputs = {"logits": logits, "pred_boxes": shares}
    (found,) = task("object-detection", LABELS).answers(
        outputs, batch([None], about=about), Plain()
    )
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.scores == pytest.approx(1 / (1 + np.exp(-np.array([3, 2, 1, -1.0]))))
    assert found.boxes.tolist() == [[0, 0, 20, 10]] * 2 + [[5, 2.5, 15, 7.5]] * 2


def test_words_keys_and_pairs() -> None:
    kind = task("object-detection", LABELS)
    other = [60, 60, 90, 90]
    one = boxes([BOX, other], [0, 1], [0.9, 0.6])
    turned = boxes([other, BOX], [1, 0], [0.6, 0.6])
    lost = boxes([BOX, [100, 100, 130, 130]], [0, 1], [0.9, 0.3])
    assert kind.words(one) == "1 cat, 1 dog" and kind.words(lost) == "1 cat"
    assert kind.truth_words(boxes([BOX, BOX], [1, 1])) == "2 dog"
    assert kind.key(one) == kind.key(turned) != kind.key(lost)
    assert kind.right(one, one) is None
    assert by_name(kind.between([one], [turned]))["detections matched"].value == 1
    assert by_name(kind.between([one], [lost]))["detections matched"].value == 0.5
    empty = boxes([], [], [])
    assert kind.between([empty], [empty]) == []
    assert by_name(kind.between([one], [empty]))["detections matched"].value == 0


ONE = {
    "boxes": np.zeros((1, 4), np.float32),
    "labels": np.ones(1, np.int64),
    "scores": np.ones(1, np.float32),
}


@pytest.mark.parametrize(
    ("outputs", "pictures"),
    [
        ({"logits": np.zeros((1, 2), np.float32)}, 1),
        ({**ONE, "boxes": np.zeros((1, 5), np.float32)}, 1),
        ({**ONE, "labels": np.zeros(1, np.int64)}, 1),
        ({**ONE, "labels": np.full(1, 3)}, 1),
        (ONE, 2),
        ({"logits": np.zeros((1, 3, 5)), "pred_boxes": np.zeros((1, 3, 4))}, 1),
        ({"logits": np.zeros((1, 3, 3)), "pred_boxes": np.zeros((1, 2, 4))}, 1),
    ],
)
def test_outputs_of_another_task_are_refused(outputs: dict[str, np.ndarray], pictures: int) -> None:
    about = [{"size": (10, 10), "scaled": (10, 10)}] * pictures
    with pytest.raises(ModelError, match="is needed"):
        task("object-detection", LABELS).answers(
            outputs, batch([None] * pictures, about=about), Plain()
        )


def test_three_hundred_pictures_are_scored_in_seconds() -> None:
    answers, truths = made(300, each=90, classes=20)
    start = time.perf_counter()
    by_name(task("object-detection").scores(answers, truths))
    assert time.perf_counter() - start < 20
