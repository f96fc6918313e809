"""A module of which the batch alone is open -> a trace in which all other sizes are numbers.

TorchScript's trace takes every size that Python code reads for one that may change, and a window
transformer's graph is then thousands of nodes that compute constants.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_SHAPE: Any = torch.Tensor.shape
Shapes = list[tuple[int, ...]]


@contextlib.contextmanager
def recorded() -> Iterator[Shapes]:
    """Within it, each shape that Python code reads is added, in order."""
    recorder = _Recorder()
    with recorder:
        yield recorder.seen


@contextlib.contextmanager
def held(other: Shapes | None) -> Iterator[None]:
    """Within it, a trace has numbers for those sizes that were the same in a run of the module on
    another batch, in which `other` was read; all stay open where that is None, and from where the
    trace reads something else."""
    with contextlib.nullcontext() if other is None else _Holder(other):
        yield


class _Sizes(TorchFunctionMode):
    """Sees each shape that is read: as `shape`, or by `size()` as a whole or of one axis."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        value = func(*args, **given)
        if getattr(func, "__self__", None) is _SHAPE or func is torch.Tensor.size:
            axis = given.get("dim", args[1] if len(args) > 1 else None)
            return self.read(args[0], value, axis)
        return value

    def read(self, tensor: torch.Tensor, value: Any, axis: int | None) -> Any:
        raise NotImplementedError


class _Recorder(_Sizes):
    def __init__(self) -> None:
        super().__init__()
        self.seen: Shapes = []

    def read(self, tensor: torch.Tensor, value: Any, axis: int | None) -> Any:
        self.seen.append(_plain(tensor))
        return value


class _Holder(_Sizes):
    def __init__(self, other: Shapes) -> None:
        super().__init__()
        self.left = iter(other)

    def read(self, tensor: torch.Tensor, value: Any, axis: int | None) -> Any:
        now, then = _plain(tensor), next(self.left, ())
        if len(now) != len(then):
            self.left = iter(())
            return value
        held = [n if n == m else None for n, m in zip(now, then, strict=True)]
        if axis is not None:
            return value if held[axis] is None else held[axis]
        return tuple(v if n is None else n for v, n in zip(value, held, strict=True))


def _plain(tensor: torch.Tensor) -> tuple[int, ...]:
    """A shape as numbers, while a trace is going on too."""
    tracing: Any = torch._C  # whose stubs lack the setter
    state = tracing._get_tracing_state()
    tracing._set_tracing_state(None)
    try:
        return tuple(tensor.shape)
    finally:
        tracing._set_tracing_state(state)
