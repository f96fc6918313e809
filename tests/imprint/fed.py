"""Networks with the statistics of real images that were prepared in a known way.

Nothing is learned: the weights are random, and one pass in training mode sets the statistics. That
is all that a BatchNorm remembers of its inputs, so it is found again as in a trained network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from interop.data import prepare
from interop.facts import Preprocessing

IMAGENET = Preprocessing(
    resize=(40, 40), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), antialias=False
)
BYTES = Preprocessing(resize=(40, 40), mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0, antialias=False)
Activation = Callable[[], nn.Module]


@cache
def photos(count: int = 256) -> tuple[Image.Image, ...]:
    """Tiles of scikit-learn's two photographs, at several scales, in a fixed random order."""
    from sklearn.datasets import load_sample_images

    dice = np.random.default_rng(0)
    wholes = [Image.fromarray(p) for p in load_sample_images().images]
    tiles = []
    for number in range(count):
        whole = wholes[number % 2]
        side = int(dice.integers(60, 240))
        left, top = dice.integers(0, (whole.width - side, whole.height - side))
        box = (int(left), int(top), int(left) + side, int(top) + side)
        tiles.append(whole.crop(box).resize((96, 96)))
    return tuple(tiles)


def small(act: Activation = nn.ReLU, channels: int = 3, seed: int = 0) -> nn.Sequential:
    """A plain network of five convolutions, each with a BatchNorm behind it."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, o, stride in ((channels, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 48, 2)):
        layers += [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), act()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 5))


def fed(
    module: nn.Module, pictures: Sequence[Image.Image], how: Preprocessing, batches: int = 400
) -> nn.Module:
    """The module with the statistics of those pictures, and a count of batches."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    module.train()
    inputs = torch.from_numpy(np.stack([prepare(p, how) for p in pictures]))
    with torch.no_grad():
        module(inputs)
    for norm in norms:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.fill_(batches)
    return module.eval()


def saved(folder: Path, pictures: Sequence[Image.Image]) -> Path:
    """A folder of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03}.png")
    return folder
