"""Two candidates and the same samples -> how alike what their layers give is (linear CKA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from interop.assess.similarity import linear_cka
from interop.errors import DataError
from interop.facts.sections.assess import LayerLikeness
from interop.models.backbone import Features

Array = NDArray[Any]
MOST = 6
SAMPLES = 128


def chosen(made: Features, inputs: Mapping[str, Array], most: int = MOST) -> list[str]:
    """Paths of parts spread over the module's depth, in the order in which they run.

    Blocks are what a module lists (the children of a Sequential or ModuleList, or of the module
    itself); of those that run once for the sample, at most `most`, the last among them.
    """
    module = made.module
    blocks = [
        name
        for name, part in module.named_modules()
        if name and _is_block(module, name) and any(True for _ in part.parameters())
    ]
    ran: list[str] = []
    hooks = [
        module.get_submodule(name).register_forward_hook(
            lambda m, i, o, name=name: ran.append(name) if _rows(o) else None
        )
        for name in blocks
    ]
    try:
        made(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    once = [n for n in dict.fromkeys(ran) if ran.count(n) == 1]
    # A block that holds others says what its last one says.
    inner = [n for n in once if not any(o.startswith(f"{n}.") for o in once)]
    if len(inner) <= most:
        return inner
    step = (len(inner) - 1) / (most - 1)
    return [inner[round(i * step)] for i in range(most)]


def _is_block(module: nn.Module, name: str) -> bool:
    parent = module.get_submodule(name.rpartition(".")[0])
    return parent is module or isinstance(parent, nn.Sequential | nn.ModuleList)


def _rows(output: Any) -> bool:
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    return isinstance(first, torch.Tensor) and first.ndim > 1 and first.is_floating_point()


def alike(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> LayerLikeness:
    """Debiased linear CKA of each layer of the one (rows) with each of the other (columns)."""
    values = tuple(tuple(cka(x, y) for y in theirs.values()) for x in ours.values())
    return LayerLikeness(tuple(ours), tuple(theirs), values)


def cka(x: Array, y: Array) -> float | None:
    """Debiased linear CKA of features of the same samples; None where it is not defined."""
    try:
        return float(linear_cka(x, y))
    except DataError:  # a layer that gives the same to all samples
        return None
