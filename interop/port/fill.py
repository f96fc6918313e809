"""A map of tensors and the tensors themselves -> the state dict that the map makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from interop.check.maps import check_how, comes_out
from interop.errors import ModelError
from interop.facts import Identity, Mapped, TensorSpec


def made(mapped: Mapped, source: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One tensor of the target: what `mapped.how` makes of its sources, in its shape."""
    if not comes_out(mapped):
        shapes = ", ".join(str(t.shape) for t in mapped.b)
        raise ModelError(
            f"the map cannot make {mapped.a.name}, {mapped.a.shape}, of {mapped.b[0].name}, "
            f"{shapes} ({mapped.how or 'as it is'})",
            fix="correct the map given with --map",
        )
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
    state = {}
    for spec in target.tensors:
        if spec.name in given:
            state[spec.name] = made(given[spec.name], source)
        elif spec.is_counter and (counter := _counter(spec, given, source)) is not None:
            state[spec.name] = counter
    return state


def _counter(
    spec: TensorSpec, given: Mapping[str, Mapped], source: Mapping[str, torch.Tensor]
) -> torch.Tensor | None:
    path = spec.name.rpartition(".")[0]
    mean = given.get(f"{path}.running_mean" if path else "running_mean")
    if mean is None:
        return None
    beside = mean.b[0].name.removesuffix("running_mean")
    return source.get(f"{beside}num_batches_tracked")
