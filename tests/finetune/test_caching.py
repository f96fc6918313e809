"""When a head of cached features is the whole forward, and when it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from interop.data.base import Record
from interop.finetune.caching import cached, prove
from interop.finetune.forward import ModuleRunner
from interop.finetune.samples import Samples, SplitPart, whole


class Net(nn.Module):
    """A body and a head, with something done to what the head gives."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.drop, self.head, self.after = nn.Dropout(0.5), nn.Linear(6, 4), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.after(self.head(self.drop(self.body(x).flatten(1))))
        return found


def samples(count: int = 11) -> Samples:
    pictures = np.random.default_rng(0).normal(size=(count, 3, 8, 8)).astype(np.float32)
    made = [Record(str(i), str(i), None, 0) for i in range(count)]
    return Samples(made, None, arrays={"input": pictures})


HEAD = ("head.weight", "head.bias")


def test_the_head_of_features_is_the_forward() -> None:
    net, own = Net(nn.Identity()), samples()
    before = net.head.weight.clone()
    proof, why = prove(ModuleRunner(net), "head", HEAD, own)
    assert torch.equal(net.head.weight, before)
    assert proof is not None and proof.holds and not why
    assert proof.facts["width"] == 6
    picks = np.array([8, 1, 5])
    first, second = cached(
        ModuleRunner(net), "head", (whole(own), SplitPart(own, picks)), 4, lambda _: None
    )
    assert first.samples is second.samples  # one data set, gone over once
    features = torch.from_numpy(second.samples.take(picks).inputs["features"])
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(own.take(picks).inputs["input"]))
        assert torch.allclose(net.head(features), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("after", "names", "why"),
    [
        (nn.ReLU(), HEAD, "more than the head makes the outputs"),
        (nn.Linear(4, 4), HEAD, "more than the head makes the outputs"),
        (nn.Identity(), (*HEAD, "body.0.weight"), "more than the last layer is new"),
    ],
)
def test_what_comes_after_or_before_the_head_is_noticed(
    after: nn.Module, names: tuple[str, ...], why: str
) -> None:
    assert prove(ModuleRunner(Net(after)), "head", names, samples()) == (None, why)


def test_a_side_head_has_no_part_in_it() -> None:
    net = Net(nn.Identity())
    net.side = nn.Linear(6, 4)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    proof, _ = prove(ModuleRunner(net), "head", (*HEAD, "side.weight"), samples())
    assert proof is not None
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


def test_a_head_of_maps_has_no_vectors() -> None:
    from torchvision.models import squeezenet1_1

    net = squeezenet1_1(weights=None, num_classes=4)
    pictures = np.zeros((2, 3, 64, 64), np.float32)
    made = [Record(str(i), str(i), None, 0) for i in range(2)]
    own = Samples(made, None, arrays={"input": pictures})
    names = ("classifier.1.weight", "classifier.1.bias")
    proof, why = prove(ModuleRunner(net), "classifier.1", names, own)
    assert proof is None and "one vector a sample" in why
