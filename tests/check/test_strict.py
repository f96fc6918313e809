"""What a strict load takes: each case against torch's own answer."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def spectral() -> nn.Module:
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)))


def weight_norm() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))


def same(state: Any) -> Any:
    return state


def stray(state: Any) -> Any:
    state["0.num_batches_tracked"] = torch.tensor(0)
    return state


def no_counters(state: Any) -> Any:
    del state["1.num_batches_tracked"]  # its _metadata still says version 2
    return state


def no_counters_no_metadata(state: Any) -> Any:
    return dict(no_counters(state))


def averaged(state: Any) -> Any:
    return {**state, "n_averaged": torch.tensor(3)}


def epoch(state: Any) -> Any:
    return {**state, "epoch": 3}


def numbered(state: Any) -> Any:
    return {**state, 7: "x"}


def old_norm(state: Any) -> Any:
    made = OrderedDict()
    for name, value in state.items():
        for number, ending in (("0", "g"), ("1", "v")):
            name = name.replace(f"parametrizations.weight.original{number}", f"weight_{ending}")
        made[name] = value
    return made


def half_old_norm(state: Any) -> Any:
    made = old_norm(state)
    del made["0.weight_g"]
    return made


def first_spectral(state: Any) -> Any:
    """As PyTorch 0.4 saved it: the weight itself, and no `_v`."""
    made = dict(state)
    made["0.weight"] = made["0.weight_orig"] / 2
    del made["0.weight_v"]
    return made


CASES = (
    (net, same), (net, stray), (net, no_counters), (net, no_counters_no_metadata),
    (net, averaged), (net, epoch), (net, numbered),
    (weight_norm, same), (weight_norm, old_norm), (weight_norm, half_old_norm),
    (spectral, same), (spectral, dict), (spectral, first_spectral),
)  # fmt: skip


@pytest.mark.parametrize(("make", "change"), CASES)
def test_reload_is_what_torch_answers(
    make: Callable[[], nn.Module], change: Callable[[Any], Any], tmp_path: Path
) -> None:
    module = make()
    torch.save(module.state_dict(), tmp_path / "a.pth")
    state = change(copy.deepcopy(module.state_dict()))
    torch.save(state, tmp_path / "b.pth")
    try:
        make().load_state_dict(torch.load(tmp_path / "b.pth"), strict=True)
        truth = Answer.YES
    except (RuntimeError, AttributeError):
        truth = Answer.NO
    assert check(tmp_path / "a.pth", tmp_path / "b.pth").outcome is truth


def test_the_cases_hold_both_answers(tmp_path: Path) -> None:
    answers = set()
    for change in (same, stray):
        torch.save(net().state_dict(), tmp_path / "a.pth")
        torch.save(change(net().state_dict()), tmp_path / "b.pth")
        answers.add(check(tmp_path / "a.pth", tmp_path / "b.pth").outcome)
    assert answers == {Answer.YES, Answer.NO}


def test_the_fix_of_an_averaged_model_loads(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    module = net()
    torch.save(module.state_dict(), "a.pth")
    torch.save(torch.optim.swa_utils.AveragedModel(module).state_dict(), "swa.pth")
    report = check("a.pth", "swa.pth")
    fix = next(f.hint for f in report.findings if f.rule == "key-prefix-shifted")
    exec(fix, {"torch": torch})
    module.load_state_dict(torch.load("mended.pth"), strict=True)
    assert check("a.pth", "mended.pth").outcome is Answer.YES


def test_a_pickled_module_is_no_state_dict(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "a.pth")
    torch.save(net(), tmp_path / "b.pth")
    rules = {f.rule for f in check(tmp_path / "a.pth", tmp_path / "b.pth").findings}
    assert "wrapper-changed" in rules


def test_a_part_of_a_layer_may_be_missing(tmp_path: Path) -> None:
    import torchvision

    state = torchvision.models.efficientnet_b0(num_classes=3).state_dict()
    torch.save(state, tmp_path / "a.pth")
    for leaf in ("weight", "bias"):
        less = {k: v for k, v in state.items() if k != f"features.3.0.block.2.fc1.{leaf}"}
        torch.save(less, tmp_path / "b.pth")
        report = check(tmp_path / "a.pth", tmp_path / "b.pth")
        assert report.exit_code == 1
        assert "key-missing" in {f.rule for f in report.findings}


@pytest.mark.parametrize(("value", "fault"), [(0.0, False), (float("nan"), True), (None, True)])
def test_a_mask_is_no_fault_and_other_infinities_break_all(
    value: float | None, fault: bool, tmp_path: Path
) -> None:
    mask = torch.full((4, 4), float("-inf")).triu(1)
    if value is None:
        mask[0, 0] = 3.0  # a second finite number
    else:
        mask[0, 0] = value
    for name in ("a.pth", "b.pth"):
        torch.save({**net().state_dict(), "mask": mask}, tmp_path / name)
    report = check(tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True))
    bad = [f for f in report.findings if f.rule == "tensor-not-finite"]
    assert bool(bad) is fault
    assert (report.outcome is Answer.NO) is fault and (not bad or len(bad[0].breaks) == 3)
