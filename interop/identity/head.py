"""Tensors -> the head among them: the layers that were replaced for the task."""

from __future__ import annotations

from collections.abc import Sequence

from interop.facts import Head, TensorSpec

ONE_LAYER = ("linear", "conv1x1")


def under(name: str, path: str) -> bool:
    """Whether a tensor's name lies under a module path."""
    return name.startswith(path + ".")


def at_path(tensors: Sequence[TensorSpec], path: str, *, standard: bool) -> Head:
    """The head at a path that is known to be the head's.

    `standard` says that the path is where the library itself puts its last layer. A head whose
    weights lie deeper than `path` itself has layers without weights around them, which no file
    names: its kind is "several layers".
    """
    own = [t for t in tensors if under(t.name, path)]
    evidence = (
        "the index" if standard else f"everything else is the backbone's; {path} was replaced"
    )
    if not own:
        return Head(path, "removed", 0, 0, (), evidence)
    weights = [t for t in own if len(t.shape) >= 2]
    kind = "several layers"
    if {t.name for t in own} <= {f"{path}.weight", f"{path}.bias"} and len(weights) == 1:
        kind = _kind(weights[0])
    if not weights:
        return Head(path, kind, 0, 0, tuple(t.name for t in own), evidence)
    # In a file that sorts its names the last layer is found by its number, not by its place.
    first, last = _ends(weights)
    return Head(path, kind, first.shape[1], last.shape[0], tuple(t.name for t in own), evidence)


def by_definition_order(tensors: Sequence[TensorSpec]) -> Head | None:
    """The head of an unknown module: its last weight, where that is a linear layer's.

    The last weight of two or more dimensions in definition order is the head in nearly every
    classifier; one that is no matrix (an autoencoder's last convolution) is none.
    """
    weights = [t for t in tensors if len(t.shape) >= 2 and t.name.endswith("weight")]
    if len(weights) < 2 or len(weights[-1].shape) != 2:
        return None
    last = weights[-1]
    path = last.name.rpartition(".")[0]
    if not path:
        return None
    own = tuple(t.name for t in tensors if under(t.name, path))
    if set(own) - {f"{path}.weight", f"{path}.bias"}:
        return None
    evidence = "the last weight in definition order"
    return Head(path, "linear", last.shape[1], last.shape[0], own, evidence)


def _kind(weight: TensorSpec) -> str:
    if len(weight.shape) == 2:
        return "linear"
    return "conv1x1" if weight.shape[2:] == (1, 1) else "several layers"


def _ends(weights: Sequence[TensorSpec]) -> tuple[TensorSpec, TensorSpec]:
    def place(t: TensorSpec) -> list[tuple[int, str]]:
        return [(int(p), "") if p.isdigit() else (-1, p) for p in t.name.split(".")]

    ordered = sorted(weights, key=place)
    return ordered[0], ordered[-1]
