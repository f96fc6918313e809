"""What is written, and what must not be replaced."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from interop.finetune.checkpoint import scaled


def test_a_scale_in_the_last_layer() -> None:
    head = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    net, x = nn.Sequential(nn.Linear(5, 4), head), torch.randn(6, 5)
    scale, mean = np.array([2.0, 50.0]), np.array([-1.0, 1000.0])
    before = net(x).detach().double().numpy()
    undo = scaled(net, "1", scale, mean)
    assert undo is not None
    assert np.allclose(net(x).detach().numpy(), before * scale + mean, rtol=1e-5)
    undo()
    assert np.array_equal(net(x).detach().double().numpy(), before)


def test_a_scale_that_the_layer_cannot_hold() -> None:
    mean = np.array([5.0, 5.0])
    assert scaled(nn.Sequential(nn.Linear(4, 2, bias=False)), "0", np.ones(2), mean) is None
    assert scaled(nn.Sequential(nn.Linear(4, 2, bias=False)), "0", np.ones(2), 0 * mean)
    assert scaled(nn.Sequential(nn.Linear(4, 3)), "0", np.ones(2), mean) is None
    assert scaled(nn.Sequential(nn.ReLU()), "0", np.ones(2), mean) is None
