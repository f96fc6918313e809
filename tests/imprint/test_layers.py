"""Divergences are those of a real run, and the first layer's algebra is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from interop.imprint.candidates import affine
from interop.imprint.layers import divergence, divergences, first_layer, normalizations
from interop.imprint.search import Images
from tests.imprint.fed import BYTES, IMAGENET, fed, photos, small


def inputs(count: int = 40) -> torch.Tensor:
    return Images(photos()).inputs(IMAGENET, count)


def test_the_same_moments_have_no_divergence_and_others_have() -> None:
    one = np.ones(3)
    assert divergence(one, one, one, one, 1e-5) == pytest.approx(0)
    # KL(N(1, 1) || N(0, 2)) = (1/2 + 1/2 - 1 + ln 2) / 2
    assert divergence(one, one, 0 * one, 2 * one, 0.0) == pytest.approx(np.log(2) / 2)


def test_each_layer_is_as_a_hook_sees_it() -> None:
    module = fed(small(), photos(), IMAGENET)
    seen: list[torch.Tensor] = []
    for layer in normalizations(module):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        module(inputs())
    wanted = []
    for layer, x in zip(normalizations(module), seen, strict=True):
        assert isinstance(layer, nn.BatchNorm2d)
        assert layer.running_mean is not None and layer.running_var is not None
        moments = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        kept = layer.running_mean, layer.running_var
        wanted.append(
            divergence(*(t.double().numpy() for t in (*moments, *kept)), layer.eps).mean()
        )
    assert divergences(module, inputs()) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert divergences(module, inputs(), first=2) == pytest.approx(wanted[:2], rel=1e-3, abs=1e-6)


def test_a_layer_that_runs_twice_counts_once_and_a_frozen_one_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.frozen = nn.BatchNorm2d(3), FrozenBatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.frozen(self.norm(self.norm(x)))

    assert len(divergences(Twice().eval(), inputs())) == 2
    assert not normalizations(nn.Sequential(nn.GroupNorm(1, 3), nn.InstanceNorm2d(3)))


class Same(nn.Module):
    """TensorFlow's padding: the odd pixel goes to the right and the bottom."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, (0, 1, 0, 1))


STEMS = {
    "padded": [nn.Conv2d(3, 12, 3, 2, 1, bias=False)],
    "with a bias": [nn.Conv2d(3, 12, 5, 1, 2)],
    "grouped": [nn.Conv2d(3, 12, 3, 1, 1, groups=3)],
    "padded apart": [Same(), nn.Conv2d(3, 12, 3, 2)],
    "a patch": [nn.Conv2d(3, 12, 4, 4)],
    "two of them": [nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, 2, 1)],
}


@pytest.mark.parametrize("name", STEMS)
def test_the_first_layer_is_known_for_every_scale_and_shift(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(*STEMS[name], nn.BatchNorm2d(12), nn.ReLU()).eval()
    images = Images(photos())
    layer = first_layer(module, images.planes(IMAGENET, 20))
    assert layer is not None
    for how in (IMAGENET, BYTES):
        real = divergences(module, images.inputs(how, 20))[0]
        assert layer.divergence(*affine(how)) == pytest.approx(real, rel=1e-3)


@pytest.mark.parametrize("act", [nn.ReLU, nn.MaxPool2d, nn.Sigmoid])
def test_what_is_not_linear_before_the_first_layer_is_not_taken_for_it(act: type) -> None:
    between = act(2) if act is nn.MaxPool2d else act()
    module = nn.Sequential(nn.Conv2d(3, 12, 3), between, nn.BatchNorm2d(12)).eval()
    assert first_layer(module, Images(photos()).planes(IMAGENET, 8)) is None


def test_the_fit_finds_the_numbers_that_the_layer_was_fed_with() -> None:
    module = fed(small(), photos(), IMAGENET)
    layer = first_layer(module, Images(photos()).planes(IMAGENET, 256))
    assert layer is not None
    a, b = affine(IMAGENET)
    found = layer.fit(np.full(3, 2.0), np.full(3, -1.0))
    assert layer.divergence(*found) < 1e-4 < layer.divergence(np.full(3, 2.0), np.full(3, -1.0))
    assert found[0] == pytest.approx(a, rel=0.02) and found[1] == pytest.approx(b, rel=0.02)
