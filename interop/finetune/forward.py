"""A module and prepared inputs -> its outputs, on a device and in a precision."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.data.base import Array
from interop.errors import ModelError

# Of each side head's loss, as GoogLeNet was trained with (Szegedy et al. 2014, section 5).
SIDE = 0.3


class ModuleRunner:
    """Runs `module` on arrays by name: its main output first, side heads' after it."""

    def __init__(self, module: nn.Module, device: str = "cpu", precision: str = "float32") -> None:
        self.module, self.device, self.precision = module, device, precision

    def __call__(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        given = {n: self._tensor(a) for n, a in inputs.items()}
        with explained(self.module), self.precise(), contextlib.redirect_stdout(sys.stderr):
            if hasattr(self.module, "config") and hasattr(self.module, "main_input_name"):
                return [self.module(**given).logits]
            return _tensors(self.module(*given.values()))

    def _tensor(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
        return tensor.float() if tensor.is_floating_point() else tensor

    def precise(self) -> Any:
        """Within it products have the precision that was asked for."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=getattr(torch, self.precision))


@contextlib.contextmanager
def explained(module: nn.Module) -> Iterator[None]:
    """What a forward or its gradients may fail with, as a ModelError."""
    try:
        yield
    except torch.OutOfMemoryError:
        fix = "give a smaller --batch, and --accumulate more of them"
        raise ModelError("the device's memory is too small for it", fix=fix) from None
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError) as error:
        if "more than 1 value per channel" in str(error):
            what = "batch normalisation needs two samples or more in each batch"
            fix = "give a larger --batch, or train the head alone with --mode probe"
            raise ModelError(what, fix=fix) from None
        what = f"does not take what was prepared: {(str(error) or repr(error)).splitlines()[0]}"
        fix = "give the size that it is made for with --preprocess, or your module with --model"
        raise ModelError(what, where=type(module).__name__, fix=fix) from error


def _tensors(output: Any) -> list[torch.Tensor]:
    """The main output, and others of its shape: side heads that training alone has."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    parts = [t for t in output if isinstance(t, torch.Tensor)] if isinstance(output, tuple | list) \
        else []  # fmt: skip
    if not parts:
        what = f"gives {type(output).__name__}, no tensor"
        raise ModelError(what, fix="let it give one row a sample")
    return [parts[0], *(t for t in parts[1:] if t.shape == parts[0].shape)]


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Within it the same seeds give the same bits; random states are put back afterwards."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    strict = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    states = random.getstate(), np.random.get_state()  # libraries draw from both
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        random.setstate(states[0])
        np.random.set_state(states[1])


def seed_all(*of: int) -> np.random.Generator:
    """Seeds every source of random numbers by some numbers, and gives one of its own."""
    drawn = int(np.random.SeedSequence(of).generate_state(1)[0])
    torch.manual_seed(drawn)
    random.seed(drawn)
    np.random.seed(drawn)
    return np.random.default_rng(of)
