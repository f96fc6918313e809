"""One decoded picture -> the float32 array that the model takes.

Step by step what torchvision's transforms do to a PIL image, without torch.
"""

from __future__ import annotations

import re
from io import BytesIO
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interop.errors import ConfigError, DataError
from interop.facts import Preprocessing

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# The formats that hold photographs and that Pillow has long read from strangers.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}
# Pillow clips these to 255 when it converts them, which turns most pictures white.
_DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def read(path: Path) -> bytes:
    """A sample's file as it lies there. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror or type(error).__name__})"
        fix = "put the file there, or take it out of the data set"
        raise DataError(what, where=str(path), fix=fix) from None


def decode(data: bytes, *, where: str) -> Image.Image:
    """The picture in `data`; DataError, naming `where`, if it is none or holds over 8 bits."""
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        why = re.sub(r"\s*<[^<>]* object at 0x[^<>]*>", "", str(error)) or type(error).__name__
        what = f"cannot be read as a PNG, JPEG, BMP or WebP picture ({why})"
        fix = "replace the file or take it out of the data folder"
        raise DataError(what, where=where, fix=fix) from None
    if picture.mode in _DEEP:
        what = f"has more than 8 bits a channel (mode {picture.mode})"
        fix = "convert it to 8 bits; the preprocessing divides by 255"
        raise DataError(what, where=where, fix=fix)
    return picture


def check(how: Preprocessing) -> None:
    """ConfigError where a description cannot be followed."""
    fault = ""
    if how.color not in _CHANNELS:
        fault = f"color {how.color!r} is not one of {', '.join(_CHANNELS)}"
    elif how.interpolation not in _FILTERS:
        fault = f"interpolation {how.interpolation!r} is not one of {', '.join(_FILTERS)}"
    elif len(how.resize) not in (1, 2) or min(how.resize) < 1:
        fault = f"resize {list(how.resize)} is neither [shorter side] nor [height, width]"
    elif {len(how.mean), len(how.std)} - {1, _CHANNELS[how.color]}:
        fault = f"mean and std need 1 or {_CHANNELS[how.color]} numbers for {how.color}"
    elif not all(how.std):
        fault = "std holds a zero"
    elif not (isfinite(how.scale) and how.scale > 0):
        fault = f"scale {how.scale} is not above 0"
    if fault:
        fix = "correct the preprocessing"
        raise ConfigError(fault, where=how.source or "preprocessing", fix=fix)


def prepare(picture: Image.Image, how: Preprocessing) -> NDArray[np.float32]:
    """The picture as the model's input: float32 of shape (channels, height, width).

    The steps of `facts.Preprocessing`, in its order. A side that follows from the shorter one is
    rounded down, and a crop larger than the picture pads with black, as torchvision does both.
    """
    color = "RGB" if how.color == "BGR" else how.color
    picture = _crop(_resize(picture.convert(color), how), how.crop)
    pixels = np.asarray(picture, dtype=np.float32)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    pixels = pixels[::-1] if how.color == "BGR" else pixels
    mean, std = (np.asarray(v, dtype=np.float32)[:, None, None] for v in (how.mean, how.std))
    return np.ascontiguousarray((scaled(pixels, how.scale) - mean) / std)


def scaled(pixels: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Pixels times `scale`; the usual 1/255 as a division by 255, as libraries write it."""
    return pixels / np.float32(255) if scale == 1 / 255 else pixels * np.float32(scale)


def _resize(picture: Image.Image, how: Preprocessing) -> Image.Image:
    width, height = picture.size
    if len(how.resize) == 2:
        goal = (how.resize[1], how.resize[0])
    elif width <= height:
        goal = (how.resize[0], int(how.resize[0] * height / width))
    else:
        goal = (int(how.resize[0] * width / height), how.resize[0])
    if goal == picture.size:
        return picture
    if not how.antialias and how.interpolation != "nearest":
        return _sampled(picture, goal, how.interpolation)
    # Pillow's bilinear and bicubic filters widen with the reduction: that is the antialiasing.
    return picture.resize(goal, _FILTERS[how.interpolation])


def _sampled(picture: Image.Image, goal: tuple[int, int], interpolation: str) -> Image.Image:
    """The picture at `goal` (width, height) without antialiasing: each pixel of the 2 or 4 nearest
    a side, as torch.nn.functional.interpolate(align_corners=False) takes them."""
    pixels = np.asarray(picture, dtype=np.float64)
    for axis, size in ((0, goal[1]), (1, goal[0])):
        pixels = np.moveaxis(_along(np.moveaxis(pixels, axis, 0), size, interpolation), 0, axis)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), picture.mode)


def _along(pixels: NDArray[np.float64], size: int, interpolation: str) -> NDArray[np.float64]:
    have = len(pixels)
    place = (np.arange(size) + 0.5) * (have / size) - 0.5
    if interpolation == "bilinear":
        place = np.maximum(place, 0)
    first = np.floor(place).astype(np.int64)
    part = place - first
    taps = {0: 1 - part, 1: part} if interpolation == "bilinear" else _cubic(part)
    shape = (-1,) + (1,) * (pixels.ndim - 1)
    rows = ((pixels[np.clip(first + k, 0, have - 1)], w.reshape(shape)) for k, w in taps.items())
    return sum((row * weight for row, weight in rows), np.zeros((size, *pixels.shape[1:])))


def _cubic(part: NDArray[np.float64], a: float = -0.75) -> dict[int, NDArray[np.float64]]:
    """Keys' cubic convolution (1981) with torch's coefficient, by the pixel's distance."""
    near = {k: (a + 2) * x**3 - (a + 3) * x**2 + 1 for k, x in ((0, part), (1, 1 - part))}
    far = {k: a * (x**3 - 5 * x**2 + 8 * x - 4) for k, x in ((-1, part + 1), (2, 2 - part))}
    return {**near, **far}


def _crop(picture: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if size is None:
        return picture
    height, width = size
    if picture.width < width or picture.height < height:
        # The margins are rounded like torchvision's: the odd pixel goes to the right and bottom.
        canvas = (max(width, picture.width), max(height, picture.height))
        padded = Image.new(picture.mode, canvas)
        padded.paste(picture, ((canvas[0] - picture.width) // 2, (canvas[1] - picture.height) // 2))
        picture = padded
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))
