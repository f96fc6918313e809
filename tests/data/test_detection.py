"""COCO's form: corners from sizes, categories by name, and faults with their annotation."""

import json

import pytest
from PIL import Image

from interop.data import open_data
from interop.data.detection import CocoBoxes, VocBoxes
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


VOC = """<annotation><folder>x</folder><filename>C:\\\\pictures\\\\{name}.png</filename>
<size><width>20</width><height>10</height><depth>3</depth></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><pose>Left</pose><difficult>{hard}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"""


def a_voc(root, first=((1, 1, 4, 6), "dog", 0), text=None):
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(exist_ok=True)
    objects = [first, ((2, 3, 20, 10), "cat", 1), ((9, 9, 4, 9), "cat", 0)]
    made = "".join(OBJECT.format(box=b, name=n, hard=h) for b, n, h in objects)
    for name, inner in (("a", made), ("b", "")):
        Image.new("L", (20, 10)).save(root / "JPEGImages" / f"{name}.png")
        written = VOC.format(name=name, objects=inner).replace("\\\\", "\\")
        (root / "Annotations" / f"{name}.xml").write_text(text or written)
    return root


def test_voc_counts_pixels_from_one_and_its_difficult_ones_neither_way(tmp_path):
    data = open_data(a_voc(tmp_path), "object-detection", ["__background__", "dog", "cat"])
    assert isinstance(data, VocBoxes) and len(data) == 2
    first, second = data.records()
    assert (first.name, first.raw.size) == ("a.png", (20, 10))
    assert first.truth.boxes.tolist() == [[0, 0, 4, 6], [1, 2, 20, 10]]
    assert first.truth.labels.tolist() == [1, 2]
    assert first.truth.crowd.tolist() == [False, True]
    assert second.truth.boxes.shape == (0, 4) and data.ignored == 1
    assert [r.name for r in data.records([1])] == ["b.png"]
    assert next(VocBoxes(tmp_path).records()).truth.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="'cat' is no label"):
        VocBoxes(tmp_path, ["dog"])


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>
<annotation><filename>&c;</filename></annotation>"""
OUTSIDE = """<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotation/>"""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": BOMB}, "a.xml: declares a document type"),
        ({"text": OUTSIDE}, "a.xml: declares a document type"),
        ({"text": "<annotation>"}, "a.xml: cannot be read as XML"),
        ({"text": "<annotation>&undeclared;</annotation>"}, "cannot be read as XML"),
        ({"text": " " * (1 << 22) + "<a/>"}, "is larger than"),
        ({"first": ((1, "", 3, 4), "dog", 0)}, "a.xml, object 1: its bndbox holds 1, nothing, 3"),
        ({"first": ((1, "inf", 3, 4), "dog", 0)}, "object 1: its bndbox holds 1, inf"),
        ({"first": ((1, 2, 3, 4), "", 0)}, "object 1: has no name"),
    ],
)
def test_a_fault_in_vocs_xml_names_its_file(tmp_path, given, said):
    with pytest.raises(DataError, match=said):
        VocBoxes(a_voc(tmp_path, **given))


def test_a_voc_folder_that_lacks_a_part_says_which(tmp_path):
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match="holds no XML"):
        VocBoxes(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="has no JPEGImages/"):
        VocBoxes(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match=r"a\.jpg"):
        next(VocBoxes(tmp_path).records())
