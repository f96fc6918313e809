"""Two preparations of images -> in what their numbers differ.

The standard library alone: the gate compares measured preparations without numpy.
"""

from __future__ import annotations

from interop.facts import Preprocessing

NUMBERS, COLOR = "scale, mean and std", "order of colours"
# Of the range of a channel: the mean and std of two data sets, or of two samples of one, differ by
# less, and the families of numbers that people use by more.
_FAR = 0.2
_BYTES = 255


def apart(a: Preprocessing, b: Preprocessing, *, color: bool = True) -> tuple[str, ...]:
    """Return in what two preparations differ by more than two samples of the same data would.

    `color` says whether the order of colours counts.
    """
    ours, theirs = _ends(a), _ends(b)
    pairs = [(x, theirs[n % len(theirs)]) for n, x in enumerate(ours)]
    found = [NUMBERS] if any(_far(x, y) for x, y in pairs) else []
    turned = {a.color, b.color} == {"RGB", "BGR"}
    return (*found, *([COLOR] if color and turned else []))


def in_words(how: Preprocessing) -> str:
    """Return the size and the numbers of a preparation in a few words."""
    size = "x".join(map(str, how.crop or how.resize))
    mean, std = ("/".join(f"{v:.3g}" for v in values) for values in (how.mean, how.std))
    scale = "" if how.scale == 1 / _BYTES else f" scale {how.scale:g}"
    return f"{how.color} {size}{scale} mean {mean} std {std}"


def _ends(how: Preprocessing) -> list[tuple[float, float]]:
    """What becomes of a pixel of 0 and of one of 255, a pair a channel from red to blue."""
    pairs = zip(how.mean, how.std, strict=False)
    ends = [(-mean / std, (_BYTES * how.scale - mean) / std) for mean, std in pairs]
    return ends[::-1] if how.color == "BGR" else ends


def _far(x: tuple[float, float], y: tuple[float, float]) -> bool:
    most = max(abs(x[1] - x[0]), abs(y[1] - y[0]))
    return any(abs(p - q) > _FAR * most for p, q in zip(x, y, strict=True))
