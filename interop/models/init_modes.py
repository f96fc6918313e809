"""Building a module whose weights take no memory, or no time."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class EmptyOnMeta(TorchFunctionMode):
    """Weights take no memory; the numbers that a constructor computes with stay real.

    `torch.device("meta")` puts those on the meta device too, where constructors that read one of
    them (a schedule of drop rates) fail.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


class Undrawn(TorchFunctionMode):
    """Weights have memory, and no random numbers are drawn for it: they are to be replaced."""

    _DRAWS = frozenset(
        {"normal_", "uniform_", "erfinv_", "exponential_", "kaiming_normal_", "kaiming_uniform_"}
    )
    # It draws until all numbers lie within its bounds, which those that nobody drew may never do.
    _UNTIL = "_no_grad_trunc_normal_"

    def __enter__(self) -> Any:
        self._patch = mock.patch.object(nn.init, self._UNTIL, _leave, create=True)
        self._patch.start()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        self._patch.stop()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in self._DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _leave(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor
