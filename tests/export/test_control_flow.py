"""What Python decides on an input's values is told from what it decides on shapes and weights."""

import pytest
import torch
from torch import nn

from interop.export.control_flow import Decisions, decisions


class Does(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return self.what(self, x)


@pytest.mark.parametrize(
    "what",
    [
        lambda m, x: x + 1 if x.mean() > 0.2 else x,
        lambda m, x: x + float(x.sum()),
        lambda m, x: x + (x * 2).max().item(),
        lambda m, x: x + sum(x[0].tolist()),
        lambda m, x: x + float(x.detach().numpy().sum()),
        lambda m, x: x + 1 if torch.equal(x, x * m.scale) else x,
    ],
)
def test_values_are_found_with_their_place(what):
    (place,) = set(decisions(Does(what), (torch.rand(2, 3),)).places)
    assert place.startswith("test_control_flow.py:")


@pytest.mark.parametrize(
    "what",
    [
        lambda m, x: x + 1 if x.shape[0] > 4 else x,
        lambda m, x: x * m.scale.item() if m.scale > 1 else x,
        lambda m, x: x.view(int(torch.tensor(x.shape).prod()), 1),
        lambda m, x: torch.where(x.mean() > 0.2, x + 1, x),
    ],
)
def test_shapes_and_weights_are_not_meant(what):
    assert decisions(Does(what), (torch.rand(2, 3),)) == Decisions()
