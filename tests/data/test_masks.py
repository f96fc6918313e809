"""Pictures and masks are found by name, and a mask that cannot be one is refused."""

import numpy as np
import pytest
from PIL import Image

from interop.data.masks import MaskFolder
from interop.errors import DataError

MASK = np.array([[0, 1, 255], [2, 2, 0]], dtype=np.uint8)


def a_set(root, mask=None):
    for folder in ("images", "masks"):
        (root / folder / "x").mkdir(parents=True)
    for name in ("x/b.jpg", "a.bmp"):
        Image.new("RGB", (3, 2), (9, 9, 9)).save(root / "images" / name)
        made = (mask or Image.fromarray(MASK)).copy()
        made.save(root / "masks" / name.replace(".jpg", ".png").replace(".bmp", ".png"))
    return root


def test_a_mask_is_class_numbers_of_its_picture(tmp_path):
    data = MaskFolder(a_set(tmp_path), ["a", "b", "c"])
    (tmp_path / "masks" / "lone.png").write_bytes(b"")
    assert [r.name for r in data.records()] == ["images/a.bmp", "images/x/b.jpg"]
    for record in data.records([1]):
        assert record.raw.size == (3, 2)
        assert np.array_equal(record.truth, MASK)
    assert MaskFolder(tmp_path).ignored == 1


def test_a_palette_is_its_numbers_and_not_its_colours(tmp_path):
    drawn = Image.fromarray(MASK).convert("L")
    drawn.putpalette([200] * 768)
    (first, _) = MaskFolder(a_set(tmp_path, drawn), ["a", "b", "c"]).records()
    assert np.array_equal(first.truth, MASK)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (Image.new("RGB", (3, 2)), "in colours"),
        (Image.new("L", (2, 2)), "is 2x2, its picture 3x2"),
        (Image.fromarray(MASK + 3), "class is number 5, and the model has 3 labels"),
    ],
)
def test_what_is_no_mask_is_named(tmp_path, mask, said):
    with pytest.raises(DataError, match=rf"masks/a\.png: .*{said}"):
        list(MaskFolder(a_set(tmp_path, mask), ["a", "b", "c"]).records())


def test_what_lacks_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no folder images/"):
        MaskFolder(tmp_path)
    (a_set(tmp_path) / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.bmp: has no mask masks/a\.png"):
        MaskFolder(tmp_path)
