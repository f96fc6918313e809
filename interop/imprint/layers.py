"""A module and a batch of inputs -> how far each BatchNorm's inputs are from what it remembers.

A BatchNorm keeps the mean and the variance of each channel that passed through it in training. The
divergence of a layer is the mean over its channels of KL(N(m, v) || N(rm, rv)), where m and v are
of the inputs at hand and rm, rv are kept: 0 if they are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]
_PRIOR = 1e-3  # on the spread of the planes' logarithmic scales, and of their shifts
CHUNK = 16  # images that go through a module together


class _Enough(Exception):
    """The layers that were asked for have been seen."""


def normalizations(module: nn.Module) -> list[nn.Module]:
    """Return the modules that keep statistics by channel, BatchNorm's frozen kind among them."""
    return [
        m
        for m in module.modules()
        if isinstance(getattr(m, "running_mean", None), torch.Tensor)
        and isinstance(getattr(m, "running_var", None), torch.Tensor)
        and not isinstance(m, nn.modules.instancenorm._InstanceNorm)
    ]


def divergences(
    module: nn.Module, inputs: torch.Tensor, *, first: int | None = None
) -> tuple[float, ...]:
    """Return the divergence of each BatchNorm in the order in which they run, or of the `first`.

    `inputs` is float32 (n, channels, height, width). Raises what the module raises on them.
    """
    seen: dict[nn.Module, _Sums] = {}
    at = 0

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        x = given[0].detach()
        sums = seen.setdefault(layer, _Sums())
        if sums.chunk != at:  # a layer that runs twice counts once
            sums.add(x, at)
        if first is not None and len(seen) == first and layer is next(reversed(seen)):
            raise _Enough

    with _watched(module, look), torch.no_grad():
        for at in range(0, len(inputs), CHUNK):
            with suppress(_Enough):
                module(inputs[at : at + CHUNK])
    return tuple(_of_layer(layer, *sums.moments()) for layer, sums in seen.items())


class _Sums:
    """Sums by channel of what one layer was given."""

    def __init__(self) -> None:
        self.chunk, self.count = -1, 0
        self.sum: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: torch.Tensor, chunk: int) -> None:
        axes = [d for d in range(x.ndim) if d != 1]
        x = x.double() if x.numel() < 1 << 22 else x
        self.chunk, self.count = chunk, self.count + x.numel() // x.shape[1]
        self.sum = self.sum + x.sum(axes).double().numpy()
        self.squares = self.squares + x.square().sum(axes).double().numpy()

    def moments(self) -> tuple[Array, Array]:
        mean = self.sum / self.count
        return mean, np.maximum(self.squares / self.count - mean**2, 0)


def _of_layer(layer: nn.Module, mean: Array, variance: Array) -> float:
    return float(divergence(mean, variance, *kept(layer)).mean())


def kept(layer: nn.Module) -> tuple[Array, Array, float]:
    """Return the mean and variance of each channel that a layer keeps, and its epsilon."""
    held: Any = layer
    mean, variance = (t.detach().double().numpy() for t in (held.running_mean, held.running_var))
    return mean, variance, float(getattr(layer, "eps", 1e-5))


def divergence(mean: Array, variance: Array, kept_mean: Array, kept: Array, eps: float) -> Array:
    """Return KL(N(mean, variance) || N(kept_mean, kept)) element by element."""
    ratio = (variance + eps) / (kept + eps)
    return 0.5 * (ratio + (mean - kept_mean) ** 2 / (kept + eps) - 1 - np.log(ratio))


