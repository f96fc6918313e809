"""A signature, and real samples where there are any -> the batches that two runtimes are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from interop.models.signature import BATCH, Argument, Arrays, Signature, drawn, stacked

SIZES = (1, 2, 3)
FEW = (1, 3)  # for models of so many weights; their graphs are traced at 2
LARGE = 50_000_000
SINGLE = "input"  # what a batch is called where the model takes none
Shapes = Mapping[str, Sequence[int | str | None]]


@dataclass(frozen=True, slots=True)
class Feed:
    """Inputs of a model: `real` samples (n, ...) of each input by name, else seeded ones.

    `samples` says which they are: "real" or "seeded". `sizes` are the batches.
    """

    signature: Signature
    real: Mapping[str, NDArray[Any]] | None = None
    samples: str = "seeded"
    sizes: tuple[int, ...] = SIZES

    @classmethod
    def of(cls, arrays: NDArray[Any], samples: str = "seeded") -> Self:
        """The samples (n, ...) of a model of one input, of whatever name."""
        arguments = (Argument("input", (BATCH, *arrays.shape[1:])),)
        return cls(Signature(arguments), {"input": np.ascontiguousarray(arrays)}, samples)

    def batches(self, shapes: Shapes | None = None) -> list[tuple[str, Arrays]]:
        """Batches of each of `sizes`, one after the other, with what each is.

        `shapes` are a graph's own, an input each: where its batch axis is a number, only that size
        is taken. Fewer real samples than needed are used again. A model of single pictures gets
        two, and one of another size where its axes are open: what a detector finds in one picture
        says little of the next. Other sizes are the domain's (`interop.proof.domain`).
        """
        if not self.signature.batched:
            singles = [self._rows([i]) for i in range(2)]
            others = self.signature.others
            if others and shapes and not any(isinstance(n, int) for n in self._sides(shapes)):
                singles.append(drawn(self.signature, 1, others))
            return [(f"{SINGLE} {i + 1}", single) for i, single in enumerate(singles)]
        fixed = self.fixed_batch(shapes)
        sizes = (fixed,) if fixed else self.sizes
        return [
            (str(n), self._rows(range(int(end) - n, int(end))))
            for n, end in zip(sizes, np.cumsum(sizes), strict=True)
        ]

    def at(self, sizes: Mapping[str, int]) -> Arrays:
        """Seeded inputs with named axes of these sizes, the batch's among them."""
        return drawn(self.signature, sizes.get(BATCH, 1), sizes)

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

    def _sides(self, shapes: Shapes) -> list[int | str | None]:
        """What a graph has for the named axes of its inputs."""
        return [
            there
            for a in self.signature.arguments
            for axis, there in zip(a.axes, shapes.get(a.name, ()), strict=False)
            if isinstance(axis, str)
        ]

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


def sizes_for(weights: int) -> tuple[int, ...]:
    """The batches on which a module of so many weights is proved."""
    return FEW if weights > LARGE else SIZES
