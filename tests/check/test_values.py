"""What `check --values` says of two files, in the sentence that a person acts on."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision

from interop.check import check
from interop.facts import Report
from tests.conftest import Run

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def base() -> State:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=10)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
    return dict(net.state_dict())


def _moved(state: State, *starts: str) -> State:
    return {
        n: t + 0.1 if n.startswith(starts) and t.is_floating_point() else t
        for n, t in state.items()
    }


def _checked(folder: Path, a: State, b: State) -> Report:
    torch.save(OrderedDict(a), folder / "a.pth")
    torch.save(OrderedDict(b), folder / "b.pth")
    return check(folder / "a.pth", folder / "b.pth", values=True)


def _sentence(folder: Path, a: State, b: State) -> str:
    said: str = _checked(folder, a, b).details["values"]["sentence"]
    return said


def test_nothing_moved(tmp_path: Path, base: State) -> None:
    said = _sentence(tmp_path, base, base)
    assert said.startswith("fine-tuning changed nothing: all 102 tensors are the same bit by bit")
    counted = {n: t + 1 if "num_batches" in n else t for n, t in base.items()}
    assert "counters moved" in _sentence(tmp_path, base, counted)


def test_only_the_head_moved(tmp_path: Path, base: State) -> None:
    said = _sentence(tmp_path, base, _moved(base, "fc."))
    assert said == (
        "only the head moved: fc.weight, fc.bias; the other 100 tensors are the same bit by bit"
    )
    wider = {**base, "fc.weight": torch.randn(7, 512), "fc.bias": torch.randn(7)}
    assert _sentence(tmp_path, base, wider).startswith("only the head moved: fc.weight, fc.bias;")
    both = _moved(base, "fc.", "bn1.running_mean")
    assert _sentence(tmp_path, base, both).startswith(
        "only the head and batch normalisation's statistics moved"
    )
    assert not _sentence(tmp_path, base, _moved(base, "fc.", "conv1")).startswith("only the head")


def test_a_frozen_trunk_and_the_furthest_tensor_are_named(tmp_path: Path, base: State) -> None:
    said = _sentence(tmp_path, base, _moved(base, "layer4.", "fc."))
    assert said.endswith("conv1, bn1, layer1, layer2, layer3 did not move")
    assert "moved, by at most 0.1" in said


def test_a_cast_and_rounding_are_told_from_training(tmp_path: Path, base: State) -> None:
    halved = {n: t.half() if t.is_floating_point() else t for n, t in base.items()}
    assert _sentence(tmp_path, base, halved).startswith("B is A cast to float16: each of its 102")
    trained = {n: t * 1.5 for n, t in halved.items()}
    assert "cast" not in _sentence(tmp_path, base, trained)
    rounded = {n: t * (1 + 1e-7) if t.is_floating_point() else t for n, t in base.items()}
    assert "differ by rounding alone" in _sentence(tmp_path, base, rounded)


def test_identical_weights_under_other_names(tmp_path: Path, base: State) -> None:
    other = {f"body.{n.replace('.', '_')}": t for n, t in base.items()}
    report = _checked(tmp_path, base, other)
    said = report.details["values"]["sentence"]
    assert said == "identical weights under other names: all 102 tensors"
    assert ["conv1.weight", "body.conv1_weight"] in report.details["values"]["renamed"]
    other["body.fc_weight"] = other["body.fc_weight"] + 1
    assert not _sentence(tmp_path, base, other).startswith("identical weights")


def test_the_most_moved_stand_in_the_text(interop: Run, tmp_path: Path, base: State) -> None:
    _checked(tmp_path, base, _moved(base, "layer4.1."))
    files = [str(tmp_path / name) for name in ("a.pth", "b.pth")]
    said = interop("check", *files, "--values").stdout
    assert "least alike" in said and "layer4.1.conv2.weight" in said
    assert max(map(len, said.splitlines())) <= 80
    assert "least alike" not in interop("check", *files).stdout


def test_values_that_no_file_holds_are_not_called_the_same(tmp_path: Path) -> None:
    a = {"w": torch.empty(3, 3, device="meta"), "b": torch.ones(3)}
    assert "1 tensor could not be compared" in _sentence(tmp_path, a, a)
