"""Sets of detections are compared one to one, whatever their order, and nothing slips through."""

from dataclasses import replace

import numpy as np
import pytest

from interop.models.signature import Argument, Signature
from interop.proof import Feed, parity
from interop.proof.parity import Reference, differences
from interop.stats.detections import SAME, apart

NAMES = ("boxes", "scores", "labels")
BOXES = np.array(
    [[10, 10, 50, 60], [12, 9, 52, 61], [100, 40, 160, 90], [5, 100, 45, 180]], np.float32
)
SCORES = np.array([0.9, 0.7, 0.6, 0.3], np.float32)
LABELS = np.array([1, 2, 1, 3])
FOUND = (BOXES, SCORES, LABELS)


def changed(which, row, value):
    arrays = [a.copy() for a in FOUND]
    arrays[NAMES.index(which)][row] = value
    return tuple(arrays)


def test_the_same_set_in_any_order_is_alike():
    random = np.random.default_rng(0)
    for _ in range(10):
        order = random.permutation(4)
        found = apart([a[order] for a in FOUND], FOUND, NAMES)
        assert (found.relative, found.alone, found.count) == (0, 0, 4)


def test_order_of_the_outputs_is_that_of_their_names():
    turned = (LABELS, BOXES, SCORES)
    found = apart(turned, turned, ("labels", "boxes", "scores"))
    assert (found.relative, found.alone) == (0, 0)


def test_a_lost_detection_stands_alone_on_either_side():
    fewer = tuple(a[:3] for a in FOUND)
    for pair in ((fewer, FOUND), (FOUND, fewer)):
        found = apart(*pair, NAMES)
        assert (found.relative, found.alone, found.count) == (0, 1, 4)
    none = tuple(a[:0] for a in FOUND)
    assert apart(none, FOUND, NAMES).alone == 4
    assert apart(none, none, NAMES).count == 0


def test_another_label_is_no_partner_however_well_it_lies():
    assert apart(changed("labels", 0, 3), FOUND, NAMES).alone == 2


def test_a_moved_box_is_as_far_as_it_moved_or_alone():
    little = apart(changed("boxes", 3, [5, 100, 45, 181]), FOUND, NAMES)
    assert little.alone == 0
    assert little.relative == pytest.approx(1 / 180)
    far = apart(changed("boxes", 3, [5, 120, 45, 200]), FOUND, NAMES)
    assert (far.alone, far.relative) == (2, 0)


def test_another_score_is_as_far_as_it_differs():
    found = apart(changed("scores", 2, 0.51), FOUND, NAMES)
    assert found.alone == 0
    assert found.relative == pytest.approx(0.09 / 0.9, rel=1e-5)


def test_a_near_tie_that_changes_places_is_alike():
    """Two scores a rounding apart: each runtime sorts them its own way."""
    ours, theirs = (changed("scores", 1, s) for s in (0.9 + 1e-7, 0.9 - 1e-7))
    order = [1, 0, 2, 3]
    found = apart([a[order] for a in ours], theirs, NAMES)
    assert found.alone == 0
    assert found.relative < 1e-6


def test_of_two_that_overlap_each_gets_its_own():
    """Two boxes of one label that cover one another to more than SAME are not taken crosswise."""
    boxes = np.array([[0, 0, 100, 100], [0, 0, 100, 98]], np.float32)
    assert SAME < 0.98
    found = (boxes, np.array([0.8, 0.79], np.float32), np.array([1, 1]))
    turned = [a[::-1] for a in found]
    assert apart(turned, found, NAMES) == apart(found, found, NAMES)


def test_boxes_of_no_area_are_alike_where_they_are_equal():
    boxes = np.array([[3, 3, 3, 9], [7, 2, 7, 2]], np.float32)
    found = (boxes, np.array([0.4, 0.2], np.float32), np.array([1, 1]))
    assert apart(found, found, NAMES).alone == 0


def test_masks_count():
    masks = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    names = (*NAMES, "masks")
    assert apart((*FOUND, masks), (*FOUND, masks), names).relative == 0
    other = masks.copy()
    other[2] *= 1.1
    assert apart((*FOUND, other), (*FOUND, masks), names).relative > 0.09


def test_the_rim_of_a_mask_that_moves_by_a_pixel_weighs_as_much_as_it_is():
    masks = np.zeros((4, 1, 40, 40), np.float32)
    masks[:, :, 5:35, 5:35] = 1
    names, moved = (*NAMES, "masks"), masks.copy()
    moved[1, 0, 5:35, 35] = 1
    assert apart((*FOUND, moved), (*FOUND, masks), names).relative == pytest.approx(30 / 900)
    gone = masks.copy()
    gone[1] = 0
    assert apart((*FOUND, gone), (*FOUND, masks), names).relative == pytest.approx(1)


