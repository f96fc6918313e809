"""What a page shows of a record is small, and is of that record."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from interop.data.base import Record, Sound
from interop.data.preview import LETTERS, preview


def of(raw):
    return preview(Record("clip 1", "", raw, None))


def test_a_picture_keeps_its_form():
    shown = Image.open(BytesIO(of(Image.new("RGBA", (400, 100), (255, 0, 0, 255))).png))
    assert shown.size == (96, 24)
    assert shown.getpixel((5, 5)) == (255, 0, 0)
    assert Image.open(BytesIO(of(Image.new("L", (8, 8))).png)).size == (8, 8)


@pytest.mark.parametrize("raw", ["a" * 1000, ("a" * 10,) * 100])
def test_a_text_is_cut(raw):
    assert len(of(raw).text) == LETTERS
    assert of(raw).text.endswith("…")
    assert of(("why", "so")).text == "why so"


def test_a_sound_is_its_seconds_and_its_waveform():
    loud = np.concatenate([np.zeros(4000), np.tile([0.5, -0.5], 2000)]).astype(np.float32)
    shown = of(Sound(loud, 8000))
    assert shown.text == "clip 1, 1.00 s"
    drawn = np.asarray(Image.open(BytesIO(shown.png)))
    assert drawn.shape == (32, 96)
    dark = (drawn < 128).sum(0)
    assert dark[:47].max() == 1 and dark[49:].min() > 28


def test_silence_and_arrays_have_a_name():
    assert of(Sound(np.zeros(5, np.float32), 8000)).png
    assert of({"x": np.zeros(3)}).text == "clip 1"
