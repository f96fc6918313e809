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
    """Return what the module takes; None if its first layer is unknown, or does not tell.

    The channels, features or rows of the layer fix the axes that they are of. A side of an image is
    tried at 224, then at other sizes: the only one at which the module runs is its own.
    """
    names, layer = asked(module), _first(module)
    if not names or layer is None or (len(names) > 1 and _kind(layer) != "Embedding"):
        return None
    tried = ((s, _runs(module, s)) for s in _SHAPES[_kind(layer)](names, layer))
    first = next((s for s, fine in tried if fine), None)
    if first is None:
        return None
    # What of an image or a sound no layer fixes: another size runs too.
    others = _kind(layer) in ("Conv1d", "Conv2d") and any(fine for _, fine in tried)
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


def takes_by_name(module: nn.Module) -> list[str]:
    """Return the names of all arguments of forward, those with a default too."""
    forward: Any = module.forward
    if isinstance(module, torch.jit.ScriptModule):
        return [str(a.name) for a in forward.schema.arguments[1:]]
    return list(inspect.signature(forward).parameters)


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


def _image(names: list[str], layer: Any) -> Iterator[Signature]:
    channels = layer.weight.shape[1] * getattr(layer, "groups", 1)  # a traced layer has none
    for side in _SIDES:
        yield Signature((Argument(names[0], (BATCH, channels, side, side)),))


def _sound(names: list[str], layer: Any) -> Iterator[Signature]:
    channels = layer.weight.shape[1] * getattr(layer, "groups", 1)  # a traced layer has none
    for length in _LENGTHS:
        yield _open(Argument(names[0], (BATCH, channels, "length")), axis="length", size=length)


def _rows(names: list[str], layer: Any) -> Iterator[Signature]:
    width = int(layer.weight.shape[1])
    yield Signature((Argument(names[0], (BATCH, width)),))
    yield _open(Argument(names[0], (BATCH, "sequence", width)))


def _steps(names: list[str], layer: Any) -> Iterator[Signature]:
    weight = layer.in_proj_weight if hasattr(layer, "in_proj_weight") else layer.weight_ih_l0
    if getattr(layer, "batch_first", True) and weight is not None:
        yield _open(Argument(names[0], (BATCH, "sequence", int(weight.shape[1]))))


def _tokens(names: list[str], layer: Any) -> Iterator[Signature]:
    """Tokens, and what else is given of each of them by its name: masks of ones, types of zeros."""
    rows = int(layer.weight.shape[0])
    draws = ["mask" if "mask" in n else "zeros" if "type" in n else "whole" for n in names]
    yield _open(
        *(
            Argument(name, (BATCH, "sequence"), "int64", draw, 0, rows)
            for name, draw in zip(names, draws, strict=True)
        )
    )


_SHAPES = {
    "Conv2d": _image, "Conv1d": _sound, "Linear": _rows, "Embedding": _tokens,
    "MultiheadAttention": _steps, **dict.fromkeys(_RECURRENT, _steps),
}  # fmt: skip


def _open(*arguments: Argument, axis: str = "sequence", size: int = _STEPS) -> Signature:
    return Signature(arguments, {axis: size}, {axis: size + size // 2})


def _runs(module: nn.Module, takes: Signature) -> bool:
    """Whether the module answers a row for each row of such an input."""
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    arrays = map(torch.from_numpy, drawn(takes, _ROWS).values())
    example = [t.to(dtype) if t.is_floating_point() else t for t in arrays]
    silent = contextlib.redirect_stdout(io.StringIO())
    with contextlib.suppress(Exception), silent, torch.inference_mode():
        leaves = _pytree.tree_leaves(module(*example))
        answers = [t for t in leaves if isinstance(t, torch.Tensor)]
        return any(t.ndim and t.shape[0] == _ROWS for t in answers)
    return False
