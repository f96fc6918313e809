"""A module that states no input -> what its first layer takes, once the module has run on it."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from interop.models.signature.types import BATCH, Argument, Signature, drawn

SIDE = 224  # what most people train images at
_SIDES = (SIDE, 32, 28, 64, 96, 128, 256, 299, 384)
_LENGTHS = (1_024, 16_000)
_STEPS = 16
_ROWS = 2  # of a trial: so many rows have to come out again
_RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, slots=True)
class FirstLayer:
    """What a module takes by its first layer; `assumed` says that other sizes would do as well."""

    signature: Signature
    assumed: bool


def by_first_layer(module: nn.Module) -> FirstLayer | None:
    """Return what the module takes; None if it takes several tensors or its first layer is unknown.

    The channels, features or rows of the layer fix the axes that they are of. A side of an image is
    tried at 224, then at other sizes: the only one at which the module runs is its own.
    """
    names, layer = asked(module), _first(module)
    if len(names) != 1 or layer is None:
        return None
    tried = ((s, _runs(module, s)) for s in _SHAPES[_kind(layer)](names[0], layer))
    first = next((s for s, fine in tried if fine), None)
    if first is None:
        return None
    free = first.arguments[0].axes[2:] if _kind(layer) == "Conv2d" else ()
    others = any(fine for _, fine in tried) if free else False
    return FirstLayer(first, others)


def asked(module: nn.Module) -> list[str]:
    """Return the names of the arguments that forward has to be given."""
    forward: Any = module.forward
    if isinstance(module, torch.jit.ScriptModule):
        taken = forward.schema.arguments[1:]
        return [str(a.name) for a in taken if not a.has_default_value()]
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = inspect.signature(forward).parameters.values()
    return [p.name for p in taken if p.default is p.empty and p.kind in plain]


def _first(module: nn.Module) -> Any:
    """The first layer in definition order that has weights and a known kind."""
    for part in module.modules():
        if _kind(part) in _SHAPES:
            return part
        # A weight of its own (a class token) is added later; a layer of another kind takes it all.
        if not list(part.children()) and next(part.parameters(False), None) is not None:
            return None
    return None


def _kind(part: nn.Module) -> str:
    return str(getattr(part, "original_name", None) or type(part).__name__)


def _image(name: str, layer: Any) -> Iterator[Signature]:
    channels = layer.weight.shape[1] * getattr(layer, "groups", 1)  # a traced layer has none
    for side in _SIDES:
        yield Signature((Argument(name, (BATCH, channels, side, side)),))


def _sound(name: str, layer: Any) -> Iterator[Signature]:
    channels = layer.weight.shape[1] * getattr(layer, "groups", 1)  # a traced layer has none
    for length in _LENGTHS:
        yield _open(Argument(name, (BATCH, channels, "length")), "length", length)


def _rows(name: str, layer: Any) -> Iterator[Signature]:
    width = int(layer.weight.shape[1])
    yield Signature((Argument(name, (BATCH, width)),))
    yield _open(Argument(name, (BATCH, "sequence", width)), "sequence", _STEPS)


def _steps(name: str, layer: Any) -> Iterator[Signature]:
    weight = layer.in_proj_weight if hasattr(layer, "in_proj_weight") else layer.weight_ih_l0
    if getattr(layer, "batch_first", True) and weight is not None:
        yield _open(Argument(name, (BATCH, "sequence", int(weight.shape[1]))), "sequence", _STEPS)


def _tokens(name: str, layer: Any) -> Iterator[Signature]:
    rows = int(layer.weight.shape[0])
    argument = Argument(name, (BATCH, "sequence"), "int64", "whole", 0, rows)
    yield _open(argument, "sequence", _STEPS)


_SHAPES = {
    "Conv2d": _image, "Conv1d": _sound, "Linear": _rows, "Embedding": _tokens,
    "MultiheadAttention": _steps, **dict.fromkeys(_RECURRENT, _steps),
}  # fmt: skip


def _open(argument: Argument, axis: str, size: int) -> Signature:
    return Signature((argument,), {axis: size}, {axis: size + size // 2})


def _runs(module: nn.Module, takes: Signature) -> bool:
    """Whether the module answers a row for each row of such an input."""
    (given,) = drawn(takes, _ROWS).values()
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    example = torch.from_numpy(given)
    example = example.to(dtype) if example.is_floating_point() else example
    silent = contextlib.redirect_stdout(io.StringIO())
    with contextlib.suppress(Exception), silent, torch.inference_mode():
        leaves = _pytree.tree_leaves(module(example))
        answers = [t for t in leaves if isinstance(t, torch.Tensor)]
        return any(t.ndim and t.shape[0] == _ROWS for t in answers)
    return False
