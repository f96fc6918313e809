"""Building a module whose weights take no memory, or no time."""

from __future__ import annotations

from typing import Any

import torch
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

    _DRAWS = frozenset({"normal_", "uniform_", "erfinv_", "exponential_"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in self._DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
