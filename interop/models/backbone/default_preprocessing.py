"""An architecture's name -> how its published weights had their pictures prepared.

A person who trains a model anew chooses its preprocessing; where they name none, this is the
choice that its library made for the same architecture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interop.facts import Evidence, Preprocessing
from interop.identity.preprocessing import NotUnderstood, from_timm
from interop.models.libraries.torchvision.imported import torchvision


def preprocessing(library: str, name: str) -> Preprocessing | None:
    """torchvision's or timm's own for the name; None where it has none, or not of this form."""
    return _torchvision(name) if library == "torchvision" else _timm(name)


def _torchvision(name: str) -> Preprocessing | None:
    get_model_weights = torchvision().models.get_model_weights

    try:
        weights = getattr(get_model_weights(name), "DEFAULT", None)
    except ValueError:
        return None
    how: Any = weights.transforms() if weights is not None else None
    if not hasattr(how, "crop_size") or not hasattr(how, "mean"):
        return None
    return Preprocessing(
        resize=tuple(how.resize_size) if len(how.resize_size) == 1 else tuple(how.resize_size[:2]),
        crop=(how.crop_size[0], how.crop_size[-1]),
        mean=tuple(how.mean),
        std=tuple(how.std),
        interpolation=how.interpolation.value,
        source=f"torchvision's published weights of {name}",
        evidence=Evidence.ASSUMED,
    )


def _timm(name: str) -> Preprocessing | None:
    import timm

    known: Any = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if known is None:
        return None
    try:
        how = from_timm(known.to_dict(), f"timm's published weights of {name}")
        return replace(how, evidence=Evidence.ASSUMED)
    except (NotUnderstood, KeyError, TypeError, ValueError):
        return None
