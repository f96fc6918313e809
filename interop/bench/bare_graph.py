"""A bare ONNX file -> what it takes and gives, as far as the file says.

There is no module to compare it with: it is measured in ONNX Runtime alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.facts import Identity, Port
from interop.models.signature import BATCH, Argument, Signature, parse_argument

SIDE, SIZE = 224, 16  # of an open axis: a side of a picture, and any other


@dataclass(frozen=True, slots=True)
class BareGraph:
    """A graph in place of a module: its signature, and its outputs' names."""

    signature: Signature
    outputs: tuple[str, ...]


def graph_file(identity: Identity) -> Path | None:
    """Return the ONNX file that a model is, alone; None if it is anything else."""
    path = Path(identity.manifest.path)
    alone = path.suffix == ".onnx" and path.is_file() and identity.manifest.graph is not None
    return path if alone else None


def bare_graph(identity: Identity, inputs: Sequence[str]) -> BareGraph:
    """Return what the graph takes. `inputs` (--input) give sizes of axes that it leaves open."""
    graph = identity.manifest.graph
    assert graph is not None
    sizes: dict[str, int] = {}
    arguments = tuple(_argument(port, sizes) for port in graph.inputs)
    by_name = {argument.name: argument for argument in arguments}
    for place, text in enumerate(inputs):
        stated, known = parse_argument(text, place)
        own = by_name.get(stated.name)
        for axis, there in zip(own.axes if own else (), stated.axes, strict=False):
            size = there if isinstance(there, int) else known.get(there)
            if isinstance(axis, str) and size is not None:
                sizes[axis] = size
    return BareGraph(Signature(arguments, sizes), tuple(port.name for port in graph.outputs))


def _argument(port: Port, sizes: dict[str, int]) -> Argument:
    """An input as seeded numbers are drawn for it. A name in front is the batch's, wherever it is
    found; sizes of other names are added to `sizes`."""
    axes: list[int | str] = []
    batch = port.shape[0] if port.shape and isinstance(port.shape[0], str) else None
    for place, axis in enumerate(port.shape):
        if isinstance(axis, int):
            axes.append(axis)
        elif place == 0 or (axis and axis == batch):
            axes.append(BATCH)
        else:
            name = axis or f"{port.name} axis {place}"
            side = len(port.shape) == 4 and place > 1
            sizes.setdefault(name, SIDE if side else SIZE)
            axes.append(name)
    if port.dtype == "bool":
        return Argument(port.name, tuple(axes), "bool", "rows")
    if port.dtype.startswith(("int", "uint")):
        return Argument(port.name, tuple(axes), port.dtype, "whole", 0, 2)
    return Argument(port.name, tuple(axes))
