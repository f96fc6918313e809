"""A module -> is it made of classes that look at no size of the axes that it leaves open?

Of these torch.export notes no condition on the batch, or of the batch and the length of a text, so
TorchScript's exporter, which notes none of anything and is several times cheaper, may go first. The
classes stand in a list that `python -m benchmarks.size_agnostic` makes by tracing the libraries'
architectures.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from torch import nn

from interop.models.signature import Signature
from interop.proof.guards import Guard, parsed

LIST = Path(__file__).with_suffix(".txt")
SEQUENCE = "sequence"


def agnostic(module: nn.Module, takes: Signature) -> bool:
    """Whether no part of the module looks at the sizes that are open: the batch, of texts their
    length too."""
    return takes.batched and is_listed(module, takes.varying)


def is_listed(module: nn.Module, axes: tuple[str, ...] = ()) -> bool:
    """Whether all parts of a module compute what their classes say, and those are listed for these
    axes beside the batch."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return kinds(module.modules()) <= listed(axes) and all(map(_as_written, module.modules()))


def limits(module: nn.Module, takes: Signature) -> tuple[Guard, ...]:
    """The one condition that such a module has: a text is no longer than its table of positions."""
    most = getattr(getattr(module, "config", None), "max_position_embeddings", None)
    places = _places(takes)
    if not places or not isinstance(most, int):
        return ()
    i, j = places[0]
    return parsed((f"L['given'][{i}].size()[{j}] <= {most}",), takes)


def _places(signature: Signature) -> list[tuple[int, int]]:
    arguments = enumerate(signature.arguments)
    return [(i, j) for i, a in arguments for j, axis in enumerate(a.axes) if axis == SEQUENCE]


def kinds(parts: Iterable[nn.Module]) -> frozenset[str]:
    """The classes of modules, each with the package that it lies in."""
    return frozenset(f"{type(p).__module__}.{type(p).__qualname__}" for p in parts)


@cache
def listed(axes: tuple[str, ...] = ()) -> frozenset[str]:
    """The classes of the list that look at no size of the batch, nor of these axes: a line each, a
    class and the axes beside the batch."""
    lines = [line.split() for line in LIST.read_text("utf-8").splitlines()]
    return frozenset(name for name, *beside in lines if set(axes) <= set(beside))


def _as_written(part: nn.Module) -> bool:
    """Whether a module computes what its class says: nobody gave it a forward or a hook."""
    hooks = (part._forward_hooks, part._forward_pre_hooks)
    return "forward" not in vars(part) and not any(hooks)
