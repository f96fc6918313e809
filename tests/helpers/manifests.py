"""Manifests of shapes alone: identity never looks at values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interop.facts import Manifest, StateDict, TensorSpec

Shapes = Mapping[str, tuple[int, ...]]


def manifest(shapes: Shapes, metadata: Mapping[str, Any] | None = None) -> Manifest:
    """A file with these tensors, as a reader would describe it."""
    tensors = tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())
    return Manifest("x.pth", "x.pth", "torch-zip", 0, "", (StateDict("", tensors),), metadata or {})


def shapes_of(module: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a module's state dict, in definition order."""
    return {name: tuple(t.shape) for name, t in module.state_dict().items()}
