"""A backbone under a prefix of a larger model: found whole, and loaded by torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer, Finding, Intent, Report

Tensors = Mapping[str, Tensor]


class Small(nn.Module):
    """A classifier of nobody's."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stage = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16)
        )
        self.fc = nn.Linear(16, classes)


class Detector(nn.Module):
    """The same body beside layers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"stage": Small().stage})
        self.fpn = nn.Conv2d(16, 4, 1)


def prefixed(state: Tensors, prefix: str) -> dict[str, Tensor]:
    return {prefix + k: v for k, v in state.items()}


def bare(state: Tensors) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.startswith("fc")}


def asked(folder: Path, a: Any, b: Any, intent: Intent = Intent.TRANSFER) -> Report:
    torch.save(a, folder / "a.pth")
    torch.save(b, folder / "b.pth")
    return check(folder / "a.pth", folder / "b.pth", CheckOptions(intent=intent))


def verdict(report: Report, intent: Intent = Intent.TRANSFER) -> tuple[Answer, str]:
    (found,) = (v for v in report.verdicts if v.intent is intent)
    return found.answer, found.why


def note(report: Report) -> Finding:
    (found,) = (f for f in report.findings if f.rule == "key-renamed")
    return found


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def load(code: str, module: nn.Module) -> Any:
    """Run a hint's code on a module; what torch says that it lacked and was given too much."""
    code = code.partition("first: ")[2] or code
    return eval(code.partition(";")[0], {"torch": torch, "model": module})  # noqa: S307


@pytest.mark.parametrize("prefix", ["body.", "backbone.body.", "net.0."])
@pytest.mark.parametrize("wrapper", ["", "module.", "module.model."])
def test_a_backbone_under_a_prefix_is_found_whole(
    tmp_path: Path, prefix: str, wrapper: str
) -> None:
    torch.manual_seed(0)
    body = bare(Small().state_dict())
    b = prefixed({**prefixed(body, prefix), "fpn.weight": torch.ones(4, 16, 1, 1)}, wrapper)
    report = asked(tmp_path, Small().state_dict(), b)
    assert verdict(report) == (
        Answer.YES,
        f"12 of 12 backbone tensors pair, 100 % of their bytes, under {wrapper + prefix!r} of B",
    )
    assert f"under {wrapper + prefix!r}; beside it B has fpn (1 tensors)" in note(report).what
    # As they are, the names do not load; without the prefix they do, but for A's own head.
    assert verdict(report, Intent.RELOAD)[0] is Answer.NO
    module = Small()
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict(b)
    left = load(note(report).hint, module)
    assert left.missing_keys == ["fc.weight", "fc.bias"] and not left.unexpected_keys
    assert torch.equal(module.state_dict()["stage.0.weight"], body["stage.0.weight"])
    (missing,) = (f for f in report.findings if f.rule == "key-missing")
    assert missing.hint == note(report).hint


def test_a_backbone_alone_loads_strictly_once_the_prefix_is_off(tmp_path: Path) -> None:
    module = Small()
    del module.fc
    larger = Detector()
    report = asked(tmp_path, module.state_dict(), larger.state_dict(), Intent.RELOAD)
    assert verdict(report)[0] is Answer.YES and report.outcome is Answer.NO
    assert "strict" not in note(report).hint
    load(note(report).hint, module)
    assert same(module.stage, larger.body["stage"])


def test_the_larger_one_takes_the_bare_backbone(tmp_path: Path) -> None:
    small, larger = Small(), Detector()
    report = asked(tmp_path, larger.state_dict(), small.state_dict())
    answer, why = verdict(report)
    assert answer is Answer.YES and why.startswith("12 of 14 tensors pair, 95.")
    assert why.endswith("under 'body.' of A")
    assert note(report).what == (
        "B's whole backbone is in A under 'body.'; beside it A has fpn (2 tensors)"
    )
    assert verdict(report, Intent.RELOAD)[0] is Answer.NO
    left = load(note(report).hint, larger)
    assert left.missing_keys == ["fpn.weight", "fpn.bias"]
    assert same(larger.body["stage"], small.stage)


