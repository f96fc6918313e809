"""A torch.nn.Module -> a Runtime: native PyTorch, the side that an export is held against."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree

from interop.errors import DeviceMissing
from interop.facts import Json
from interop.runtimes.base import Array, Batch, Runtime, check_device


class TorchRuntime(Runtime):
    """The module as it is (its training flag too) under inference_mode.

    `threads` is for the whole process while the runtime is open; None leaves torch's own number.
    `tf32` lets CUDA round float32 products to 10 bits of mantissa: off, so that both runtimes
    compute alike. Raises DeviceMissing where CUDA is asked for and torch has none.
    """

    name = "pytorch"

    def __init__(
        self,
        module: nn.Module,
        device: str = "cpu",
        threads: int | None = None,
        *,
        tf32: bool = False,
    ) -> None:
        require_torch_device(device)
        self.device = device
        self.tf32 = tf32
        self._threads = torch.get_num_threads()
        if threads is not None:
            torch.set_num_threads(threads)
        self._module: nn.Module | None = module.to(device)
        floats = (t.dtype for t in module.state_dict().values() if t.is_floating_point())
        self._dtype = next(floats, torch.float32)

    def outputs(self, batch: Batch) -> tuple[Array, ...]:
        assert self._module is not None, "the runtime is closed"
        if self.device == "cuda":
            _set_tf32(self.tf32)
        with torch.inference_mode():
            given = tensors(batch, self._dtype, self.device)
            # What a person's module prints is no part of any report.
            with contextlib.redirect_stdout(sys.stderr):
                found = tensors_of(self._module(*given))
            # Copying to the host waits for the device: no further synchronisation is needed.
            return tuple(_host(t) for t in found)

    def conditions(self) -> dict[str, Json]:
        found: dict[str, Json] = {
            "runtime": self.name,
            "torch": torch.__version__,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "dtype": str(self._dtype).removeprefix("torch."),
            "tf32": self.tf32,
        }
        if self.device == "cuda":
            found["gpu"] = torch.cuda.get_device_name()
            found["cuda"] = torch.version.cuda
            found["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return found

    def close(self) -> None:
        if self._module is not None:
            self._module = None
            torch.set_num_threads(self._threads)
            if self.device == "cuda":
                torch.cuda.empty_cache()


def require_torch_device(device: str) -> None:
    """DeviceMissing where CUDA is asked for and torch has none; ConfigError for no such device."""
    check_device(device)
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing(
            f"torch {torch.__version__} finds no CUDA device here",
            where="--device cuda",
            fix="run on a machine with an NVIDIA GPU and driver (interop doctor), or ask for "
            "--device cpu",
        )


def tensors(
    batch: Batch, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """A batch as positional arguments: numbers of floating point in `dtype`, others as they are."""
    arrays = batch.values() if isinstance(batch, Mapping) else (batch,)
    made = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    return tuple(t.to(device, dtype if t.is_floating_point() else t.dtype) for t in made)


def tensors_of(outputs: Any) -> list[torch.Tensor]:
    """The tensors in what a module gave (one, a tuple, a mapping or a nesting), in order."""
    return [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _host(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    keeps = not tensor.is_floating_point() or tensor.dtype == torch.float64
    array: Array = (tensor if keeps else tensor.float()).numpy()
    return array


def _set_tf32(on: bool) -> None:
    precision = "tf32" if on else "ieee"
    backends: Any = torch.backends
    for part in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        part.fp32_precision = precision
