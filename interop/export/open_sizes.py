"""A module of which the batch alone is open -> a trace in which all other sizes are numbers.

TorchScript's trace takes every size that Python code reads for one that may change, and a window
transformer's graph is then thousands of nodes that compute constants.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_SHAPE: Any = torch.Tensor.shape
Shapes = list[tuple[int, ...]]
Read = Callable[[torch.Tensor, Any, int | None], Any]  # a tensor, its shape or one axis of it


@contextlib.contextmanager
def recorded() -> Iterator[Shapes]:
    """Within it, each shape that Python code reads is added, in order."""
    seen: Shapes = []

    def read(tensor: torch.Tensor, value: Any, axis: int | None) -> Any:
        seen.append(_plain(tensor))
        return value

    with _Sizes(read):
        yield seen


@contextlib.contextmanager
def held(other: Shapes | None) -> Iterator[None]:
    """Within it, a trace has numbers for those sizes that were the same in a run of the module on
    another batch, in which `other` was read; all stay open where that is None, and from where the
    trace reads something else."""
    left = iter(other or ())

    def read(tensor: torch.Tensor, value: Any, axis: int | None) -> Any:
        nonlocal left
        now, then = _plain(tensor), next(left, ())
        if len(now) != len(then):
            left = iter(())
            return value
        fixed = [n if n == m else None for n, m in zip(now, then, strict=True)]
        if axis is not None:
            return value if fixed[axis] is None else fixed[axis]
        return tuple(v if n is None else n for v, n in zip(value, fixed, strict=True))

    with contextlib.nullcontext() if other is None else _Sizes(read):
        yield


class _Sizes(TorchFunctionMode):
    """Has `read` say what Python code gets that reads a shape: as `shape`, or by `size()` as a
    whole or of one axis."""

    def __init__(self, read: Read) -> None:
        super().__init__()
        self.read = read

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        value = func(*args, **given)
        if getattr(func, "__self__", None) is _SHAPE or func is torch.Tensor.size:
            axis = given.get("dim", args[1] if len(args) > 1 else None)
            return self.read(args[0], value, axis)
        return value


def _plain(tensor: torch.Tensor) -> tuple[int, ...]:
    """A shape as numbers, while a trace is going on too."""
    tracing: Any = torch._C  # whose stubs lack the setter
    state = tracing._get_tracing_state()
    tracing._set_tracing_state(None)
    try:
        return tuple(tensor.shape)
    finally:
        tracing._set_tracing_state(state)
