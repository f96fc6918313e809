"""What lies beside a model in its state dict is left over and said, never taken or dropped
silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from interop.errors import ModelError, ReadError
from interop.facts import Identity
from interop.identity import identify_file
from interop.identity.parts import by_architecture, by_names, is_aside

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
SHAPES = {name: tuple(t.shape) for name, t in NET.state_dict().items()}


def saved(tmp_path: Path, state: dict[str, Any], name: str = "a.pth") -> Path:
    torch.save(state, tmp_path / name)
    return tmp_path / name


def under(prefix: str) -> dict[str, Any]:
    return {f"{prefix}.{k}": v for k, v in NET.state_dict().items()}


def part(tmp_path: Path, state: dict[str, Any], *, own: bool = True) -> Identity:
    return by_names(identify_file(saved(tmp_path, state)), SHAPES, own=own)


@pytest.mark.parametrize(
    ("beside", "prefix"),
    [
        ({"criterion.weight": torch.ones(2)}, "model"),
        ({"train_acc.confmat": torch.ones(2, 2)}, "net"),
        ({"disc.0.weight": torch.ones(8, 3), "disc.0.bias": torch.ones(8)}, "generator"),
        ({"n_averaged": torch.tensor(3), "loss.weight": torch.ones(2)}, "module"),
        ({"model_ema.decay": torch.tensor(0.9)}, "inner.net"),
    ],
)
def test_the_part_that_fits_is_found_and_the_rest_is_listed(
    beside: dict[str, Any], prefix: str, tmp_path: Path
) -> None:
    one = part(tmp_path, {**under(prefix), **beside})
    assert {t.name for t in one.tensors} == set(SHAPES)
    assert set(one.left_over) >= {n for n in beside if not n.endswith("n_averaged")}


def test_what_is_left_beside_and_within_the_part_is_all_listed(tmp_path: Path) -> None:
    counted = {f"net.{n}": torch.zeros(1) for n in ("total_ops", "0.total_ops")}
    one = part(tmp_path, {**under("net"), **counted, "loss.weight": torch.ones(2)})
    assert one.left_over == ("loss.weight", "total_ops", "0.total_ops")
    assert {t.name for t in one.tensors} == set(SHAPES)


def test_counters_within_the_part_are_left_over(tmp_path: Path) -> None:
    state = {**NET.state_dict(), "total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}
    assert part(tmp_path, state).left_over == ("total_ops", "0.total_params")


def test_a_tensor_that_no_trainer_keeps_is_not_left_over(tmp_path: Path) -> None:
    one = part(tmp_path, {**NET.state_dict(), "gate.weight": torch.zeros(2)})
    assert not one.left_over and len(one.tensors) == len(SHAPES) + 1, "loading it says so"
    whole = part(tmp_path, {**under("net"), "gate.weight": torch.zeros(2)}, own=False)
    assert not whole.left_over, "a library's model beside it may not be all that computes"


@pytest.mark.parametrize(
    "twin",
    [under("shadow"), {f"model_ema.{k.replace('.', '')}": v for k, v in NET.state_dict().items()}],
)
def test_between_two_parts_that_fit_none_is_chosen(twin: dict[str, Any], tmp_path: Path) -> None:
    place = next(iter(twin)).partition(".")[0]
    state = {**under("net"), **twin}
    with pytest.raises(ModelError, match=rf"a\.pth#net or a\.pth#{place}") as raised:
        part(tmp_path, state)
    assert raised.value.exit_code == 2 and raised.value.rule == "several-models"
    chosen = identify_file(f"{saved(tmp_path, state)}#{place}")
    assert {t.name for t in chosen.tensors} == set(SHAPES), "a flat twin has its dots again"
    assert by_names(chosen, SHAPES, own=True) is chosen


def test_a_leftover_that_would_fit_the_module_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'0\.weight' would fit the module"):
        part(tmp_path, {**under("net"), "0.weight": torch.ones(4, 3, 3, 3)})


def test_any_prefix_of_a_flat_state_dict_is_a_place(tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": under("a.b"), "epoch": 3})
    one = identify_file(f"{path}#state_dict.a.b")
    assert {t.name for t in one.tensors} == set(SHAPES) and one.place == "state_dict.a.b"
    with pytest.raises(ReadError, match=r"no state dict at 'state_dict\.a\.c'"):
        identify_file(f"{path}#state_dict.a.c")


def test_by_architecture_the_rest_must_be_a_trainers(tmp_path: Path) -> None:
    import torchvision

    state = torchvision.models.squeezenet1_1(num_classes=3).state_dict()
    net = {f"net.{k}": v for k, v in state.items()}
    one = by_architecture(identify_file(saved(tmp_path, {**net, "loss.weight": torch.ones(3)})))
    assert one.architecture == "torchvision/squeezenet1_1" and one.left_over == ("loss.weight",)
    head = {"head.weight": torch.ones(3, 3), "head.bias": torch.ones(3)}
    with_head = identify_file(saved(tmp_path, {**net, **head}))
    assert by_architecture(with_head) is with_head
    twin = {f"other.{k}": v for k, v in state.items()}
    with pytest.raises(ModelError, match=r"a\.pth#net or a\.pth#other"):
        by_architecture(identify_file(saved(tmp_path, {**net, **twin})))


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("criterion.weight", True), ("model.focal_loss.alpha", True), ("val_f1.tp", True),
        ("layer1.total_ops", True), ("ema_model.conv.weight", True), ("queue_ptr", True),
        ("lossless.weight", False), ("blocks.0.ssm.decay", False),
        ("head.weight", False), ("temperature", False),
        ("stem.weight", False), ("mapping.0.weight", False), ("classifier.weight", False),
    ],
)  # fmt: skip
def test_what_is_a_trainers_by_its_name(name: str, aside: bool) -> None:
    assert is_aside(name) is aside
