"""A module -> its answer in float64, in no more memory than a part of it needs.

Weights are widened where a part of the module runs and narrowed again behind it: a copy of the
whole module in float64 would take twice what its weights do.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from interop.models.signature import unmarked
from interop.runtimes.base import Array, Batch
from interop.runtimes.memory import let_go
from interop.runtimes.pytorch import tensors, tensors_of

# A part of the module that is widened as a whole has at most so many bytes; where code reads the
# weights of a part that it does not call, at most so many.
_AT_ONCE = 1 << 26
_AT_MOST = 1 << 31
_PAGES = 1 << 20  # bytes, from which on a tensor of a mapped file is let go

Watch = Callable[[], contextlib.AbstractContextManager[Any]]


def exact(
    module: nn.Module, batch: Batch, watch: Watch = contextlib.nullcontext
) -> tuple[Array, ...] | None:
    """The module's outputs in float64 on the CPU; None where that cannot be had.

    `watch` gives a context in which the module is called: a new one for each try.
    """
    size = sum(t.nbytes for t in _floats(module))
    for wider in (_Wider, contextlib.nullcontext):
        for at_once in (_AT_ONCE, _AT_MOST) if size > _AT_ONCE else (_AT_ONCE,):
            with contextlib.suppress(Exception), wider():  # for one, a constant of another dtype
                return _run(module, batch, at_once, watch)
    return None


class _Wider(TorchFunctionMode):
    """What code asks for in float32 by name (the coordinates of RAFT) is given in float64.

    A cast to the type that is there already gives the same memory, then as now.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)


def _run(module: nn.Module, batch: Batch, at_once: int, watch: Watch) -> tuple[Array, ...]:
    quiet = contextlib.redirect_stdout(sys.stderr)
    # A module that keeps something of its input keeps none of these.
    with unmarked(module), _widened(module, at_once), torch.inference_mode(), quiet:
        # Copied: a module may write into its input, which others are given as well.
        given = [t.clone() for t in tensors(batch, torch.float64)]
        with watch():
            outputs = tensors_of(module(*given))
    return tuple(t.numpy() for t in outputs)


@contextlib.contextmanager
def _widened(module: nn.Module, at_once: int) -> Iterator[None]:
    """Within it, each part of the module computes in float64."""
    handles = []
    above: list[torch.Tensor] = []
    for part, whole in _parts(module, at_once):
        if whole:
            swap = _Swap(list(_floats(part)))
            handles.append(part.register_forward_pre_hook(swap.widen))
            handles.append(part.register_forward_hook(swap.restore, always_call=True))
        else:
            above += _own(part)
    swap = _Swap(above)
    swap.widen()
    try:
        yield
    finally:
        swap.restore()
        for handle in handles:
            handle.remove()


class _Swap:
    """The numbers of some tensors in float64, and back as they were."""

    def __init__(self, held: list[torch.Tensor]) -> None:
        self.held = held
        self.narrow: list[tuple[torch.Tensor, torch.Tensor]] = []

    def widen(self, *_: object) -> None:
        for tensor in self.held:
            if tensor.dtype != torch.float64:
                self.narrow.append((tensor, tensor.data))
                tensor.data = tensor.data.double()

    def restore(self, *_: object) -> None:
        while self.narrow:
            tensor, numbers = self.narrow.pop()
            tensor.data = numbers
            if numbers.nbytes > _PAGES:
                let_go([numbers])


def _parts(module: nn.Module, at_once: int) -> Iterator[tuple[nn.Module, bool]]:
    """The largest parts of at most so many bytes, and (False) those around them.

    A program reads the weights of parts that it does not call: all of it is widened at once.
    """
    if isinstance(module, (torch.jit.ScriptModule, torch.fx.GraphModule)):
        yield from ((part, False) for part in module.modules())
        return
    size = sum(t.nbytes for t in _floats(module))
    children = list(module.children())
    if size <= at_once or not children:
        yield module, True
        return
    yield module, False
    for child in children:
        yield from _parts(child, at_once)


def _floats(module: nn.Module) -> Iterator[torch.Tensor]:
    for part in module.modules():
        yield from _own(part)


def _own(module: nn.Module) -> list[torch.Tensor]:
    own = (*module._parameters.values(), *module._buffers.values())
    return [t for t in own if t is not None and t.is_floating_point()]