def test_a_key_point_that_jumps_is_counted_and_one_that_moves_is_measured():
    names = (*NAMES, "keypoints")
    points = np.random.default_rng(0).random((4, 17, 3), dtype=np.float32) * 100
    moved, jumped = points.copy(), points.copy()
    moved[2, 3, 0] += 0.05
    jumped[2, 3, 0] += 30
    found = apart((*FOUND, moved), (*FOUND, points), names)
    assert found.alone == 0 and found.relative == pytest.approx(0.05 / points.max(), rel=1e-3)
    found = apart((*FOUND, jumped), (*FOUND, points), names)
    assert found.alone == 1 and found.relative == 0


# ---------------------------------------------------------------- within parity

PICTURE = {"image": np.zeros((3, 8, 8), np.float32)}
HELD = Reference(
    (PICTURE,), (FOUND,), (FOUND,), ((1e-5,),), (1e-6,), "float64", labels=("input 1",),
    sets=NAMES,
)  # fmt: skip


class Gives:
    """A runtime of one answer."""

    device = "cpu"

    def __init__(self, *outputs):
        self.answer = outputs

    def outputs(self, batch):
        return self.answer


def test_parity_holds_for_a_permuted_set_and_counts_it():
    proof = parity(HELD, Gives(*(a[[2, 0, 3, 1]] for a in FOUND)))
    assert proof.holds
    assert proof.facts["detections"] == [4]
    assert "4 detections matched as sets" in proof.what
    assert "flips" not in proof.facts


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (tuple(a[:3] for a in FOUND), "1 detections of 4 have no partner"),
        (changed("labels", 0, 2), "2 detections of 4"),
        (changed("boxes", 0, [30, 30, 70, 80]), "2 detections of 4"),
        (changed("boxes", 3, [5, 100, 45, 180.5]), "apart, where"),
        (changed("scores", 0, 0.91), "apart, where"),
        (changed("scores", 0, np.nan), "not finite"),
        (FOUND[:2], "not all"),
        ((FOUND[0][:1], *FOUND[1:]), "as many of each are wanted"),
    ],
)
def test_parity_fails_for_what_is_no_equal_set(outputs, said):
    proof = parity(HELD, Gives(*outputs))
    assert not proof.holds
    assert proof.what.startswith("input 1: ")
    assert said in proof.what


def test_as_many_may_be_alone_as_native_is_unsure_of():
    held = replace(HELD, alone=1)
    fewer, fewest = (tuple(a[:n] for a in FOUND) for n in (3, 2))
    assert all(d.holds for d in differences(held, lambda b: fewer))
    assert not any(d.holds for d in differences(held, lambda b: fewest))


def test_where_nothing_is_found_nothing_is_proved():
    none = tuple(a[:0] for a in FOUND)
    held = replace(HELD, native=(none,), truth=(none,))
    proof = parity(held, Gives(*none))
    assert not proof.holds
    assert "give pictures with --data" in proof.what


def test_a_feed_of_single_pictures_has_two():
    feed = Feed(Signature((Argument("image", (3, "h", "w"), draw="unit"),), {"h": 8, "w": 8}))
    found = feed.batches()
    assert [label for label, _ in found] == ["input 1", "input 2"]
    assert {b["image"].shape for _, b in found} == {(3, 8, 8)}
    assert not np.array_equal(found[0][1]["image"], found[1][1]["image"])


def test_the_last_of_a_cut_list_may_be_another_of_the_same_score():
    """Which of two equal ones is cut off, rounding decides; in the midst of a list it does not."""
    at = np.arange(100, dtype=np.float32) * 50
    boxes = np.stack([at, at, at + 40, at + 40], axis=1)
    scores, labels = np.linspace(0.9, 0.1, 100, dtype=np.float32), np.ones(100, np.int64)
    whole = (boxes, scores, labels)

    def moved(row):
        other = boxes.copy()
        other[row] = [9000, 9000, 9040, 9040]
        return (other, scores, labels)

    cut, midst = apart(moved(99), whole, NAMES), apart(moved(50), whole, NAMES)
    assert (cut.alone, cut.ties) == (0, 1)
    assert (midst.alone, midst.ties) == (2, 0)
    short = tuple(a[1:] for a in whole)
    assert apart(tuple(a[1:] for a in moved(99)), short, NAMES).alone == 2
