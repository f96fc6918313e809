"""A module and its signature -> one function of positional tensors that gives a tuple of tensors.

Exporters take no keywords' order, no mappings and no caches for granted; this leaves them nothing
to guess.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from interop.errors import ModelError
from interop.models.signature.types import BATCH, DETECTIONS, SIDES, Argument, Signature, drawn

# The name under which the module lies in a Forward, and so in front of all exported names.
FRONT = "model."


class Forward(nn.Module):
    """Calls `model` with tensors in the signature's order, and gives its tensors in theirs.

    `outputs` are their names: the keys of a mapping, else "output", or "output_0" and so on.
    """

    def __init__(self, model: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.model = model
        self.signature = signature
        self.outputs: tuple[str, ...] = ()
        self.eval()
        for parameter in self.parameters():  # a TorchScript program has no requires_grad_
            parameter.requires_grad_(False)

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensor for _, tensor in _named(self.call(given), self.signature.leave))

    def call(self, given: tuple[torch.Tensor, ...]) -> Any:
        """What the module itself gives."""
        how = self.signature
        target = self.model.get_submodule(how.part) if how.part else self.model
        if how.kind == DETECTIONS:
            return target(list(given))[0]
        if how.by_name:
            return target(**dict(zip(how.names, given, strict=True)))
        return target(*given)

    def learn_outputs(self, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Runs once to learn the outputs' names, and gives them. Raises what the module raises."""
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
            named = _named(self.call(given), self.signature.leave)
        self.outputs = tuple(name for name, _ in named)
        return tuple(tensor for _, tensor in named)


def argument_like(
    name: str, tensor: torch.Tensor, axes: tuple[int | str, ...] | None = None
) -> Argument:
    """Return an input of a tensor's type; its first axis is the batch unless `axes` says more.

    Whole numbers are drawn up to the largest in the tensor.
    """
    axes = axes or (BATCH, *tensor.shape[1:])
    if tensor.is_floating_point():
        return Argument(name, axes)
    dtype = str(tensor.dtype).removeprefix("torch.")
    high = int(tensor.max()) + 1 if tensor.numel() else 2
    return Argument(name, axes, dtype, "whole", 0, max(high, 2))


def narrowed(forward: Forward, dtype: torch.dtype) -> Signature:
    """The signature with those axes held that the module natively takes in one size alone.

    A vision transformer refuses every picture but of its own size; what it says is no news here.
    """
    signature = forward.signature
    for group in _groups(signature):
        sizes = {axis: signature.others[axis] for axis in group if axis in signature.others}
        if len(sizes) == len(group) and runs(forward, signature, sizes, dtype):
            continue
        signature = signature.fixed(*group)
    return signature


def _groups(signature: Signature) -> list[tuple[str, ...]]:
    """Axes that go together: a picture's two sides, else each by itself."""
    sides = tuple(a for a in SIDES if a in signature.varying)
    rest: list[tuple[str, ...]] = [(a,) for a in signature.varying if a not in sides]
    return [sides, *rest] if sides else rest


def runs(
    forward: Forward, signature: Signature, sizes: Mapping[str, int], dtype: torch.dtype
) -> bool:
    """Whether the module natively takes one input with some axes of these sizes."""
    arrays = drawn(signature, 1, sizes).values()
    given = tuple(torch.from_numpy(a) for a in arrays)
    given = tuple(t.to(dtype) if t.is_floating_point() else t for t in given)
    try:
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr), unmarked(forward):
            forward(*given)
    except Exception:  # whatever the module's own code raises at a size that it does not take
        return False
    return True


@contextlib.contextmanager
def unmarked(module: nn.Module, *, only_after_error: bool = False) -> Iterator[None]:
    """Behind it, the plain attributes of all parts are what they were.

    Some modules keep what one input made of them (Swin of transformers halves its windows for a
    small picture, for good): trying a size must not change how the next one is answered.
    """
    before = [
        (part, {name: (value, _copied(value)) for name, value in part.__dict__.items()})
        for part in module.modules()
    ]
    fine = False
    try:
        yield
        fine = True
    finally:
        if not (fine and only_after_error):
            for part, attributes in before:
                part.__dict__.clear()
                for name, (value, contents) in attributes.items():
                    part.__dict__[name] = value
                    if contents is not None:
                        value.clear()
                        value.update(contents)


def _copied(value: Any) -> Any:
    """What a mapping or set holds, to be put back into it: hooks are counted in one place and kept
    in another, and only both together are as they were."""
    return value.copy() if isinstance(value, (dict, set)) else None


def _named(output: Any, leave: tuple[str, ...]) -> list[tuple[str, torch.Tensor]]:
    """The tensors in what a module gave, each with a name."""
    if isinstance(output, Mapping):
        named = [
            (name, tensor)
            for key, value in output.items()
            if key not in leave
            for name, tensor in _leaves(str(key), value)
        ]
    elif isinstance(output, torch.Tensor):
        return [("output", output)]
    else:
        tensors = [t for t in _pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
        if len(tensors) == 1:
            return [("output", tensors[0])]
        named = [(f"output_{i}", tensor) for i, tensor in enumerate(tensors)]
    if not named:
        what = f"the module gives {type(output).__name__}, in which there is no tensor"
        raise ModelError(what, fix="let its forward return tensors")
    return named


def _leaves(key: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield key, value
        return
    tensors = [t for t in _pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]
    for i, tensor in enumerate(tensors):
        yield (key if len(tensors) == 1 else f"{key}_{i}"), tensor
