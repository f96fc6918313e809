"""A small convolutional classifier, exported: what the proofs are tried on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from interop.export import graph, routes, weights
from interop.models.signature import BATCH, Argument, Forward, Signature, seeded
from interop.proof import Derived, Feed

SHAPE = (3, 12, 12)
TAKES = Signature((Argument("input", (BATCH, *SHAPE)),))


def fed(count: int = 10, samples: str = "seeded") -> Feed:
    """Seeded pictures of the small model's shape."""
    return Feed.of(seeded(SHAPE, count), samples)


class Small(nn.Module):
    """Two convolutions of one shape, normalisation and a head of five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.middle = nn.Conv2d(8, 8, 3)
        self.again = nn.Conv2d(8, 8, 3)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x)).relu()
        return self.again(self.middle(x).relu()).relu().mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.features(x)))


@dataclass
class Exported:
    """A module and the files made of it."""

    module: nn.Module
    folder: Path
    derived: dict[str, Derived]

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"


def made(module: nn.Module, folder: Path, route: routes.Route = routes.ROUTES[0]) -> Exported:
    """Exports by one route, without any proof."""
    state = module.state_dict()
    places = weights.write(folder / "model.safetensors", state, {})
    training = module.training
    forward = Forward(module, TAKES)
    module.train(training)
    dtype = next((t.dtype for t in state.values() if t.is_floating_point()), torch.float32)
    forward.learn_outputs((torch.from_numpy(seeded(SHAPE, 2)).to(dtype),))
    model = routes.convert(forward, fed(), route).model
    derived = graph.write(model, folder / "model.onnx", state, places, {}, folds=route.folds)
    return Exported(module, folder, derived)


def small() -> nn.Module:
    """Always the same weights, with running statistics that are not zero and one."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Small()
        module.norm.running_mean.normal_()
        module.norm.running_var.uniform_(0.5, 2)
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return made(small(), tmp_path_factory.mktemp("original"))


@pytest.fixture
def exported(original: Exported, tmp_path: Path) -> Exported:
    """A copy that a test may damage."""
    shutil.copytree(original.folder, tmp_path / "copy")
    return Exported(small(), tmp_path / "copy", dict(original.derived))
