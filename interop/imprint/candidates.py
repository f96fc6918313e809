"""The preparations that are tried: scales, means, orders of colours, sizes and filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interop.facts import Preprocessing

Array = NDArray[np.float64]
# Sides of the input of published models, and of the data sets that small ones are trained on.
SIZES = (28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 512)
FILTERS = (("bilinear", True), ("bilinear", False), ("bicubic", True), ("bicubic", False),
           ("nearest", False))  # fmt: skip
CROPPED = 0.875  # of the shorter side: resize to 256, crop 224
BYTES = 255.0
OWN, FITTED = "the images' own mean and std", "fitted"
RESIZED = f"{OWN} once resized"
INVERTED, REVERSED = "inverted, ", ", in reverse order"
AS_THEY_ARE = "as they are"
# Planes of 0 to 1 as a model may take them: the mean that is subtracted and the std divided by.
_NUMBERS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0 to 1": ((0.0,) * 3, (1.0,) * 3),
    "ImageNet mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CLIP mean and std": ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)),
    "CIFAR mean and std": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "-1 to 1": ((0.5,) * 3, (0.5,) * 3),
    "0 to 255": ((0.0,) * 3, (1 / BYTES,) * 3),
    "0 to 255 less ImageNet's mean": ((0.485, 0.456, 0.406), (1 / BYTES,) * 3),
    "0 to 255 less 104, 117, 123": ((123 / BYTES, 117 / BYTES, 104 / BYTES), (1 / BYTES,) * 3),
    "0 to 1 over 255": ((0.0,) * 3, (BYTES,) * 3),
}
_GRAY = {"MNIST mean and std": ((0.1307,), (0.3081,))}


@dataclass(frozen=True, slots=True)
class Numbers:
    """A family of scales by name: planes of 0 to 1 become a x + b, each (channels,)."""

    name: str
    a: Array
    b: Array

    @property
    def wide(self) -> bool:
        """Whether the inputs are of the scale of 0 to 255."""
        return bool(np.abs(self.a).mean() > BYTES**0.75)


def numbers(own: Sequence[tuple[Array, Array]], color: str, *, raw: bool = True) -> list[Numbers]:
    """Return the families for planes in the order of `color`.

    `own` are the images' own mean and std, each (channels,) in that order: as they lie there, and
    once they are resized. Planes that are not `raw` were prepared by somebody: as they are, or on
    another scale.
    """
    channels = len(own[0][0])
    if not raw:
        ones = np.ones(channels)
        scales = {AS_THEY_ARE: 1.0, "times 255": BYTES, "over 255": 1 / BYTES}
        return [Numbers(name, ones * a, 0 * ones) for name, a in scales.items()]
    known = {n: (np.array(m), np.array(s)) for n, (m, s) in _NUMBERS.items()}
    if channels == 1:
        gray = {n: (m.mean(keepdims=True), s.mean(keepdims=True)) for n, (m, s) in known.items()}
        known = {**gray, **{n: (np.array(m), np.array(s)) for n, (m, s) in _GRAY.items()}}
    if color == "BGR":
        known = {n: (m[::-1], s[::-1]) for n, (m, s) in known.items()}
    known |= dict(zip((OWN, RESIZED), own, strict=False))
    plain = [Numbers(n, 1 / s, -m / s) for n, (m, s) in known.items()]
    # 1 - x in place of x: white on black, or black on white.
    inverted = [Numbers(INVERTED + n.name, -n.a, n.a + n.b) for n in plain]
    # The numbers of RGB on planes of BGR, or the other way round: a frequent mistake.
    swapped = [Numbers(n.name + REVERSED, n.a[::-1], n.b[::-1]) for n in plain
               if n.a[0] != n.a[-1] or n.b[0] != n.b[-1]]  # fmt: skip
    return [*plain, *inverted, *swapped]


def preprocessing(geometry: Preprocessing, of: Numbers, color: str) -> Preprocessing:
    """Return the whole preparation; numbers are in the planes' order of `color`."""
    bytes_ = of.wide
    scale = 1.0 if bytes_ else 1 / 255
    std = (BYTES if bytes_ else 1.0) / of.a
    mean = -of.b / of.a * (BYTES if bytes_ else 1.0)
    return replace(
        geometry, color=color, scale=scale,
        mean=tuple(float(round(m, 6)) for m in mean), std=tuple(float(round(s, 6)) for s in std),
    )  # fmt: skip


def affine(how: Preprocessing) -> tuple[Array, Array]:
    """Return a and b of a preparation, of planes of 0 to 1 in its own order of colours."""
    ones = np.ones(how.channels)
    std, mean = np.asarray(how.std) * ones, np.asarray(how.mean) * ones
    return BYTES * how.scale / std, -mean / std


def geometries(sizes: Sequence[int]) -> Iterator[Preprocessing]:
    """Yield squares of those sizes, made by the usual filter and without numbers."""
    for size in sizes:
        yield Preprocessing(resize=(size, size), mean=(0.0,), std=(1.0,))


def filters(geometry: Preprocessing) -> list[Preprocessing]:
    """Return the same size by each of the filters."""
    return [replace(geometry, interpolation=i, antialias=a) for i, a in FILTERS]


def cropped(geometry: Preprocessing) -> Preprocessing:
    """Return the same size as a square from the middle of a larger image."""
    assert geometry.size is not None
    height, width = geometry.size
    return replace(geometry, resize=(int(min(height, width) / CROPPED),), crop=(height, width))


def in_words(how: Preprocessing) -> str:
    """The mean and std of a preparation, in units of its scale."""
    parts = []
    for word, values in (("mean", how.mean), ("std", how.std)):
        rounded = [f"{v:.3g}" for v in values]
        parts.append(f"{word} {rounded[0] if len(set(rounded)) == 1 else ' '.join(rounded)}")
    scale = "pixels of 0 to 255" if how.scale == 1 else "pixels of 0 to 1"
    return f"{scale}, {', '.join(parts)}"
