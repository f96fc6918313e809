"""A map of tensors and the tensors themselves -> the state dict that the map makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from interop.check.maps import check_how
from interop.check.structure import is_derived
from interop.facts import Identity, Mapped, TensorSpec

_MOST_HEADS = 2  # DeiT's class and distillation heads


def made(mapped: Mapped, source: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One tensor of the target: what `mapped.how` makes of its sources, in its shape."""
    parts = [source[t.name] for t in mapped.b]
    for name, first, last in check_how(mapped.how):
        if name == "transpose":
            parts = [t.t() for t in parts]
        elif name == "join":
            parts = [torch.cat(parts)]
        elif name == "rows":
            parts = [t[first:last] for t in parts]
        else:
            parts = [t.reshape(mapped.a.shape) for t in parts]
    return parts[0]


def filled(
    mapped: Iterable[Mapped], source: Mapping[str, torch.Tensor], target: Identity
) -> dict[str, torch.Tensor]:
    """The target's tensors in the target's order, as far as the map makes them.

    Batch normalisation's counters go with their running statistics.
    """
    given = {m.a.name: m for m in mapped}
    found = {}
    for spec in target.tensors:
        if spec.name in given:
            found[spec.name] = made(given[spec.name], source)
        elif spec.is_counter and (counter := _counter(spec, given, source)) is not None:
            found[spec.name] = counter
    return found


def _counter(
    spec: TensorSpec, given: Mapping[str, Mapped], source: Mapping[str, torch.Tensor]
) -> torch.Tensor | None:
    path = spec.name.rpartition(".")[0]
    mean = given.get(f"{path}.running_mean" if path else "running_mean")
    if mean is None:
        return None
    beside = mean.b[0].name.removesuffix("running_mean")
    return source.get(f"{beside}num_batches_tracked")


def with_heads(mapped: Sequence[Mapped], a: Identity, b: Identity) -> list[Mapped]:
    """The map with the heads that it leaves over, one by one, each in the width that B's has.

    Layers left over on both sides pair in their order where they are linear, have the same parts
    and input width, and are heads as far as that is known; else the map stays as it is.
    """
    left = _by_path(a, {m.a.name for m in mapped})
    over = _by_path(b, {t.name for m in mapped for t in m.b})
    pairs = list(zip(left.values(), over.values(), strict=False))
    alike = len(left) == len(over) and all(_form(x) == _form(y) for x, y in pairs)
    if not alike or not (_are_heads(left, a) and _are_heads(over, b)):
        return list(mapped)
    more = [
        Mapped(mine, (theirs[part],), "", "head")
        for ours, theirs in pairs
        for part, mine in ours.items()
    ]
    return [*mapped, *more]


def _by_path(side: Identity, without: set[str]) -> dict[str, dict[str, TensorSpec]]:
    """The layers that a map leaves over: their tensors by path and part."""
    found: dict[str, dict[str, TensorSpec]] = {}
    for t in side.tensors:
        if t.name not in without and not is_derived(t):
            path, _, leaf = t.name.rpartition(".")
            found.setdefault(path, {})[leaf] = t
    return found


def _are_heads(layers: Mapping[str, Mapping[str, TensorSpec]], side: Identity) -> bool:
    heads = {n for h in (side.head, *side.side_heads) if h is not None for n in h.tensors}
    if heads:
        return all(t.name in heads for layer in layers.values() for t in layer.values())
    weights = [layer.get("weight") for layer in layers.values()]
    linear = all(w is not None and (w.shape[2:] or (1, 1)) == (1, 1) for w in weights)
    return linear and len(layers) <= _MOST_HEADS


def _form(layer: Mapping[str, TensorSpec]) -> list[tuple[str, tuple[int, ...]]]:
    return sorted((leaf, t.shape[1:]) for leaf, t in layer.items())
