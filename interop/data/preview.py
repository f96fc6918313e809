"""A record -> what a page shows of it: a small picture, or a few words."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from interop.data.base import Preview, Record, Sound

SIDE = 96  # pixels
LETTERS = 300


def preview(record: Record) -> Preview:
    """A picture as a PNG of at most 96 pixels a side; the first 300 characters of a text; of a
    sound its name, its seconds and its waveform. Arrays have a name alone."""
    raw = record.raw
    if isinstance(raw, Image.Image):
        small = raw.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        return Preview(_png(small))
    if isinstance(raw, Sound):
        seconds = len(raw.samples) / raw.rate
        return Preview(_png(waveform(raw)), f"{record.name}, {seconds:.2f} s")
    if isinstance(raw, str):
        return Preview(text=_cut(raw))
    if isinstance(raw, tuple):
        # A question comes before its context, words in their order.
        return Preview(text=_cut(" ".join(map(str, raw))))
    return Preview(text=record.name)


def waveform(sound: Sound) -> Image.Image:
    """The sound from left to right, as loud as it is high; 96 x 32 pixels, dark on white."""
    width, height = SIDE, SIDE // 3
    loudest = float(np.abs(sound.samples).max()) or 1.0
    drawn = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(drawn)
    for x, part in enumerate(np.array_split(sound.samples, width)):
        if len(part):
            top, bottom = (height - 1) / 2 * (1 - np.array([part.max(), part.min()]) / loudest)
            draw.line((x, int(top), x, int(bottom)), fill=60)
    return drawn


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1].rstrip() + "…"


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
