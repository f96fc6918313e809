"""Tensors of a module that nobody knows -> a short tree of its blocks: how many, how wide.

Numbered neighbours that hold the same tensors are one line ("layer.0-11, 12 times"). Keras and
TensorFlow part a path by slashes, and order a weight's axes in their own way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from interop.facts import TensorSpec
from interop.identity.index.lookup import BUFFERS
from interop.patterns import lazy
from interop.records import dataclass

_MOST = 8
_IN_ONE_LAYER = 2  # weights of a recurrent or a separable layer


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """Modules that are alike: `path` of the first to the last, how many, what they hold in all.

    `widths` are the input and output widths of the first and the last matrix in one of them; None
    where it has none.
    """

    path: str
    count: int
    weights: int
    widths: tuple[int, int] | None


def blocks(
    tensors: Sequence[TensorSpec], most: int = _MOST, *, channels_last: bool = False
) -> tuple[BlockSummary, ...]:
    """The blocks in the file's order, opened from the outside while they are fewer than `most`.

    `channels_last` is the Manifest's: how the file orders the axes of its weights.
    """
    step = "/" if channels_last else "."
    widths = _layer_widths if channels_last else _widths
    parts = _runs(_split("", [t for t in tensors if not BUFFERS.search(t.name)], step), step)
    while len(parts) < most:
        if not (open_to := [p for p in parts if p[1] == 1 and len(p[2]) > 2]):
            break
        largest = max(open_to, key=lambda p: sum(t.numel for t in p[2]))
        inner = _runs(_split(largest[0], largest[2], step), step)
        if len(parts) - 1 + len(inner) > most + 2:
            break
        at = parts.index(largest)
        parts[at : at + 1] = inner
    return tuple(
        BlockSummary(path, n, n * sum(t.numel for t in specs), widths(specs))
        for path, n, specs in parts
    )


Part = tuple[str, list[TensorSpec]]


def _split(path: str, tensors: Sequence[TensorSpec], step: str) -> list[Part]:
    parts: dict[str, list[TensorSpec]] = defaultdict(list)
    for t in tensors:
        rest = t.name[len(path) + 1 :] if path else t.name
        token = rest.partition(step)[0]
        parts[f"{path}{step}{token}" if path else token].append(t)
    return list(parts.items())


def _runs(parts: Sequence[Part], step: str) -> list[tuple[str, int, list[TensorSpec]]]:
    """Neighbours that differ in their number alone, together: path, count, one of them."""
    runs: list[tuple[str, int, list[TensorSpec], object]] = []
    for path, specs in parts:
        front, _, token = path.rpartition(step)
        shape = front, token.isdigit(), [(t.name[len(path) :], t.shape) for t in specs]
        if runs and token.isdigit() and runs[-1][3] == shape:
            first, n, one, _ = runs[-1]
            runs[-1] = (f"{first.partition('-')[0]}-{token}", n + 1, one, shape)
        else:
            runs.append((path, 1, specs, shape))
    return [(path, n, specs) for path, n, specs, _ in runs]


def _widths(tensors: Sequence[TensorSpec]) -> tuple[int, int] | None:
    if not (at := [i for i, t in enumerate(tensors) if len(t.shape) >= 2]):
        return None
    before = _inout(tensors, at[-2], 0)[1] if len(at) > 1 else 0
    return _inout(tensors, at[0], 0)[0], _inout(tensors, at[-1], before)[1]


def _inout(tensors: Sequence[TensorSpec], at: int, before: int) -> tuple[int, int]:
    """Inputs and outputs of a matrix or convolution; `before` are the rows of the one before.

    A bias or a norm behind a convolution tells which of its axes the outputs are.
    """
    shape = tensors[at].shape
    behind = tensors[at + 1].shape if at + 1 < len(tensors) else ()
    turned = behind == (shape[1],) or (len(behind) != 1 and before and before == shape[0])
    if len(shape) > 2 and shape[0] != shape[1] and turned:
        return shape[0], shape[1]
    return shape[1], shape[0]


# ---------------------------------------------------------------- Keras and TensorFlow

_SPLITS = lazy(r"(query|key|value)(_dense)?/")  # one vector into those of several heads
_JOINS = lazy(r"(output_dense|attention_output)/")


def _layer_widths(tensors: Sequence[TensorSpec]) -> tuple[int, int] | None:
    """The widths of one layer; None for several, since the file does not order them.

    Biases of attention and of recurrent cells have two axes as well.
    """
    shapes = [t.shape for t in tensors]
    weights = [
        t for t in tensors
        if len(t.shape) >= 2 and not t.name.rpartition("/")[2].startswith("bias")
        and not any(len(s) == 3 and t.shape == s[1:] for s in shapes)
        and not (t.shape[0] == 2 and "cell" in t.name)
    ]  # fmt: skip
    if not weights or len({t.name.rpartition("/")[0] for t in weights}) > 1:
        return None
    if len(weights) > _IN_ONE_LAYER:
        return None
    vectors = [s for s in shapes if len(s) == 1] if len(weights) == 1 else []
    return _taken_given(weights[0], vectors)[0], _taken_given(weights[-1], vectors)[1]


def _taken_given(weight: TensorSpec, vectors: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    """Inputs and outputs of a weight; `vectors` are the shapes of the biases of its layer."""
    *space, taken, given = weight.shape
    if len(space) == 1 and _SPLITS.search(weight.name):
        return space[0], taken * given
    if len(space) == 1 and _JOINS.search(weight.name):
        return space[0] * taken, given
    name = weight.name.lower()
    if not space or "transpose" in name:
        return (given, taken) if space else (taken, given)
    # One output for each input, or a few: the outputs are counted by input.
    few = given == 1 != taken and (given,) not in vectors and max(space) > 1
    if "depthwise" in name or few or (taken * given,) in vectors:
        return taken, taken * given
    turned = (taken,) in vectors and (given,) not in vectors
    return (given, taken) if turned else (taken, given)
