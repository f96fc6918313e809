"""A backbone -> the module that gives its features, one vector a sample."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.errors import ModelError
from interop.models.backbone.types import Backbone
from interop.models.building.fitting import put


@dataclass(slots=True)
class Features:
    """`module` without a head; `how` says what its features are, `at` whose outputs they are."""

    module: nn.Module
    how: str
    at: str = ""
    factory: str | None = None

    @classmethod
    def of_transformers(cls, module: nn.Module) -> Features:
        module.requires_grad_(False)
        if _pictures(module):
            return cls(module, "the pooled output of the base model")
        return cls(module, "the mean of the last hidden states")

    @classmethod
    def of_module(cls, made: Backbone, at: str) -> Features:
        """What the head is handed, or what the part `at` gives. Raises ModelError for no part."""
        module = made.module.requires_grad_(False)
        if at:
            try:
                module.get_submodule(at)
            except AttributeError:
                raise ModelError(f"has no part {at!r}", fix="name a submodule's path") from None
            return cls(module, f"what {at} gives", at, made.factory)
        if not made.head:
            raise ModelError(
                "where its features are is not known", fix="name the part with --features"
            )
        put(module, made.head, nn.Identity())
        return cls(module, f"what {made.head} is handed", "", made.factory)

    def __call__(self, inputs: Mapping[str, NDArray[Any]], device: str = "cpu") -> NDArray[Any]:
        """Float32 features (rows, width) of prepared inputs, rows first."""
        given = {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in inputs.items()}
        first = next((p for p in self.module.parameters()), None)
        if first is not None:
            given = {
                n: t.to(device, first.dtype if t.is_floating_point() else t.dtype)
                for n, t in given.items()
            }
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
            found = self._run(given)
        return found.float().cpu().numpy()

    def _run(self, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if hasattr(self.module, "config") and hasattr(self.module, "main_input_name"):
            return _of_base(self.module, given)
        if not self.at:
            return _vector(_first(self.module(*given.values())))
        held: list[torch.Tensor] = []
        part = self.module.get_submodule(self.at)
        hook = part.register_forward_hook(lambda m, i, o: held.append(_first(o)))
        try:
            self.module(*given.values())
        finally:
            hook.remove()
        if not held:
            raise ModelError(f"{self.at} is not run", fix="name a part that a forward runs")
        return _vector(held[-1])


def _pictures(module: Any) -> bool:
    return bool(module.main_input_name == "pixel_values")


def _of_base(module: Any, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
    found = module(**given)
    states = getattr(found, "last_hidden_state", None)
    pooled = getattr(found, "pooler_output", None)
    if _pictures(module) and pooled is not None:
        return _vector(pooled)
    if states is None:
        states = _first(found)
    if _pictures(module) and states.ndim == 3:
        return states[:, 0]  # the class token, which its classifiers take
    mask = given.get("attention_mask")
    if mask is None or states.ndim != 3:
        return _vector(states)
    if mask.shape[1] != states.shape[1]:  # of samples, where the states are of frames
        mask = module._get_feature_vector_attention_mask(states.shape[1], mask)
    weight = mask.to(states.dtype)[:, :, None]
    return (states * weight).sum(1) / weight.sum(1).clamp_min(1)


def _first(found: Any) -> torch.Tensor:
    """The main tensor of what a module gave."""
    if isinstance(found, torch.Tensor):
        return found
    if isinstance(found, Mapping):
        return _first(next(iter(found.values())))
    if isinstance(found, (tuple, list)) and found:
        return _first(found[0])
    raise ModelError(f"gives {type(found).__name__}, no tensor", fix="name a part with --features")


def _vector(found: torch.Tensor) -> torch.Tensor:
    """One vector a row: the mean over a map's places, or a sequence's steps."""
    if found.ndim == 4:
        return found.mean((2, 3))
    return found.mean(1) if found.ndim == 3 else found.reshape(len(found), -1)
