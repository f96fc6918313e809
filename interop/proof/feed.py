"""A signature, and real samples where there are any -> the batches that two runtimes are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from interop.models.signature import BATCH, Argument, Arrays, Signature, drawn, stacked

SIZES = (1, 2, 7)
# Of a video, or a picture of half a million numbers, each row takes a gigabyte on its way through.
FEWER, VAST = (1, 2, 3), 1 << 19
SINGLE = "input"  # what a batch is called where the model takes none
_STEP = 32  # how much longer an axis is tried at that a graph leaves open and nobody named
Shapes = Mapping[str, Sequence[int | str | None]]


@dataclass(frozen=True, slots=True)
class Feed:
    """Inputs of a model: `real` samples (n, ...) of each input by name, else seeded ones.

    `samples` says which they are: "real" or "seeded". `edges` are further sizes of axes, each tried
    by itself where the graph leaves the axis open.
    """

    signature: Signature
    real: Mapping[str, NDArray[Any]] | None = None
    samples: str = "seeded"
    edges: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, arrays: NDArray[Any], samples: str = "seeded") -> Self:
        """The samples (n, ...) of a model of one input, of whatever name."""
        return cls(
            Signature((Argument("input", (BATCH, *arrays.shape[1:])),)),
            {"input": np.ascontiguousarray(arrays)},
            samples,
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that are tried where none is fixed."""
        one = self.example(1)
        return FEWER if sum(a.size for a in one.values()) >= VAST else SIZES

    def batches(self, shapes: Shapes | None = None) -> list[tuple[str, Arrays]]:
        """Batches of 1, 2 and 7 (3 of vast inputs), one after the other, and one of other sizes;
        with what each is.

        `shapes` are a graph's own, an input each: where its batch axis is a number only that size
        is taken, and every other axis that it leaves open has another size in the last batch.
        Fewer real samples than needed are used again. A model of single pictures gets two.
        """
        signature = self.signature
        if not signature.batched:
            found = [(f"{SINGLE} {i + 1}", self._rows([i])) for i in range(2)]
        else:
            fixed = self.fixed_batch(shapes)
            sizes = (fixed,) if fixed else self.sizes
            ends = np.cumsum(sizes)
            found = [
                (str(n), self._rows(range(int(end) - n, int(end))))
                for n, end in zip(sizes, ends, strict=True)
            ]
        return found + self._others(shapes) + self._at_edges(shapes)

    def one(self, shapes: Shapes | None = None) -> Arrays:
        """The first batch alone."""
        return self.batches(shapes)[0][1]

    def example(self, count: int = 2) -> Arrays:
        """What an export is traced on."""
        return self._rows(range(count))

    def fixed_batch(self, shapes: Shapes | None) -> int | None:
        """The size of a graph's batch axis, where it is a number."""
        for argument in self.signature.arguments:
            axes = (shapes or {}).get(argument.name)
            if axes is None and shapes and len(self.signature.arguments) == 1:
                axes = next(iter(shapes.values()))
            if axes and BATCH in argument.axes:
                size = axes[argument.axes.index(BATCH)]
                return size if isinstance(size, int) else None
        return None

    def _rows(self, rows: Sequence[int]) -> Arrays:
        if self.real is not None:
            return stacked(self.real, self.signature, rows)
        if not self.signature.batched:
            return drawn(self.signature, 1, seed=rows[0])
        whole = drawn(self.signature, max(sum(SIZES), max(rows) + 1))
        picked = {}
        for argument in self.signature.arguments:
            array = whole[argument.name]
            if BATCH in argument.axes:
                array = np.take(array, list(rows), axis=argument.axes.index(BATCH))
            picked[argument.name] = np.ascontiguousarray(array)
        return picked

    def _others(self, shapes: Shapes | None) -> list[tuple[str, Arrays]]:
        signature, sizes = self._opened(shapes)
        if not sizes:
            return []
        count = self.fixed_batch(shapes) or 2
        size = [str(count)] if signature.batched else []
        what = ", ".join([*size, *(f"{axis} {n}" for axis, n in sizes.items())])
        return [(what, drawn(signature, count, sizes))]

    def _at_edges(self, shapes: Shapes | None) -> list[tuple[str, Arrays]]:
        _, open_axes = self._opened(shapes)
        fixed = self.fixed_batch(shapes)
        found = [
            (f"{fixed or 1}, {axis} {size}", drawn(self.signature, fixed or 1, {axis: size}))
            for axis, size in self.edges
            if axis in open_axes
        ]
        if self.signature.batched and not fixed:
            found += [(str(n), self._rows(range(n))) for axis, n in self.edges if axis == BATCH]
        return found

    def _opened(self, shapes: Shapes | None) -> tuple[Signature, dict[str, int]]:
        """The signature with a name for each axis that the graph leaves open, and other sizes."""
        signature, sizes = self.signature, {}
        if shapes is None:
            return signature, {}
        arguments = []
        for argument in signature.arguments:
            single = next(iter(shapes.values())) if len(shapes) == 1 else ()
            graph = shapes.get(argument.name, single if len(signature.arguments) == 1 else ())
            axes = list(argument.axes)
            for i, (axis, there) in enumerate(zip(axes, graph, strict=False)):
                if isinstance(there, int) or axis == BATCH:
                    continue
                if isinstance(axis, int):
                    axes[i] = f"axis_{i}"
                    sizes[f"axis_{i}"] = axis + _STEP
                elif axis in signature.others:
                    sizes[axis] = signature.others[axis]
            arguments.append(replace(argument, axes=tuple(axes)))
        return replace(signature, arguments=tuple(arguments)), sizes
