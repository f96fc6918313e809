"""A module and one input -> the constants that it computes of its own tensors: a table of relative
positions, a weight that weight norm makes, an embedding that is resized.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from interop.models.signature import unmarked
from interop.models.signature.forward import FRONT
from interop.proof.accounted import Computed

_MOST = 1 << 30  # bytes of constants that are kept


def constants_of(module: nn.Module, given: Sequence[torch.Tensor]) -> list[Computed]:
    """What the module computes on the way that does not depend on `given`, its input tensors.

    [] where it fails on them. Values of floating point with more than one number; each with the
    names of the tensors that it was made of, as far as they have names (those of a Forward's own
    module, without what it puts in front).
    """
    names = {t.data_ptr(): n.removeprefix(FRONT) for n, t in _tensors(module).items() if t.numel()}
    watch = _Watch(names)
    own = tuple(t.clone() for t in given)
    quiet = contextlib.redirect_stdout(sys.stderr)
    with contextlib.suppress(Exception), torch.no_grad(), unmarked(module), quiet:
        forget(module)
        watch.take(own)
        with watch:
            module(*own)
    return watch.constants


def forget(module: nn.Module) -> None:
    """Have a module in eval mode drop what it keeps of its weights between two calls: the tables
    that LeViT looks up are dropped when training begins."""
    module.train()
    module.eval()


def _tensors(module: nn.Module) -> Mapping[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the input, and keeps what is computed without it."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names
        self.from_input: Any = WeakTensorKeyDictionary()
        self.of: Any = WeakTensorKeyDictionary()
        self.constants: list[Computed] = []
        self.bytes = 0

    def take(self, given: Sequence[torch.Tensor]) -> None:
        """Note the input's own tensors."""
        for tensor in given:
            self.from_input[tensor] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        taken = [t for t in _pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        given = [t for t in _pytree.tree_leaves(answer) if isinstance(t, torch.Tensor)]
        if any(t in self.from_input for t in taken):
            for tensor in given:
                self.from_input[tensor] = True
            return answer
        of: dict[str, None] = {}
        for tensor in taken:
            of |= dict.fromkeys(self.of.get(tensor, ()))
            if (name := self.names.get(tensor.data_ptr())) is not None:
                of[name] = None
        for tensor in given:
            self.of[tensor] = tuple(of)
            large = tensor.numel() > 1 and tensor.is_floating_point()
            if large and tensor.data_ptr() not in self.names and self.bytes < _MOST:
                kept = tensor.detach().clone()  # a later operator may write into it
                self.bytes += kept.nbytes
                wide = kept.float() if kept.dtype == torch.bfloat16 else kept
                self.constants.append(Computed(wide.cpu().numpy(), tuple(of), str(func)))
        return answer
