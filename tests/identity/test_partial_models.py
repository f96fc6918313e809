"""Files that are no plain model are told for what they are."""

from __future__ import annotations

import json
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
        (["q.weight", "q.lora_A.weight"], ""),
        # What was trained beside the adapter is saved with it.
        (["fc.weight", "fc.bias", "q.lora_A.weight", "q.lora_B.weight"], "LoRA adapter"),
        (["u_0.lora_down.weight", "u_0.lora_up.weight", "u_0.alpha"], "LoRA adapter"),
        (["unet.to_q_lora.up.weight", "unet.to_q_lora.down.weight"], "LoRA adapter"),
        (["t.q.lora_linear_layer.up.weight", "t.q.lora.down.weight"], "LoRA adapter"),
        (["l.weight_packed", "l.weight_shape"], "quantized state dict (compressed-tensors codes)"),
        (["l.weight", "l.weight_scale"], "quantized state dict (float8 or int8 codes with scales)"),
        (["l.W_q", "l.scale"], "quantized state dict (HQQ codes)"),
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


def test_a_queue_and_a_wrapper_hide_no_momentum_encoder(tmp_path: Path) -> None:
    net = resnet34(num_classes=4).state_dict()
    both = {f"module.encoder_{k}.{n}": v for k in "qk" for n, v in net.items()}
    queue = {"module.queue": torch.ones(4, 64), "module.queue_ptr": torch.ones(1)}
    torch.save({"state_dict": both | queue}, tmp_path / "moco.pth")
    seen = identify_file(f"{tmp_path / 'moco.pth'}#state_dict.module.encoder_q")
    assert (seen.architecture, seen.prefix) == ("torchvision/resnet34", "")
    assert identify_file(tmp_path / "moco.pth").kind == (
        "several models (state_dict.module.encoder_q, state_dict.module.encoder_k)"
    )


@pytest.mark.parametrize(
    ("tokens", "several"),
    [
        (("online_encoder", "target_encoder", "online_predictor"), True),
        (("actor", "critic", "critic_target"), True),
        (("policy_net", "target_net"), True),
        (("model", "predictor"), False),
        (("encoder", "decoder"), False),
    ],
)
def test_a_predictor_counts_only_beside_two_models(
    tokens: tuple[str, ...], several: bool, tmp_path: Path
) -> None:
    torch.save({f"{t}.fc.weight": torch.ones(2, 2) for t in tokens}, tmp_path / "x.pth")
    assert identify_file(tmp_path / "x.pth").kind.startswith("several models") == several


def test_the_adapter_of_a_folder_says_whose_it_is(tmp_path: Path) -> None:
    torch.save({"base_model.q.lora_A.weight": torch.ones(2, 2)}, tmp_path / "adapter_model.bin")
    config = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert identify_file(tmp_path).kind == "LoRA adapter for org/base"
    torch.save({"base_model.q.oft_R.weight": torch.ones(2, 2)}, tmp_path / "adapter_model.bin")
    assert identify_file(tmp_path).kind == "adapter for org/base"
