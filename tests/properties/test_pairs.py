"""Pairs of files: a library's own module, and what mutations make of its state dict.

The truth is torch's: `reload` may be yes only if `load_state_dict(strict=True)` of the very module
takes the file. Values are one element a tensor, spread over its shape, so that files are small.
"""

from __future__ import annotations

import functools
import os
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from interop.check import check, inspect, strict
from interop.facts import Answer, Pairing
from interop.identity import identify_file
from tests.fuzz.conftest import FUZZ

LONG = os.environ.get("INTEROP_FUZZ") == "long"
MODELS = (
    "torchvision/resnet18", "torchvision/efficientnet_b0", "torchvision/vit_b_32",
    "torchvision/swin_t", "torchvision/densenet121", "torchvision/squeezenet1_1",
    "timm/convnext_atto", "timm/vit_tiny_patch16_224", "timm/levit_128s",
    "timm/mobilenetv3_small_050", "torchvision/mnasnet0_5", "norms/",
)  # fmt: skip


class Norms(nn.Module):
    """torch's own modules whose hooks take older files."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3))
        self.old = nn.utils.spectral_norm(nn.Linear(4, 4))
        self.bn = nn.BatchNorm1d(4)
        self.plain = nn.BatchNorm1d(4, track_running_stats=False)
        self.scale = nn.Parameter(torch.ones(()))
        self.attention = nn.MultiheadAttention(4, 2)
        self.head = nn.Linear(4, 3)


@functools.cache
def module(name: str) -> nn.Module:
    library, _, model = name.partition("/")
    with torch.device("meta"):
        if library == "torchvision":
            import torchvision

            parts = torchvision.models.detection, torchvision.models.segmentation
            with_backbone = any(model in torchvision.models.list_models(module=p) for p in parts)
            # A backbone's weights would be fetched.
            none = {"weights_backbone": None} if with_backbone else {}
            return torchvision.models.get_model(model, weights=None, **none)
        if library == "timm":
            import timm

            return timm.create_model(model)
    return Norms()


def names() -> list[str]:
    if not LONG:
        return list(MODELS)
    import timm
    import torchvision

    chosen = random.Random(15).sample(timm.list_models(), 200)
    every = [n for n in torchvision.models.list_models() if not n.startswith("quantized")]
    return [*MODELS, *(f"torchvision/{n}" for n in every), *(f"timm/{n}" for n in chosen)]


State = OrderedDict[str, Any]


def state_of(model: nn.Module) -> State:
    found = model.state_dict()
    made: State = OrderedDict()
    for name, spec in found.items():
        made[name] = torch.zeros((), dtype=spec.dtype).expand(spec.shape)
    made._metadata = found._metadata  # type: ignore[attr-defined]
    return made


# ---------------------------------------------------------------- mutations


def _one(draw: Any, state: State) -> str:
    return draw(st.sampled_from([n for n, v in state.items() if isinstance(v, torch.Tensor)]))


def _again(state: State, rename: Callable[[str], str]) -> None:
    items = list(state.items())
    state.clear()
    state.update((rename(k), v) for k, v in items)


def drop(draw: Any, state: State) -> None:
    del state[_one(draw, state)]


def rename(draw: Any, state: State) -> None:
    name = _one(draw, state)
    _again(state, lambda k: name + "_" if k == name else k)


def reshape(draw: Any, state: State) -> None:
    name = _one(draw, state)
    shape = draw(st.sampled_from([(1, *state[name].shape), (7,), (), (1,), (0,)]))
    state[name] = torch.zeros((), dtype=state[name].dtype).expand(shape)


def swap(draw: Any, state: State) -> None:
    one, other = _one(draw, state), _one(draw, state)
    state[one], state[other] = state[other], state[one]


def cast(draw: Any, state: State) -> None:
    kind = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float64]))
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            state[name] = torch.zeros((), dtype=kind).expand(value.shape)


def prefix(draw: Any, state: State) -> None:
    front = draw(st.sampled_from(["module.", "_orig_mod.", "model.", "backbone.", "x."]))
    _again(state, lambda k: front + k)


def compiled(draw: Any, state: State) -> None:
    name = _one(draw, state).partition(".")[0]
    _again(state, lambda k: k.replace(f"{name}.", f"{name}._orig_mod.", 1)
           if k.startswith(f"{name}.") else k)  # fmt: skip


def duplicate(draw: Any, state: State) -> None:
    name = _one(draw, state)
    state[f"{name}.copy"] = state[name]


def tie(draw: Any, state: State) -> None:
    state[_one(draw, state)] = state[_one(draw, state)]


def stranger(draw: Any, state: State) -> None:
    name = draw(st.sampled_from(["extra.weight", "n_averaged", "x.num_batches_tracked", "bias"]))
    state[name] = torch.zeros(())


def counter(draw: Any, state: State) -> None:
    path = _one(draw, state).rpartition(".")[0]
    state[f"{path}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)


def word(draw: Any, state: State) -> None:
    state[draw(st.sampled_from(["epoch", "arch", "_extra_state"]))] = 3


def no_counters(draw: Any, state: State) -> None:
    for name in [n for n in state if n.endswith("num_batches_tracked")]:
        del state[name]


def strip(draw: Any, state: State) -> None:
    state._metadata = OrderedDict()  # type: ignore[attr-defined]


def old_norm(draw: Any, state: State) -> None:
    for number, ending in ((0, "g"), (1, "v")):
        new = f".parametrizations.weight.original{number}"
        _again(state, lambda k, new=new, ending=ending: k.replace(new, f".weight_{ending}"))


def old_names(draw: Any, state: State) -> None:
    for new, old in ((".mlp.0.", ".mlp.linear_1."), (".mlp.3.", ".mlp.linear_2.")):
        _again(state, lambda k, new=new, old=old: k.replace(new, old))


def split(draw: Any, state: State) -> None:
    fused = [n for n in state if n.endswith((".qkv.weight", "in_proj_weight"))]
    for name in fused:
        whole = state.pop(name)
        if not isinstance(whole, torch.Tensor) or not whole.ndim:
            continue
        for part in "qkv":
            third = (whole.shape[0] // 3, *whole.shape[1:])
            path = name.rpartition(".")[0].removesuffix(".qkv")
            state[f"{path}.{part}.weight"] = torch.zeros(()).expand(third)


MUTATIONS = (
    drop, rename, reshape, swap, cast, prefix, compiled, duplicate, tie, stranger, counter, word,
    no_counters, strip, old_norm, old_names, split,
)  # fmt: skip


# ---------------------------------------------------------------- the truth


def loads(model: nn.Module, path: Path) -> bool:
    """Whether torch takes the file, by its own account."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.load_state_dict(torch.load(path, weights_only=True), strict=True)
        except (RuntimeError, TypeError, AttributeError, KeyError, ValueError):
            return False
    return True


