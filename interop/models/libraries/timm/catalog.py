"""timm's registry -> modules and entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.errors import ModelError
from interop.facts import HeadInput, HeadRole
from interop.identity.index.build import IndexEntry

if TYPE_CHECKING:
    from torch import nn

# timm's word for a pooling -> what it hands to the head.
_TAKES = {
    HeadInput.AVERAGE: HeadInput.AVERAGE,
    "fast": HeadInput.AVERAGE,
    HeadInput.TOKEN: HeadInput.TOKEN,
}


def names() -> list[str]:
    import timm

    return list(timm.list_models())


def module(name: str, **overrides: Any) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise ModelError(f"the timm here has no {name!r}", fix="timm.list_models() has all")
    try:
        built: nn.Module = timm.create_model(name, pretrained=False, **overrides)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(str(error), where=f"timm/{name}", fix="change the options") from None
    return built


def meta(name: str, **overrides: Any) -> nn.Module:
    import torch

    from interop.models.init_modes import EmptyOnMeta

    try:
        with torch.device("meta"):
            return module(name, **overrides)
    except ModelError:  # older constructors read numbers off tensors, which meta has none of
        with EmptyOnMeta():
            return module(name, **overrides)


def hollow(name: str, entry: IndexEntry, **overrides: Any) -> nn.Module:
    """With a classifier where the entry has one: some are built without, by default."""
    return module(name, **{**_classes(entry), **overrides})


def outline(name: str, entry: IndexEntry) -> nn.Module:
    return meta(name, **_classes(entry))


def _classes(entry: IndexEntry) -> dict[str, int]:
    if not entry.heads:
        return {}
    return {"num_classes": entry.shapes[f"{entry.heads[0][0]}.weight"][0]}


def input_size(name: str) -> tuple[int, ...] | None:
    import timm

    known = timm.get_pretrained_cfg(name)
    return tuple(known.input_size) if known else None


def inputs(name: str, module: nn.Module, size: tuple[int, ...] | None) -> dict[str, Any]:
    import torch

    shape = size or input_size(name) or ()
    return {"x": torch.rand((1, *shape), generator=torch.Generator().manual_seed(1))}


def stated(name: str, module: nn.Module) -> dict[str, Any]:
    known: Any = module.pretrained_cfg
    return {
        "input size": tuple(known["input_size"]),
        "normalisation": (tuple(known["mean"]), tuple(known["std"])),
    }


def entries(name: str) -> list[IndexEntry]:
    """The model as it is built by default, and with a classifier where that leaves it out.

    Feature extractors (DINOv2, SigLIP) have none until `num_classes` asks for one.
    """
    built = meta(name)
    entries = [_entry(name, built)]
    if not entries[0].heads and _classifiers(built) and hasattr(built, "reset_classifier"):
        headed = _entry(name, meta(name, num_classes=1000))
        if headed.heads:
            entries.append(headed)
    return entries


def _entry(name: str, built: nn.Module) -> IndexEntry:
    shapes = {k: tuple(v.shape) for k, v in built.state_dict().items()}
    heads = tuple(
        (path, _role(path, place))
        for place, path in enumerate(_classifiers(built))
        if f"{path}.weight" in shapes
    )
    takes = HeadInput.UNKNOWN
    if heads:
        pooled = _TAKES.get(pooling(built), HeadInput.UNKNOWN)
        takes = HeadInput.FLAT if name.startswith("vgg") else pooled
    return IndexEntry(f"timm/{name}", shapes, heads=heads, takes=takes)


def _classifiers(built: nn.Module) -> tuple[str, ...]:
    """The paths that timm itself calls the classifier, the main one first."""
    stated: Any = getattr(built, "pretrained_cfg", {}).get("classifier") or ()
    return (stated,) if isinstance(stated, str) else tuple(stated)


def _role(path: str, place: int) -> HeadRole:
    if place and "dist" in path:
        return HeadRole.DISTILLATION
    return HeadRole.AUXILIARY_CLASSES if path.startswith("aux") else HeadRole.CLASSES


def pooling(built: nn.Module) -> str:
    """How features become one vector, in timm's word; "" where the model does not say."""
    for holder in (built, getattr(built, "head", None)):
        for attribute in ("global_pool", "pool_type"):
            pool = getattr(holder, attribute, None)
            pool = getattr(pool, "pool_type", pool)
            if isinstance(pool, str) and pool:
                return pool
    return ""