def test_a_small_part_of_a_larger_model_is_not_taken_for_its_backbone(tmp_path: Path) -> None:
    a = {**Detector().state_dict(), "neck.weight": torch.ones(64, 16, 3, 3)}
    report = asked(tmp_path, a, Small().state_dict())
    assert verdict(report)[0] is Answer.UNKNOWN
    assert "less than half of A's bytes" in note(report).what


def test_a_head_of_another_width_is_left_out_of_what_is_loaded(tmp_path: Path) -> None:
    b = {**prefixed(Small(4).state_dict(), "body."), "fpn.weight": torch.ones(4, 16, 1, 1)}
    report = asked(tmp_path, Small().state_dict(), b)
    assert verdict(report)[0] is Answer.YES
    assert load(note(report).hint, Small()).missing_keys == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("names", [("left", "right"), ("student", "teacher")])
def test_of_several_places_none_is_chosen(tmp_path: Path, names: tuple[str, str]) -> None:
    one, other = Small(), Small()
    b = {f"{who}.{k}": v for who, m in zip(names, (one, other), strict=True)
         for k, v in bare(m.state_dict()).items()}  # fmt: skip
    report = asked(tmp_path, Small().state_dict(), b)
    assert note(report).what == (
        f"A's whole backbone is in B at 2 places, under '{names[0]}.', '{names[1]}.'; which one is "
        "meant is not known"
    )
    # Names that trainers give to whole models are known as such anyway.
    why = note(report).what if names[0] == "left" else "student, teacher"
    assert verdict(report) == (Answer.UNKNOWN, why)
    assert report.outcome is Answer.UNKNOWN
    module = Small()
    load(note(report).hint, module)
    assert same(module.stage, one.stage)


def test_one_module_under_two_names_is_one_place(tmp_path: Path) -> None:
    body = bare(Small().state_dict())
    b = {**prefixed(body, "body."), **prefixed(body, "backbone."), "x.weight": torch.ones(3, 3, 3)}
    assert verdict(asked(tmp_path, Small().state_dict(), b))[0] is Answer.YES


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("body.stage.2.weight"),
        lambda state: state.update({"body.stage.2.weight": torch.ones(16, 8, 1, 1)}),
        lambda state: state.update({"other.stage.1.bias": state.pop("body.stage.1.bias")}),
    ],
)
def test_part_of_a_backbone_is_none(tmp_path: Path, change: Any) -> None:
    b = dict(Detector().state_dict())
    assert verdict(asked(tmp_path, Small().state_dict(), b))[0] is Answer.YES
    change(b)
    report = asked(tmp_path, Small().state_dict(), b)
    assert verdict(report)[0] is Answer.NO
    assert not [f for f in report.findings if f.rule == "key-renamed"]


@pytest.mark.parametrize(
    "names",
    [("weight", "bias"), ("0.weight", "0.bias"), ("0.weight", "0.bias", "1.weight", "1.bias")],
)
def test_a_few_generic_names_are_no_backbone(tmp_path: Path, names: tuple[str, ...]) -> None:
    state = {n: torch.ones(8, 8) if n.endswith("weight") else torch.ones(8) for n in names}
    b = {**prefixed(state, "head."), "x.weight": torch.ones(8, 8, 1), "y": torch.ones(3)}
    report = asked(tmp_path, state, b)
    assert "under" not in verdict(report)[1]
    assert not [f for f in report.findings if f.rule == "key-renamed" and "whole" in f.what]


def test_the_counters_of_a_frozen_norm_are_not_asked_for(tmp_path: Path) -> None:
    b = {k: v for k, v in Detector().state_dict().items() if "num_batches" not in k}
    answer, why = verdict(asked(tmp_path, Small().state_dict(), b))
    assert answer is Answer.YES and why.startswith("12 of 12")


def test_many_places_are_found_in_time(tmp_path: Path) -> None:
    part = torch.zeros(1).expand(2, 2)
    names = [f"l{i}.weight" for i in range(400)]
    a = dict.fromkeys(names, part)
    b = {f"p{i}.{n}": part for i in range(400) for n in names[-50:]}
    assert verdict(asked(tmp_path, a, b))[0] is not Answer.YES
