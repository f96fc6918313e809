"""A module as it was saved -> its features, one vector a sample, and its own answers beside them.

Both come of one run: what a head is handed is caught on its way.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.errors import ModelError
from interop.models.libraries.transformers.signature import is_one
from interop.models.pretrained import Backbone

Array = NDArray[Any]


@dataclass(slots=True)
class Features:
    """`module`, and where in it the features are: `at` is the path of a part, whose output they are
    or, with `before`, what it is handed. `how` says it in words.

    `answers` tells whether the module has a trained head, so that its outputs mean something.
    """

    module: nn.Module
    how: str
    at: str = ""
    before: bool = False
    answers: bool = True
    factory: str | None = None

    @classmethod
    def of_transformers(cls, module: Any, *, answers: bool) -> Features:
        """Raises nothing; a base model by itself has no answers."""
        module.requires_grad_(False)
        alone = module.base_model is module
        at = "" if alone else str(module.base_model_prefix)
        description = (
            "the last hidden states' mean" if not _sees(module) else "the base model's pooling"
        )
        return cls(module, description, at, answers=answers and not alone)

    @classmethod
    def of_module(cls, made: Backbone, at: str) -> Features:
        """What the head is handed, or what the part `at` gives. Raises ModelError for no part."""
        module = made.module.requires_grad_(False)
        trained = not made.fresh
        if at:
            try:
                module.get_submodule(at)
            except AttributeError:
                raise ModelError(f"has no part {at!r}", fix="name a submodule's path") from None
            return cls(module, f"what {at} gives", at, False, trained, made.factory)
        if not made.head:
            what = "where its features are is not known"
            raise ModelError(what, fix="name the part with --features")
        return cls(module, f"what {made.head} is handed", made.head, True, trained, made.factory)

    def __call__(
        self, inputs: Mapping[str, Array], device: str = "cpu", *, pooled: bool = True
    ) -> tuple[Array, Array | None]:
        """Float32 features of prepared inputs (rows first), and the module's main output.

        Features are (rows, width), or (rows, steps, width) as they lie in a sequence where they are
        not `pooled`. The output is None where the module has no trained head.
        """
        given = self._given(inputs, device)
        tensors: list[torch.Tensor] = []
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr), self._caught(tensors):
            output = self._run(given)
            if not tensors:
                raise ModelError(f"{self.at} is not run", fix="name a part that a forward runs")
            states = tensors[-1]
            vectors = self._vectors(states, given) if pooled else states
        answers = _host(first_tensor(output)) if self.answers else None
        return _host(vectors), answers

    def layers(
        self, inputs: Mapping[str, Array], paths: Sequence[str], device: str = "cpu"
    ) -> dict[str, Array]:
        """What each of some parts gives, one vector a row, by the part's path."""
        given = self._given(inputs, device)
        vectors: dict[str, torch.Tensor] = {}
        hooks = []
        for path in paths:

            def keep(part: nn.Module, _: Any, output: Any, path: str = path) -> None:
                tensor = first_tensor(output)
                turned = tensor.ndim == 3 and _convolves(part)
                vectors[path] = vector(tensor.transpose(1, 2) if turned else tensor)

            hooks.append(self.module.get_submodule(path).register_forward_hook(keep))
        try:
            with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
                self._run(given)
        finally:
            for hook in hooks:
                hook.remove()
        return {path: _host(vectors[path]) for path in paths if path in vectors}

    def _given(self, inputs: Mapping[str, Array], device: str) -> dict[str, torch.Tensor]:
        given = {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in inputs.items()}
        floats = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        dtype = next(floats, torch.float32)
        return {
            n: t.to(device, dtype if t.is_floating_point() else t.dtype) for n, t in given.items()
        }

    def _run(self, given: Mapping[str, torch.Tensor]) -> Any:
        return self.module(**given) if is_one(self.module) else self.module(*given.values())

    @contextlib.contextmanager
    def _caught(self, tensors: list[torch.Tensor]) -> Iterator[None]:
        """Within it, runs leave in `tensors` what the features are made of."""
        part = self.module.get_submodule(self.at) if self.at else self.module

        def handed(_: Any, given: Any) -> None:
            tensors.append(first_tensor(given))

        def gave(_: Any, __: Any, output: Any) -> None:
            tensors.append(self._of_output(output))

        hook = part.register_forward_pre_hook(handed) if self.before else (
            part.register_forward_hook(gave)
        )  # fmt: skip
        try:
            yield
        finally:
            hook.remove()

    def _of_output(self, output: Any) -> torch.Tensor:
        if not is_one(self.module):
            return first_tensor(output)
        pooled = getattr(output, "pooler_output", None)
        if _sees(self.module) and pooled is not None:
            return torch.as_tensor(pooled)
        states = getattr(output, "last_hidden_state", None)
        states = first_tensor(output) if states is None else states
        # The class token, which a picture's classifiers take.
        return states[:, 0] if _sees(self.module) and states.ndim == 3 else states

    def _vectors(self, states: torch.Tensor, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        mask = given.get("attention_mask")
        if mask is None or states.ndim != 3 or not is_one(self.module):
            return vector(states)
        if mask.shape[1] != states.shape[1]:  # of samples, where the states are of frames
            base: Any = self.module.get_submodule(self.at) if self.at else self.module
            mask = base._get_feature_vector_attention_mask(states.shape[1], mask)
        weight = mask.to(states.dtype)[:, :, None]
        return (states * weight).sum(1) / weight.sum(1).clamp_min(1)


def _convolves(part: nn.Module) -> bool:
    """Whether what a part gives has its steps last, (rows, channels, steps), as convolutions have
    it and nothing else."""
    kinds = {type(m) for m in part.modules()}
    return nn.Conv1d in kinds and nn.Linear not in kinds


def _sees(module: Any) -> bool:
    return bool(module.main_input_name == "pixel_values")


def _host(tensor: torch.Tensor) -> Array:
    return tensor.float().cpu().numpy()


def first_tensor(found: Any) -> torch.Tensor:
    """The main tensor of what a module gave, or was given. Raises ModelError where none is."""
    if isinstance(found, torch.Tensor):
        return found
    if isinstance(found, Mapping):
        return first_tensor(next(iter(found.values())))
    if isinstance(found, (tuple, list)) and found:
        return first_tensor(found[0])
    raise ModelError(f"gives {type(found).__name__}, no tensor", fix="name a part with --features")


def vector(found: torch.Tensor) -> torch.Tensor:
    """One vector a row: the mean over a map's places, or a sequence's steps."""
    if found.ndim == 4:
        return found.mean((2, 3))
    return found.mean(1) if found.ndim == 3 else found.reshape(len(found), -1)
