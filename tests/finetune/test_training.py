"""One phase: steps of several batches, precision, and when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from interop.data.base import Record
from interop.errors import ModelError
from interop.finetune import optim
from interop.finetune.forward import ModuleRunner, repeatable, seed_all
from interop.finetune.objectives import Classes
from interop.finetune.options import FinetuneOptions
from interop.finetune.resume import Epoch, Kept
from interop.finetune.samples import Samples, SplitPart
from interop.finetune.training import Phase, _is_over, train
from interop.tasks import task


def trained(tmp_path: Path, **given: Any) -> dict[str, torch.Tensor]:
    """A linear layer on two clouds of points; the weights after three epochs."""
    random = np.random.default_rng(0)
    truth = np.arange(64) % 2
    points = (random.normal(size=(64, 3)) + truth[:, None]).astype(np.float32)
    made = [Record(str(i), str(i), None, int(t)) for i, t in enumerate(truth)]
    own = Samples(made, None, arrays={"input": points})
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    how = FinetuneOptions(out=tmp_path / "m.pth", rate=0.05, clip=0, **given)
    named = [n for n, _ in layer.named_parameters()]
    goal = Classes(task("image-classification", ("a", "b")), None, made[0])  # type: ignore[arg-type]
    parts = SplitPart(own, np.arange(48)), SplitPart(own, np.arange(48, 64))
    groups = optim.groups(layer, named, named, 0.05, how)
    kept = Kept(tmp_path / "m.pth", {}, restart=True)
    with repeatable():
        runner = ModuleRunner(layer, precision=how.precision)
        phase = Phase("probe", runner, layer, goal, *parts, groups, [layer], 3)
        train(phase, how, kept, lambda _: None)
    return {n: t.clone() for n, t in layer.state_dict().items()}


def test_steps_of_several_batches_are_those_of_one(tmp_path: Path) -> None:
    one = trained(tmp_path, batch=16)
    several = trained(tmp_path, batch=4, accumulate=4)
    smaller = trained(tmp_path, batch=4)
    assert all(torch.allclose(one[n], several[n], atol=1e-5) for n in one)
    assert not torch.allclose(one["weight"], smaller["weight"], atol=1e-3)


def test_half_products_and_whole_weights(tmp_path: Path) -> None:
    whole, half = trained(tmp_path, batch=16), trained(tmp_path, batch=16, precision="bfloat16")
    assert half["weight"].dtype == torch.float32
    assert not torch.equal(whole["weight"], half["weight"])
    assert torch.allclose(whole["weight"], half["weight"], atol=0.05)


def test_a_phase_ends_when_nothing_gets_better() -> None:
    def rows(*figures: float) -> list[Epoch]:
        return [Epoch("full", i + 1, 1, 1, f, 0.1, 1, 1) for i, f in enumerate(figures)]

    assert not _is_over(rows(0.5, 0.6), 1, 2) and not _is_over(rows(0.5, 0.5, 0.6), 1, 2)
    assert _is_over(rows(0.5, 0.6, 0.6, 0.55), 1, 2)
    assert not _is_over(rows(0.5, 0.6, 0.6, 0.55), 1, None)
    assert _is_over(rows(0.5, 0.6, 0.7), -1, 2)  # less is better, and there is more and more


def test_random_numbers_are_put_back() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    with repeatable():
        seed_all(3, 0, 0)
        a = torch.rand(3), np.random.rand(3)
        seed_all(3, 0, 0)
        assert torch.equal(a[0], torch.rand(3)) and np.array_equal(a[1], np.random.rand(3))
        seed_all(3, 0, 1)
        assert not torch.equal(a[0], torch.rand(3))
        assert torch.are_deterministic_algorithms_enabled()
    after = torch.rand(2), np.random.rand(2)
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(after[0], torch.rand(2)) and np.array_equal(after[1], np.random.rand(2))
    assert not torch.are_deterministic_algorithms_enabled()


def test_batch_norm_of_one_sample_is_explained() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4))
    with pytest.raises(ModelError, match="needs two samples or more"):
        ModuleRunner(net)({"input": np.zeros((1, 4), np.float32)})


def test_inputs_that_a_module_does_not_take_are_explained() -> None:
    with pytest.raises(
        ModelError, match=r"Linear: does not take what was prepared: .*mat1 and mat2"
    ):
        ModuleRunner(nn.Linear(3, 2))({"input": np.zeros((2, 4), np.float32)})


def test_side_heads_come_after_the_main_one() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return x, 2 * x, x[:, :1]

    main, *sides = ModuleRunner(Two())({"input": np.ones((2, 3), np.float32)})
    assert len(sides) == 1 and float(sides[0][0, 0]) == 2 and main.shape == (2, 3)

    class Words(nn.Module):
        def forward(self, x: torch.Tensor) -> str:
            return "no tensor"

    with pytest.raises(ModelError, match="gives str, no tensor"):
        ModuleRunner(Words())({"input": np.ones((2, 3), np.float32)})
