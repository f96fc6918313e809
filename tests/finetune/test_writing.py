"""What is written, and what must not be replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interop.finetune.checkpoint import _placed, scaled


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


def test_what_fails_leaves_the_older_one(tmp_path: Path) -> None:
    for out, make in ((tmp_path / "m.pth", Path.touch), (tmp_path / "folder", Path.mkdir)):
        make(out)
        before = out.stat().st_ino
        with pytest.raises(RuntimeError), _placed(out) as part:
            part.write_text("half")
            raise RuntimeError
        assert out.stat().st_ino == before
        with _placed(out) as part:
            make(part)
        assert out.stat().st_ino != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "m.pth"]
