"""COCO's form: corners from sizes, categories by name, and faults with their annotation."""

import json

import pytest
from PIL import Image

from interop.data.detection import CocoBoxes
from interop.errors import DataError

BOX = {"id": 7, "image_id": 2, "category_id": 9, "bbox": [1, 2, 3, 4.5], "iscrowd": 0}
GOOD = {
    "images": [{"id": 2, "file_name": "a.png"}, {"id": 5, "file_name": "b.png"}],
    "annotations": [
        BOX,
        {**BOX, "id": 8, "category_id": 4, "iscrowd": 1},
        {**BOX, "id": 9, "bbox": [0, 0, 0, 5]},
    ],
    "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}, {"id": 11, "name": "owl"}],
}


def a_set(root, content=GOOD, name="annotations.json"):
    (root / "images").mkdir(exist_ok=True)
    for file in ("a.png", "b.png"):
        Image.new("L", (20, 10)).save(root / "images" / file)
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def test_boxes_are_corners_and_classes_the_models_by_name(tmp_path):
    data = CocoBoxes(a_set(tmp_path), ["__background__", "dog", "cat"])
    first, second = data.records()
    assert first.raw.size == (20, 10)
    assert first.truth.boxes.tolist() == [[1, 2, 4, 6.5]] * 2
    assert first.truth.labels.tolist() == [1, 2]
    assert first.truth.crowd.tolist() == [False, True]
    assert second.truth.boxes.shape == (0, 4)
    assert data.ignored == 1  # the box without a width
    assert [r.name for r in data.records([1])] == ["b.png"]
    assert next(CocoBoxes(tmp_path).records()).truth.labels.tolist() == [9, 4]


def test_the_file_itself_or_the_only_one_will_do(tmp_path):
    a_set(tmp_path, name="instances.json")
    assert len(CocoBoxes(tmp_path)) == len(CocoBoxes(tmp_path / "instances.json")) == 2
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds instances\.json, other\.json"):
        CocoBoxes(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not in COCO's form"),
        ({"images": []}, "not in COCO's form .*categories"),
        ({**GOOD, "images": []}, "lists no picture"),
        ({**GOOD, "annotations": [{**BOX, "bbox": [1, 2, -3, 4]}]}, "annotation 7: its bbox"),
        ({**GOOD, "annotations": [{**BOX, "bbox": [1, 2]}]}, "annotation 7: its bbox"),
        ({**GOOD, "annotations": [{**BOX, "category_id": 1}]}, "not in COCO's form"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        CocoBoxes(a_set(tmp_path, content), ["dog", "cat"])


def test_a_category_that_the_model_has_not_is_named(tmp_path):
    with pytest.raises(DataError, match="categories do not match the labels: 'dog' is no label"):
        CocoBoxes(a_set(tmp_path), ["cat", "hound"])


def test_a_missing_picture_is_named(tmp_path):
    (a_set(tmp_path) / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: cannot be read"):
        list(CocoBoxes(tmp_path).records())
