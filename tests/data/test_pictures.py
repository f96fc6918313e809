"""`prepare` does what its noun says, which is what torchvision's transforms do."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from interop.data import pictures
from interop.errors import ConfigError, DataError
from interop.facts import Preprocessing

IMAGENET = Preprocessing(
    resize=(256,), crop=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
GRAY = Preprocessing(resize=(28, 28), mean=(0.1307,), std=(0.3081,), color="L")


def torchvisions(how):
    """The same preprocessing by torchvision's version 2 transforms."""
    steps = [
        v2.Grayscale() if how.color == "L" else v2.RGB(),
        v2.Resize(list(how.resize), InterpolationMode(how.interpolation), antialias=True),
    ]
    if how.crop:
        steps.append(v2.CenterCrop(how.crop))
    steps += [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*steps, v2.Normalize(list(how.mean), list(how.std))])


@pytest.mark.parametrize("size", [(300, 451), (451, 300), (224, 224), (31, 8), (8, 8), (257, 259)])
@pytest.mark.parametrize(
    "how",
    [
        IMAGENET,
        replace(IMAGENET, interpolation="bicubic"),
        replace(IMAGENET, interpolation="nearest", crop=None),
        replace(IMAGENET, resize=(64, 96), crop=(63, 61)),
        replace(IMAGENET, resize=(96,), crop=(131, 100)),
        GRAY,
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_it_agrees_with_torchvision(size, how, mode):
    shape = (size[1], size[0], len(mode))
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = Image.fromarray(noise.squeeze(), mode)
    ours = pictures.prepare(picture, how)
    if mode == "RGBA":  # torchvision's Grayscale keeps no alpha either
        picture = picture.convert("RGB")
    theirs = torchvisions(how)(picture).numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_blue_may_come_first_and_pixels_be_scaled_otherwise():
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    bare = replace(IMAGENET, resize=(8, 8), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    plain = pictures.prepare(picture, bare)
    np.testing.assert_array_equal(
        pictures.prepare(picture, replace(bare, color="BGR")), plain[::-1]
    )
    whole = pictures.prepare(picture, replace(bare, scale=1.0))
    np.testing.assert_allclose(whole, plain * 255, atol=1e-4)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(7, 9), (40, 61), (20, 5)])
def test_without_antialiasing_it_agrees_with_torch(mode, size):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    how = replace(IMAGENET, resize=size, crop=None, interpolation=mode, antialias=False,
                  mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0)  # fmt: skip
    ours = pictures.prepare(Image.fromarray(noise), how)
    given = torch.from_numpy(noise).permute(2, 0, 1)[None].double()
    theirs = torch.nn.functional.interpolate(given, size, mode=mode, align_corners=False)
    np.testing.assert_allclose(ours, theirs[0].clamp(0, 255).numpy(), atol=0.51)
    smooth = pictures.prepare(Image.fromarray(noise), replace(how, antialias=True))
    assert size == (40, 61) or np.abs(smooth - ours).max() > 20


@pytest.mark.parametrize(
    "change",
    [
        {"color": "HSV"},
        {"scale": 0.0},
        {"interpolation": "lanczos"},
        {"resize": ()},
        {"resize": (0, 4)},
        {"mean": (0.5, 0.5)},
        {"std": (0.0, 0.1, 0.1)},
    ],
)
def test_what_cannot_be_followed_is_refused(change):
    with pytest.raises(ConfigError):
        pictures.check(replace(IMAGENET, **change))


def test_sixteen_bits_are_refused_and_not_clipped():
    buffer = BytesIO()
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(buffer, "PNG")
    with pytest.raises(DataError, match="more than 8 bits"):
        pictures.decode(buffer.getvalue(), where="deep.png")


def test_a_broken_picture_is_told_without_pythons_innards():
    with pytest.raises(DataError, match="cannot identify image file") as error:
        pictures.decode(b"\x89PNG\r\n\x1a\nnot one", where="broken.png")
    assert "0x" not in str(error.value)
    assert "BytesIO" not in str(error.value)