@contextmanager
def _watched(
    module: nn.Module, look: Callable[[nn.Module, tuple[Any, ...]], None]
) -> Iterator[None]:
    hooks = [m.register_forward_pre_hook(look) for m in normalizations(module)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# ---------------------------------------------------------------- the first layer


@dataclass(frozen=True)
class FirstLayer:
    """What the first BatchNorm would be given, for every scale and shift of the planes at once.

    All that is before it is linear, so its input is sum_c a_c F_c + b_c G_c + g, where a plane x_c
    of an image is prepared as a_c x_c + b_c. `means` (channels, 2 C + 1) and `products` (channels,
    2 C + 1, 2 C + 1) are the means of these maps and of their products over images and places.
    """

    means: Array
    products: Array
    kept: tuple[Array, Array, float]

    @property
    def planes(self) -> int:
        return int(self.means.shape[1] - 1) // 2

    def divergence(self, a: Array, b: Array) -> float:
        """Return the divergence if planes are scaled by `a` and shifted by `b`, each (C,)."""
        theta = np.concatenate([a, b, [1.0]])
        mean = self.means @ theta
        variance = np.maximum(np.einsum("kij,i,j->k", self.products, theta, theta) - mean**2, 0)
        return float(divergence(mean, variance, *self.kept).mean())

    def fit(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return the scale and shift of least divergence near (a, b), each (C,).

        The signs stay. Planes of photos are nearly the same, so a weak prior holds them together.
        """
        from scipy.optimize import minimize

        sign, size, shift = np.sign(a[0]), float(np.abs(a).mean()), float((b / a).mean())

        def unpacked(theta: Array) -> tuple[Array, Array]:
            scales = np.exp(theta[: self.planes]) * sign * size
            return scales, scales * (theta[self.planes :] + shift)

        def cost(theta: Array) -> float:
            spread = theta[: self.planes].var() + theta[self.planes :].var()
            return self.divergence(*unpacked(theta)) + _PRIOR * float(spread)

        start = np.concatenate([np.zeros(self.planes), b / a - shift])
        found = minimize(cost, start, method="L-BFGS-B", options={"maxiter": 60})
        return unpacked(found.x)


def first_layer(module: nn.Module, planes: torch.Tensor) -> FirstLayer | None:
    """Return what the first BatchNorm makes of `planes` (n, C, height, width), 0 to 1; None if
    what is before it is not linear, or there is none."""
    channels = planes.shape[1]
    held: list[torch.Tensor] = []
    layers: list[nn.Module] = []

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        held.append(given[0].detach())
        layers.append(layer)
        raise _Enough

    def at_first(x: torch.Tensor) -> torch.Tensor | None:
        held.clear()
        try:
            module(x)
        except _Enough:
            return held[0]
        return None

    with _watched(module, look), torch.no_grad():
        one = torch.zeros_like(planes[:1])
        bare = at_first(one)
        if bare is None or bare.ndim != 4:
            return None
        still = []  # the maps that are the same for every image
        for c in range(channels):
            one.zero_()[:, c] = 1
            still.append(at_first(one) - bare)  # type: ignore[operator]
        fixed = _flat([*still, bare]).double()  # (K, C + 1, places)
        total = torch.zeros(fixed.shape[0], channels, fixed.shape[2], dtype=torch.float64)
        within = torch.zeros(fixed.shape[0], channels, channels, dtype=torch.float64)
        for at in range(0, len(planes), CHUNK // 2):
            chunk = planes[at : at + CHUNK // 2]
            maps = []
            for c in range(channels):
                alone = torch.zeros_like(chunk)
                alone[:, c] = chunk[:, c]
                maps.append(at_first(alone) - bare)  # type: ignore[operator]
            if at == 0 and not _is_linear(maps, bare, at_first(chunk)):
                return None
            within += (flat := _flat(maps)) @ flat.transpose(1, 2)
            total += flat.reshape(*flat.shape[:2], len(chunk), -1).sum(2)
    across = total @ fixed.transpose(1, 2)
    count, places = len(planes), fixed.shape[2]
    products = torch.cat([
        torch.cat([within, across], 2),
        torch.cat([across.transpose(1, 2), count * (fixed @ fixed.transpose(1, 2))], 2),
    ], 1)  # fmt: skip
    means = torch.cat([total.sum(2), count * fixed.sum(2)], 1)
    size = count * places
    return FirstLayer((means / size).numpy(), (products / size).numpy(), kept(layers[0]))


def _flat(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps (n, K, height, width) as (K, maps, n * height * width)."""
    return torch.stack(list(maps)).transpose(1, 2).flatten(2).transpose(0, 1)


def _is_linear(
    maps: Sequence[torch.Tensor], bare: torch.Tensor, whole: torch.Tensor | None
) -> bool:
    if whole is None:
        return False
    largest = float(whole.abs().max()) + 1e-12
    return float((sum(maps, bare) - whole).abs().max()) < 1e-3 * largest
