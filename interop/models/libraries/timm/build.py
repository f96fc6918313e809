"""A timm name, a file's shapes and the config.json beside it -> timm's module.

A folder's config.json (timm's own schema) tells what the shapes do not: pooling, arguments of the
constructor. Without it the number of classes, of an input's channels and of its patches are read
off the shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from interop.errors import ModelError
from interop.facts import HeadKind, HeadRole, Identity, Json
from interop.models import catalog
from interop.models.heads import (
    OWN,
    fit_head,
    fit_layer,
    refuse_around,
    refuse_several_layers,
    shapes_of,
)
from interop.models.init_modes import Undrawn

Shape = tuple[int, ...]
_POSITIONS = ("pos_embed", "pos_embed.pos_embed")


def described(identity: Identity) -> Mapping[str, Json] | None:
    """The config.json beside the weights, where it is of timm's schema."""
    config = identity.manifest.metadata.get("config.json")
    if not isinstance(config, Mapping) or not isinstance(config.get("architecture"), str):
        return None
    return config if "pretrained_cfg" in config or "num_features" in config else None


def build(identity: Identity, name: str, *, own_head: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """The module and what is to be said of it. Raises ModelError where the file does not tell."""
    config = described(identity)
    if config is not None:
        return _by_config(identity, config), ()
    refuse_around(identity, name)
    head = identity.head
    if head is not None and head.kind == HeadKind.REMOVED:
        head = None
    if head is not None and not own_head:
        refuse_several_layers(identity, head)
    classes = head.outputs if head else _stated_classes(name, shapes_of(identity))
    options: dict[str, Any] = {} if own_head else {"num_classes": classes}
    module, notes = _fitted(identity, name, options)
    if head is not None and not own_head:
        with Undrawn():
            fit_head(module, identity, head, name)
            for side in identity.side_heads:
                if side.kind == HeadKind.LINEAR and side.role != HeadRole.BESIDE:
                    fit_layer(module, side.path, shapes_of(identity))
    return module, notes


def _stated_classes(name: str, shapes: Mapping[str, Shape]) -> int:
    """The rows of what timm itself calls the classifier; 0 where the file has no such tensor."""
    import timm

    path = getattr(timm.get_pretrained_cfg(name), "classifier", None) or ""
    first = path if isinstance(path, str) else path[0]
    return shapes.get(f"{first}.weight", (0,))[0]


def _by_config(identity: Identity, config: Mapping[str, Json]) -> nn.Module:
    name, pretrained = config["architecture"], config.get("pretrained_cfg")
    own = dict(pretrained) if isinstance(pretrained, Mapping) else {}
    if "num_classes" in config:
        own["num_classes"] = config["num_classes"]
    arguments = config.get("model_args")
    options = dict(arguments) if isinstance(arguments, Mapping) else {}
    # Kept for the reader's information; a constructor takes it only where it is not its own.
    pool = config.get("global_pool")
    module = _made(identity, name, {**options, "pretrained_cfg": _known(name, own)})
    if isinstance(pool, str) and pool and "global_pool" not in options and _pool(module) != pool:
        options["global_pool"] = pool
        module = _made(identity, name, {**options, "pretrained_cfg": _known(name, own)})
    return module


def _known(name: str, own: Mapping[str, Json]) -> dict[str, Json]:
    """The entries of a pretrained_cfg that the timm here knows; other versions have others."""
    from timm.models import PretrainedCfg

    names = {f.name for f in fields(PretrainedCfg)}
    return {"architecture": name, **{k: v for k, v in own.items() if k in names}}


def _pool(module: nn.Module) -> str:
    from interop.models.libraries.timm.catalog import pooling

    return pooling(module)


def _fitted(
    identity: Identity, name: str, options: dict[str, Any]
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with the channels, the input's size and the pooling that the shapes tell."""
    shapes = shapes_of(identity)
    notes: list[str] = []
    module = _made(identity, name, options)
    there = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    if "fc_norm.weight" in shapes and "fc_norm.weight" not in there:
        options = {**options, "global_pool": "avg"}  # a norm behind the pooling, not before it
        notes.append("global_pool is avg: the file has fc_norm, which token pooling has not")
    if _doubled(identity, module):
        options = {**options, "global_pool": "catavgmax"}
        notes.append("global_pool is catavgmax: the head takes the features twice")
    if channels := _channels(shapes, there):
        options = {**options, "in_chans": channels}
    if (sizes := _size(module, shapes, there)) is not None:
        options = {**options, "img_size": sizes}
        notes.append(
            f"img_size {sizes} is taken from the number of position embeddings, as for square "
            "pictures"
        )
    if options.keys() & {"global_pool", "in_chans", "img_size"}:
        module = _made(identity, name, options)
    return module, tuple(notes)


def _doubled(identity: Identity, module: nn.Module) -> bool:
    """Whether the head takes twice the features: the average and the maximum of each."""
    head = identity.head
    if head is None or head.kind == HeadKind.REMOVED:
        return False
    there: Any = dict(module.named_modules()).get(head.path)
    return isinstance(there, nn.Linear) and there.in_features * 2 == head.in_width


def _channels(shapes: Mapping[str, Shape], there: Mapping[str, Shape]) -> int:
    """How many channels the first convolution takes in the file, where timm's takes others."""
    for key, shape in there.items():
        if len(shape) == 4:
            own = shapes.get(key, shape)
            alike = len(own) == 4 and own[0] == shape[0] and own[2:] == shape[2:]
            return own[1] if alike and own[1] != shape[1] else 0
    return 0


def _size(
    module: Any, shapes: Mapping[str, Shape], there: Mapping[str, Shape]
) -> tuple[int, int] | None:
    """Height and width of the input that the file's position embeddings are for."""
    key = next((k for k in _POSITIONS if k in there), "")
    own, default = shapes.get(key, ()), there.get(key, ())
    grid = getattr(getattr(module, "patch_embed", None), "grid_size", None)
    patch = getattr(getattr(module, "patch_embed", None), "patch_size", None)
    if own == default or len(own) != 3 or not grid or not patch:
        return None
    tokens = default[1] - grid[0] * grid[1]  # a class token and the like
    side = math.isqrt(own[1] - tokens)
    return (side * patch[0], side * patch[1]) if side * side == own[1] - tokens else None


def _made(identity: Identity, name: str, options: Mapping[str, Any]) -> nn.Module:
    """timm's module with memory for its weights, which no numbers were drawn for."""
    with Undrawn():
        try:
            return catalog.module(f"timm/{name}", **options)
        except ModelError as error:
            what = f"the timm here does not build {name}: {error.what}"
            fix = f"install another timm, or {OWN}"
            raise ModelError(what, where=identity.manifest.path, fix=fix) from None
