"""What `check --values` says of two files, in the sentence that a person acts on."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision

from interop.check import check
from interop.check.options import CheckOptions
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
    return check(folder / "a.pth", folder / "b.pth", CheckOptions(values=True))


def _sentence(folder: Path, a: State, b: State) -> str:
    said: str = _checked(folder, a, b).details.values.sentence
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
    said = report.details.values.sentence
    assert said == "identical weights under other names: all 102 tensors"
    assert ("conv1.weight", "body.conv1_weight") in report.details.values.renamed
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


def _pair(folder: Path, a: torch.Tensor, b: torch.Tensor) -> str:
    rest = {"other": torch.arange(4.0)}
    return _sentence(folder, {"w": a, **rest}, {"w": b, **rest})


@pytest.mark.parametrize("worse", [float("nan"), float("inf")])
def test_a_new_nan_is_no_rounding(tmp_path: Path, worse: float) -> None:
    a = torch.randn(100)
    b = a.clone()
    b[3] = worse
    assert "rounding" not in _pair(tmp_path, a, b)


def test_small_weights_beside_a_great_one_and_counts_are_no_rounding(tmp_path: Path) -> None:
    a, b = torch.randn(4096) * 0.01, torch.randn(4096) * 0.01
    a[0] = b[0] = 1000.0
    assert "rounding" not in _pair(tmp_path, a, b)
    indices = torch.arange(1000)
    assert "rounding" not in _pair(tmp_path, indices, indices + (indices == 7))


def test_a_cast_of_some_tensors_is_not_one_of_all(tmp_path: Path) -> None:
    a = {"w": torch.randn(9), "v": torch.randn(9)}
    said = _sentence(tmp_path, a, {**a, "w": a["w"].bfloat16()})
    assert said == ("1 tensor of B is A's cast to bfloat16; the other 1 is the same bit by bit")


def test_one_layer_of_an_unknown_model_that_changed_shape(tmp_path: Path) -> None:
    """A transformers model with other labels: nothing moved, and its head is not known."""
    a = {"vit.w": torch.randn(4, 4), "classifier.weight": torch.randn(3, 4)}
    b = {**a, "classifier.weight": torch.randn(5, 4)}
    from safetensors.torch import save_file

    for name, state in (("a", a), ("b", b)):
        save_file(state, tmp_path / f"{name}.safetensors")
    report = check(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", CheckOptions(values=True)
    )
    said = report.details.values.sentence
    assert said.startswith("only classifier moved: classifier.weight; the other tensor is the same")
    c = {**b, "vit.w": a["vit.w"] + 1, "vit.v.u": torch.ones(2)}
    save_file(c, tmp_path / "c.safetensors")
    report = check(
        tmp_path / "a.safetensors", tmp_path / "c.safetensors", CheckOptions(values=True)
    )
    assert "1 tensor changed shape (classifier.weight)" in report.details.values.sentence


@pytest.mark.filterwarnings("ignore")
def test_dynamically_quantized_weights_are_compared(tmp_path: Path) -> None:
    def state(sign: float) -> State:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
        with torch.no_grad():
            net[1].weight *= sign
        made = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)
        return dict(made.state_dict())

    same = _sentence(tmp_path, state(1), state(1))
    assert same.startswith("fine-tuning changed nothing")
    said = _sentence(tmp_path, state(1), state(-1))
    assert "1._packed_params._packed_params.0" in said and "changed nothing" not in said
