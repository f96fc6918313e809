"""A library's module and the heads that a file has -> the module with those heads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import Head, HeadKind, Identity

OWN = "give the module with --model package.module:factory"
WHOLE = "give the whole module with --model package.module:factory"
# Of torch.nn.init: drawing these numbers costs more than all else that a constructor does.
_RANDOM = (
    "uniform_",
    "normal_",
    "trunc_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "orthogonal_",
)
_CONVOLUTIONS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {
    3: nn.Conv1d,
    4: nn.Conv2d,
    5: nn.Conv3d,
}


def shapes_of(identity: Identity) -> dict[str, tuple[int, ...]]:
    return {t.name: t.shape for t in identity.tensors}


def refuse_several_layers(identity: Identity, head: Head) -> None:
    """ModelError where a head has layers that no file names: an activation, a dropout."""
    if head.kind == HeadKind.SEVERAL_LAYERS:
        raise ModelError(
            f"its head {head.path} has several layers, and what lies between them "
            "(activation, dropout) is in no file",
            where=identity.manifest.path,
            fix="give the head's module with --head package.module:factory, or the whole one "
            "with --model",
        )


def refuse_around(identity: Identity, name: str) -> None:
    """ModelError where a library's model is a part of somebody's own."""
    if identity.root:
        what = f"{name} lies within a module of another make, at {identity.root!r}"
        place = ".".join(filter(None, (identity.place, identity.prefix.rstrip("."), identity.root)))
        fix = f"{WHOLE}, or export the part alone as {Path(identity.manifest.path).name}#{place}"
        raise ModelError(what, where=identity.manifest.path, fix=fix)


def fit_head(module: nn.Module, identity: Identity, head: Head, name: str) -> None:
    """Puts a single layer where the file has the head and the library has something else."""
    try:
        there: nn.Module | None = module.get_submodule(head.path)
    except AttributeError:
        there = None
    if there is None:
        what = (
            f"its head lies at {head.path}, where {name} has no module: what else "
            "stands beside it is in no file"
        )
        raise ModelError(what, where=identity.manifest.path, fix=WHOLE)
    fit_layer(module, head.path, shapes_of(identity))


def fit_layer(module: nn.Module, path: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Gives the layer at a path the size and the bias that the file has there."""
    shape = shapes.get(f"{path}.weight")
    if shape is None:
        return
    bias = f"{path}.bias" in shapes
    there: Any = module.get_submodule(path)
    kind = nn.Linear if len(shape) == 2 else _CONVOLUTIONS.get(len(shape))
    if kind is None:
        return
    weight = getattr(there, "weight", None)
    same = isinstance(there, kind) and weight is not None and tuple(weight.shape) == shape
    if same and (there.bias is not None) == bias:
        return
    if isinstance(there, nn.Linear) and there.in_features != shape[1]:
        raise ModelError(
            f"its head {path} takes {shape[1]} features, and the library's model gives "
            f"{there.in_features}: what makes the one of the other is in no file",
            fix=WHOLE,
        )
    if len(shape) == 2:
        put(module, path, nn.Linear(shape[1], shape[0], bias=bias))
        return
    # What no weight shows (stride, padding) is the library's own layer's.
    own = {k: getattr(there, k) for k in ("stride", "padding", "dilation") if hasattr(there, k)}
    constructor: Any = kind
    put(module, path, constructor(shape[1], shape[0], shape[2:], bias=bias, **own))


def put(module: nn.Module, path: str, part: nn.Module) -> None:
    try:
        module.set_submodule(path, part)  # type: ignore[no-untyped-call]
    except (AttributeError, ValueError) as error:
        raise ModelError(f"no module can be put at {path} ({error})", fix=WHOLE) from None


@contextlib.contextmanager
def uninitialised() -> Iterator[None]:
    """Within it, no random numbers are drawn for weights that are about to be replaced.

    `load` proves that every one of them was.
    """

    def leave(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return tensor

    instead: Any = dict.fromkeys(_RANDOM, leave)
    with mock.patch.multiple(nn.init, **instead):
        yield
