"""The rows of an .npz file as records, for each task that takes them."""

import numpy as np
import pytest

from interop.data.arrays import ArrayData, Inputs
from interop.errors import DataError


def arrays(tmp_path, task, labels, names=("a", "b", "c")):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(6.0).reshape(3, 2), labels=labels)
    return ArrayData(Inputs(path), task, names)


def test_rows_have_their_arrays_their_truth_and_a_hash_of_their_own(tmp_path):
    data = arrays(tmp_path, "image-classification", [2, 0, 1])
    found = list(data.records())
    assert [r.truth for r in found] == [2, 0, 1]
    assert [r.raw["x"].tolist() for r in found] == [[0, 1], [2, 3], [4, 5]]
    assert len({r.sha256 for r in found}) == 3
    assert [r.name for r in data.spread(2)] == ["row 1", "row 3"]


def test_a_number_or_a_mask_where_the_task_has_one(tmp_path):
    assert [r.truth for r in arrays(tmp_path, "regression", [0.5, 1, 2]).records()] == [0.5, 1, 2]
    masks = np.array([[[0, 2], [255, 1]]] * 3)
    (first, *_) = arrays(tmp_path, "image-segmentation", masks).records()
    assert np.array_equal(first.truth, masks[0])


@pytest.mark.parametrize(
    ("task", "labels", "said"),
    [
        ("image-classification", [0.5, 1, 2], "says nothing of image-classification"),
        ("image-segmentation", [0, 1, 2], "says nothing of image-segmentation"),
        ("image-classification", [0, 1, 3], "row 3: its class is number 3"),
        ("image-classification", [0, -1, 2], "row 2: its class is number -1"),
        ("image-segmentation", np.full((3, 2, 2), 7), "row 1: its class is number 7"),
        ("regression", [0, np.nan, 1], "no numbers"),
    ],
)
def test_labels_that_cannot_be_are_an_error(tmp_path, task, labels, said):
    with pytest.raises(DataError, match=said):
        list(arrays(tmp_path, task, labels).records())
