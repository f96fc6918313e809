"""Pictures without labels -> a backbone trained as the encoder of a convolutional autoencoder.

The code is what the backbone hands its head; a decoder of transposed convolutions makes the
prepared picture of it again. The decoder is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import nn

from interop.data.base import Prepared, Record
from interop.errors import ModelError
from interop.facts import Unit
from interop.finetune.objectives import Goal
from interop.models.backbone.features import first_tensor, vector

_SEED_SIDE, _WIDEST, _NARROWEST = 4, 128, 16


class Decoder(nn.Module):
    """Codes (n, width) -> pictures (n, channels, height, width): a 4x4 map of 128 channels, doubled
    in size and halved in channels until it is as large as the picture, then cut to its size."""

    def __init__(self, width: int, shape: Sequence[int]) -> None:
        super().__init__()
        channels, self.height, self.width = shape
        side, wide = _SEED_SIDE, _WIDEST
        layers: list[nn.Module] = [
            nn.Linear(width, wide * side * side), nn.ReLU(), nn.Unflatten(1, (wide, side, side)),
        ]  # fmt: skip
        for _ in range(max(ceil(max(self.height, self.width) / side) - 1, 1).bit_length()):
            narrower = max(wide // 2, _NARROWEST)
            layers += [nn.ConvTranspose2d(wide, narrower, 4, stride=2, padding=1), nn.ReLU()]
            wide = narrower
        self.layers = nn.Sequential(*layers, nn.Conv2d(wide, channels, 3, padding=1))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        picture: torch.Tensor = self.layers(codes)
        top, left = (picture.shape[2] - self.height) // 2, (picture.shape[3] - self.width) // 2
        return picture[:, :, top : top + self.height, left : left + self.width]


class Autoencoder(nn.Module):
    """`encoder`, a classifier whose part `head` is handed the code, and a decoder of that code."""

    def __init__(self, encoder: nn.Module, head: str, sample: torch.Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self._head = head
        if sample.ndim != 4:
            raise ModelError("takes no pictures", fix="leave --pretrain autoencoder out")
        with torch.no_grad():
            width = self.encoded(sample).shape[1]
        self.decoder = Decoder(width, sample.shape[1:])

    def encoded(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the head is handed, one vector a picture."""
        seen: list[torch.Tensor] = []
        part = self.encoder.get_submodule(self._head)
        hook = part.register_forward_pre_hook(lambda _, given: seen.append(first_tensor(given)))
        try:
            self.encoder(pictures)
        finally:
            hook.remove()
        return vector(seen[0])

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        forward: torch.Tensor = self.decoder(self.encoded(pictures))
        return forward


class Reconstruction(Goal):
    """The squared error of a picture's numbers, and the share of their variance explained."""

    name = "variance explained"
    unit = Unit.SHARE
    better = 1

    def count(self, batch: Prepared) -> int:
        return len(batch.records)

    def loss(self, outputs: torch.Tensor, batch: Prepared) -> torch.Tensor:
        return ((outputs.float() - _pictures(batch, outputs)) ** 2).mean((1, 2, 3)).sum()

    def answers(self, outputs: torch.Tensor, batch: Prepared) -> list[Any]:
        """Of each picture its mean squared error, mean and mean square."""
        real = _pictures(batch, outputs)
        off = ((outputs.float() - real) ** 2).mean((1, 2, 3))
        figures = torch.stack([off, real.mean((1, 2, 3)), (real**2).mean((1, 2, 3))], dim=1)
        return list(figures.double().cpu().numpy())

    def figure(self, answers: Sequence[Any], records: Sequence[Record]) -> float:
        error, mean, square = (sum(a[i] for a in answers) / len(answers) for i in range(3))
        spread = square - mean**2
        return float(1 - error / spread) if spread > 0 else 0.0


def _pictures(batch: Prepared, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(next(iter(batch.inputs.values()))).to(like.device)
