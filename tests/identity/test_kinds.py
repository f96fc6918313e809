"""Files that are no plain model are told for what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from interop.errors import ReadError
from interop.identity import identify_file, places_of
from interop.reading import read

resnet34 = torchvision.models.resnet34


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["base.q.lora_A.default.weight", "base.q.lora_B.default.weight"], "LoRA adapter"),
        (["lora_unet_down.lora_up.weight", "lora_unet_down.lora_down.weight"], "LoRA adapter"),
        (["l.0.mlp.qweight", "l.0.mlp.scales"], "quantized state dict (GPTQ or AWQ codes)"),
        (["l.weight", "l.weight.absmax"], "quantized state dict (bitsandbytes codes)"),
        (["fc.weight", "fc.bias"], ""),
        (["fc.weight", "q.lora_A.weight"], ""),
    ],
)  # fmt: skip
def test_names_tell_the_kind(names: list[str], kind: str, tmp_path: Path) -> None:
    torch.save({n: torch.ones(2, 2) for n in names}, tmp_path / "x.pth")
    assert identify_file(tmp_path / "x.pth").kind == kind


def test_an_optimizer_alone_is_no_model(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    seen = identify_file(tmp_path / "optimizer.pt")
    assert (seen.kind, seen.tensors) == ("optimizer state", ())
    torch.save({"model": net.state_dict(), "my_adam": optimizer.state_dict()}, tmp_path / "both.pt")
    both = identify_file(tmp_path / "both.pt")
    assert (both.kind, both.place, len(both.tensors)) == ("", "model", 2)
    assert both.manifest.held_aside == ("my_adam.state",)


def test_a_quantized_model_is_said_to_be_one(tmp_path: Path) -> None:
    weight = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 3, torch.qint8)
    torch.save({"fc.weight": weight, "fc.bias": torch.ones(2)}, tmp_path / "q.pth")
    assert identify_file(tmp_path / "q.pth").kind.startswith("quantized state dict")


def test_teacher_and_student_are_two_models_and_either_can_be_named(tmp_path: Path) -> None:
    net = resnet34(num_classes=4).state_dict()
    both = {f"{who}.{n}": v for who in ("teacher", "student") for n, v in net.items()}
    torch.save(both, tmp_path / "ts.pth")
    seen = identify_file(tmp_path / "ts.pth")
    assert seen.kind == "several models (teacher, student)" and seen.architectures == ()
    assert places_of(read(tmp_path / "ts.pth")) == ["", "teacher", "student"]
    student = identify_file(f"{tmp_path / 'ts.pth'}#student")
    assert student.architecture == "torchvision/resnet34"
    assert (student.kind, student.prefix, student.place) == ("", "", "student")
    with pytest.raises(ReadError, match="no state dict at 'generator'"):
        identify_file(f"{tmp_path / 'ts.pth'}#generator")


def test_one_wrapped_model_is_not_several(tmp_path: Path) -> None:
    net = torch.nn.ModuleDict({"backbone": torch.nn.Linear(3, 3), "head": torch.nn.Linear(3, 2)})
    torch.save(net.state_dict(), tmp_path / "one.pth")
    assert identify_file(tmp_path / "one.pth").kind == ""
    assert places_of(read(tmp_path / "one.pth")) == [""]
