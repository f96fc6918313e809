"""A module -> is it made of classes whose answer to each row is the same whatever the batch?

Of these torch.export notes no condition on the batch, so TorchScript's exporter, which notes none
of anything and is several times cheaper, may go first. The classes stand in a list that
`python -m benchmarks.size_agnostic` makes by tracing the libraries' architectures.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from torch import nn

from interop.models.signature import Forward

LIST = Path(__file__).with_suffix(".txt")


def agnostic(forward: Forward) -> bool:
    """Whether the batch is the only axis left open, and no part of the module looks at it."""
    takes = forward.signature
    return takes.batched and not takes.varying and is_listed(forward.model)


def is_listed(module: nn.Module) -> bool:
    """Whether all parts of a module are of the list's classes, and compute what those say."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return kinds(module.modules()) <= listed() and all(map(_as_written, module.modules()))


def kinds(parts: Iterable[nn.Module]) -> frozenset[str]:
    """The classes of modules, each with the package that it lies in."""
    return frozenset(f"{type(p).__module__}.{type(p).__qualname__}" for p in parts)


@cache
def listed() -> frozenset[str]:
    """The classes of the list."""
    return frozenset(LIST.read_text("utf-8").split())


def _as_written(part: nn.Module) -> bool:
    """Whether a module computes what its class says: nobody gave it a forward or a hook."""
    hooks = (part._forward_hooks, part._forward_pre_hooks)
    return "forward" not in vars(part) and not any(hooks)
