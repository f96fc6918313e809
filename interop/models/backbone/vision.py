"""Weights of torchvision or timm -> their architecture's module under a new head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import HeadKind, HeadRole, Proof
from interop.identity.index.lookup import under
from interop.models import catalog
from interop.models.build_module import build_with_notes
from interop.models.heads import put
from interop.models.initialize import fill
from interop.models.load_weights import NAME, load
from interop.models.pretrained import Backbone, PretrainedSource
from interop.models.weights import state_dict

_LEFT = ("its own head was left aside",)
OWN = "give the module for the new task with --model package.module:factory"


def under_head(source: PretrainedSource, outputs: int) -> Backbone:
    """Raises ModelError where the architecture is unknown, or has no head to be replaced."""
    backbone = as_saved(source)
    module, heads = backbone.module, _heads(backbone.module, source)
    _replace(module, source, heads, outputs)
    fresh = tuple(n for n in module.state_dict() if _is_of(n, heads))
    module.requires_grad_(True)
    return Backbone(module.eval(), heads[0], fresh, backbone.proof, backbone.notes)


def as_saved(source: PretrainedSource) -> Backbone:
    """The module with the file's own head; `fresh` names its tensors where the file has none."""
    if not source.library:
        build_with_notes(source.identity)  # which says what is not known of it
    if source.library not in ("torchvision", "timm"):
        raise ModelError(f"is {source.library}'s", where=source.name, fix=OWN)
    name = f"{source.library}/{source.arch}"
    notes: tuple[str, ...] = ()
    if source.random:
        # As wide as the head of the file that was named for its architecture, where one was.
        head = source.identity.head
        width = {"num_classes": head.outputs} if head is not None and head.outputs else {}
        module, proof = catalog.module(name, **width), drawn(name)
    else:
        module, proof, notes = _with_weights(source, name)
    heads = _heads(module, source)
    own = not source.random and notes != _LEFT
    fresh = () if own else tuple(n for n in module.state_dict() if _is_of(n, heads))
    return Backbone(module.eval(), heads[0], fresh, proof, notes)


def _is_of(name: str, heads: list[str]) -> bool:
    return any(under(name, path) for path in heads)


def _with_weights(source: PretrainedSource, name: str) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    """The module with the file's weights; of a head that no library has, without that head, and of
    a file that has lost its own too: how much of the backbone it still fills is to be said."""
    identity = source.identity
    try:
        module, notes = build_with_notes(identity, arch=name)
        return module, load(module, identity), notes
    except ModelError:
        head = identity.head
        if head is not None and head.kind in (HeadKind.LINEAR, HeadKind.CONV1X1):
            raise
        module = catalog.module(name)
        if head is None and not {t.name for t in identity.tensors} & set(module.state_dict()):
            raise
    heads = _heads(module, source)
    own = {n for h in (identity.head, *identity.side_heads) if h for n in h.tensors}
    given = {n: t for n, t in _tensors(source).items() if n not in own}
    _, proof = fill(module, given, new=heads)
    return module, proof, _LEFT


def _tensors(source: PretrainedSource) -> dict[str, torch.Tensor]:
    return state_dict(source.identity.tensors, source.identity.manifest.path)


def drawn(name: str) -> Proof:
    facts = {"backbone_fraction": 0.0, "fresh": [], "left_aside": []}
    return Proof(NAME, True, f"nothing was loaded: {name} with weights drawn at random", facts)


def _heads(module: nn.Module, source: PretrainedSource) -> list[str]:
    """Paths of the layers that the new task replaces, the main one first."""
    if source.library == "timm":
        stated: Any = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
        paths = [stated] if isinstance(stated, str) else list(stated)
    else:
        from interop.models.libraries.torchvision.catalog import replaced_heads as known

        shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
        paths = [path for path, _ in known(source.arch.removeprefix("quantized_"), shapes)]
        side = {path for path, role in known(source.arch, shapes) if HeadRole.CLASSES not in role}
        if side or not paths:
            what = f"{source.arch} gives more than classes, and its heads are not replaced here"
            raise ModelError(what, where=source.name, fix=OWN)
    if not paths:
        raise ModelError(f"timm names no classifier of {source.arch}", where=source.name, fix=OWN)
    return paths


def _replace(module: Any, source: PretrainedSource, heads: list[str], outputs: int) -> None:
    """New layers of the same kind, as wide as the task asks for."""
    if source.library == "timm":
        module.reset_classifier(outputs)
        return
    for path in heads:
        there: Any = module.get_submodule(path)
        bias = there.bias is not None
        if isinstance(there, nn.Linear):
            put(module, path, nn.Linear(there.in_features, outputs, bias=bias))
        elif isinstance(there, nn.Conv2d):
            put(
                module,
                path,
                nn.Conv2d(there.in_channels, outputs, there.kernel_size, bias=bias),  # type: ignore[arg-type]
            )
        else:
            raise ModelError(f"its head {path} is no plain layer", where=source.name, fix=OWN)
