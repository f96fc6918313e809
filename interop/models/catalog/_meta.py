"""Building a module whose weights take no memory."""

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
