"""A module and its signature -> one function of positional tensors that gives a tuple of tensors.

Exporters take no keywords' order, no mappings and no caches for granted; this leaves them nothing
to guess.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from interop.errors import ModelError
from interop.models.signature.calling import assembled
from interop.models.signature.types import (
    BATCH,
    DETECTIONS,
    SIDES,
    Argument,
    Arrays,
    Signature,
    drawn,
)

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
        arguments = assembled([a.path or a.name for a in how.arguments], given, target.forward)
        return target(**arguments) if how.by_name else target(*arguments.values())

    def learn_outputs(self, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Runs once to learn the outputs' names, and gives them. Raises what the module raises."""
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
            named = _named(self.call(given), self.signature.leave)
        taken = self.signature.names  # a graph has one value of each name
        self.outputs = tuple(f"{name}_out" if name in taken else name for name, _ in named)
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
        if len(sizes) == len(group) and runs(forward, drawn(signature, 1, sizes), dtype):
            continue
        signature = signature.fixed(*group)
    return signature


def _groups(signature: Signature) -> list[tuple[str, ...]]:
    """Axes that go together: a picture's two sides, else each by itself."""
    sides = tuple(a for a in SIDES if a in signature.varying)
    rest: list[tuple[str, ...]] = [(a,) for a in signature.varying if a not in sides]
    return [sides, *rest] if sides else rest


def runs(forward: Forward, batch: Arrays, dtype: torch.dtype) -> bool:
    """Whether the module natively takes these inputs."""
    given = tuple(torch.from_numpy(a) for a in batch.values())
    given = tuple(t.to(dtype) if t.is_floating_point() else t for t in given)
    try:
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr), unmarked(forward):
            forward(*given)
    except Exception:  # whatever the module's own code raises at an input that it does not take
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
    entries = _entries(output)
    if entries is None:
        named = list(_leaves("output", output))
    else:
        named = [leaf for k, v in entries.items() if k not in leave for leaf in _leaves(k, v)]
    if not named:
        what = f"the module gives {type(output).__name__}, in which there is no tensor"
        raise ModelError(what, fix="let its forward return tensors")
    return named


def _entries(value: Any) -> dict[str, Any] | None:
    """What has names in a mapping, a named tuple or a dataclass; None for anything else."""
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None


def _leaves(key: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one entry: "logits", of several in order "logits_0", by their own names
    "aux.logits". What is no tensor (None, a flag) is passed over."""
    if isinstance(value, torch.Tensor):
        yield key, value
        return
    if (entries := _entries(value)) is not None:
        for name, entry in entries.items():
            yield from _leaves(f"{key}.{name}", entry)
        return
    found = _pytree.tree_leaves(value, _is_record)
    parts = [p for p in found if isinstance(p, torch.Tensor) or _is_record(p)]
    for i, part in enumerate(parts):
        yield from _leaves(key if len(parts) == 1 else f"{key}_{i}", part)


def _is_record(value: Any) -> bool:
    return _entries(value) is not None