def wrong(name: str, a: Path, b: Path) -> str:
    """What is wrong with the verdict on B; "" for nothing."""
    reload = check(a, b).verdicts[0].answer
    inspect([identify_file(b)])
    truth = loads(module(name), b)
    if (reload is Answer.YES) == truth:
        return ""
    return "false no" if truth else "false yes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


def _saved(state: State, path: Path) -> Path:
    torch.save(state, path)
    return path


@FUZZ
@given(st.data())
def test_no_verdict_is_wrong(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names()))
    try:
        state = state_of(module(name))
    except NotImplementedError:  # a few cannot be built without memory
        assume(name in MODELS)
        raise
    a = _saved(state, folder / "a.pth")
    said = []
    for change in data.draw(st.lists(st.sampled_from(MUTATIONS), max_size=4)):
        if any(isinstance(v, torch.Tensor) for v in state.values()):
            change(data.draw, state)
            said.append(change.__name__)
    b = _saved(state, folder / "b.pth")
    assert not wrong(name, a, b), said


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("change", [None, no_counters, old_norm, old_names, strip])
def test_what_torch_takes_of_older_files(
    name: str, change: Callable[[Any, State], None] | None, tmp_path: Path
) -> None:
    for stripped in (False, True):
        state = state_of(module(name))
        a = _saved(state, tmp_path / "a.pth")
        if change:
            change(None, state)
        if stripped:
            strip(None, state)
        assert not wrong(name, a, _saved(state, tmp_path / "b.pth")), stripped


def test_the_suite_notices_a_wrong_verdict(tmp_path: Path, monkeypatch: Any) -> None:
    state = state_of(module("torchvision/resnet18"))
    a = _saved(state, tmp_path / "a.pth")
    no_counters(None, state)
    b = _saved(state, tmp_path / "b.pth")
    assert not wrong("torchvision/resnet18", a, b)

    def blind(load: Any) -> None:
        load.filled.update(t.name for t in load.pairing.missing)

    monkeypatch.setattr(strict, "_HOOKS", (blind,))
    assert wrong("torchvision/resnet18", a, b) == "false yes"
    monkeypatch.setattr(strict, "_HOOKS", ())
    strip(None, state)
    assert wrong("torchvision/resnet18", a, _saved(state, tmp_path / "b.pth")) == "false no"
    assert Pairing((), (), (), ()).lacking == []
