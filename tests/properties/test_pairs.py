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
from interop.check.options import CheckOptions
from interop.errors import InteropError
from interop.facts import Answer, Labels, Pairing, Preprocessing
from interop.identity import identify_file
from interop.models import catalog
from interop.port import PortOptions, port
from tests.fuzz.conftest import FUZZ

LONG = os.environ.get("INTEROP_FUZZ") == "long"
MODELS = (
    "torchvision/resnet18", "torchvision/efficientnet_b0", "torchvision/vit_b_32",
    "torchvision/swin_t", "torchvision/densenet121", "torchvision/squeezenet1_1",
    "timm/convnext_atto", "timm/vit_tiny_patch16_224", "timm/levit_128s",
    "timm/mobilenetv3_small_050", "torchvision/mnasnet0_5", "norms/",
    "transformers/BertForSequenceClassification", "transformers/ViTForImageClassification",
    "transformers/GPT2LMHeadModel", "transformers/T5ForConditionalGeneration",
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
        if library == "transformers":
            return catalog.meta(name)
    return Norms()


def names() -> list[str]:
    if not LONG:
        return list(MODELS)
    import timm
    import torchvision

    chosen = random.Random(15).sample(timm.list_models(), 200)
    every = [n for n in torchvision.models.list_models() if not n.startswith("quantized")]
    hub = random.Random(15).sample(catalog.names("transformers"), 60)
    return [*MODELS, *(f"torchvision/{n}" for n in every), *(f"timm/{n}" for n in chosen), *hub]


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


def join(draw: Any, state: State) -> None:
    """Three projections as one, as other libraries have them."""
    for ending in (".query.weight", ".q_proj.weight", ".q.weight"):
        for name in [n for n in state if n.endswith(ending)]:
            path = name.removesuffix(ending)
            parts = [path + ending.replace("q", one, 1) for one in "qkv"]
            if ending == ".query.weight":
                parts = [f"{path}.{one}.weight" for one in ("query", "key", "value")]
            if all(isinstance(state.get(n), torch.Tensor) and state[n].ndim for n in parts):
                whole = [state.pop(n) for n in parts]
                rows = (sum(t.shape[0] for t in whole), *whole[0].shape[1:])
                state[f"{path}.qkv.weight"] = torch.zeros(()).expand(rows)


def nest(draw: Any, state: State) -> None:
    for key in draw(st.sampled_from([("state_dict",), ("model", "net"), ("epoch_3", "ema")])):
        inner = OrderedDict(state)
        inner._metadata = state._metadata  # type: ignore[attr-defined]
        state.clear()
        state[key] = inner


MUTATIONS = (
    drop, rename, reshape, swap, cast, prefix, compiled, duplicate, tie, stranger, counter, word,
    no_counters, strip, old_norm, old_names, split, join, nest,
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


# ---------------------------------------------------------------- transfer and replace


def backbone_weights(name: str, a: Path) -> list[str]:
    """Parameters that interop itself takes for no head's."""
    own = identify_file(a)
    heads = {n for h in (own.head, *own.side_heads) if h is not None for n in h.tensors}
    fronts = tuple(f"{h.path}." for h in (own.head, *own.side_heads) if h is not None and h.path)
    return [n for n, _ in module(name).named_parameters() if n not in heads
            and not n.startswith(fronts)]  # fmt: skip


@pytest.mark.parametrize("name", [n for n in MODELS if n != "norms/"])
def test_a_backbone_that_lacks_a_weight_is_never_enough(name: str, tmp_path: Path) -> None:
    whole = state_of(module(name))
    a = _saved(whole, tmp_path / "a.pth")
    weights = backbone_weights(name, a)
    for lost in random.Random(name).sample(weights, 4):
        state = state_of(module(name))
        del state[lost]
        found = check(a, _saved(state, tmp_path / "b.pth")).verdicts[1]
        assert found.answer is not Answer.YES, lost
        state[lost] = torch.zeros(()).expand((3, *whole[lost].shape))
        found = check(a, _saved(state, tmp_path / "b.pth")).verdicts[1]
        assert found.answer is not Answer.YES, lost


@pytest.mark.parametrize("name", [n for n in MODELS if n != "norms/"])
def test_a_whole_backbone_under_a_prefix_or_a_key_is_enough(name: str, tmp_path: Path) -> None:
    a = _saved(state_of(module(name)), tmp_path / "a.pth")
    for front in ("", "module.", "model."):
        inner = OrderedDict((front + k, v) for k, v in state_of(module(name)).items())
        b = tmp_path / "b.pth"
        torch.save({"state_dict": inner, "epoch": 3}, b)
        assert check(a, b).verdicts[1].answer is Answer.YES, front


KEPT = (prefix, compiled, cast, counter, word, no_counters, strip, nest, duplicate, stranger)
# A tensor beside a wrapped model: the wrapper is then not known for one. The one false no.
BESIDE = (stranger, counter, duplicate)


@FUZZ
@given(st.data())
def test_what_leaves_the_backbone_as_it_is_never_makes_transfer_a_no(
    folder: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([n for n in names() if n != "norms/"]))
    try:
        state = state_of(module(name))
    except NotImplementedError:
        assume(name in MODELS)
        raise
    a = _saved(state, folder / "a.pth")
    assume(check(a, a).verdicts[1].answer is Answer.YES)
    said = []
    for change in data.draw(st.lists(st.sampled_from(KEPT), max_size=3, unique=True)):
        if any(isinstance(v, torch.Tensor) for v in state.values()):
            assume(not (prefix in said and change in BESIDE))
            change(data.draw, state)
            said.append(change)
    found = check(a, _saved(state, folder / "b.pth")).verdicts[1]
    assert found.answer is not Answer.NO, (name, [c.__name__ for c in said], found.why)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/convnext_atto"])
def test_another_number_of_outputs_never_replaces(name: str, tmp_path: Path) -> None:
    a = _saved(state_of(module(name)), tmp_path / "a.pth")
    head = identify_file(a).head
    assert head is not None
    known: dict[str, Any] = {
        "labels": Labels(tuple(f"c{i}" for i in range(head.outputs)), "given"),
        "preprocessing": Preprocessing((224, 224), (0.0,) * 3, (1.0,) * 3),
    }
    assert check(a, a, CheckOptions(**known)).verdicts[2].answer is Answer.YES
    state = state_of(module(name))
    for tensor in head.tensors:
        shape = state[tensor].shape
        state[tensor] = torch.zeros(()).expand((shape[0] - 1, *shape[1:]))
    b = _saved(state, tmp_path / "b.pth")
    assert check(a, b, CheckOptions(**known)).verdicts[2].answer is not Answer.YES


# ---------------------------------------------------------------- port


class Small(nn.Module):
    """A network of ordinary parts, small enough for its values to be written."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.ModuleList(nn.Conv2d(8, 8, 3) for _ in range(3))
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)


def valued(model: nn.Module) -> State:
    """The state with seeded values, so that no two tensors are alike."""
    generator = torch.Generator().manual_seed(7)
    state = OrderedDict(
        (k, torch.randn(v.shape, generator=generator) if v.is_floating_point() else v.clone())
        for k, v in model.state_dict().items()
    )
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    return state


def unsqueeze(draw: Any, state: State) -> None:
    name = _one(draw, state)
    state[name] = state[name][None]


PORTED = (drop, rename, unsqueeze, prefix, duplicate, stranger, counter, word, strip, nest, swap)


@FUZZ
@given(st.data())
def test_port_gives_the_very_values_or_refuses(folder: Path, data: st.DataObject) -> None:
    target = valued(Small())
    like = _saved(target, folder / "like.pth")
    source = valued(Small())
    said = []
    for change in data.draw(st.lists(st.sampled_from(PORTED), min_size=1, max_size=3)):
        if any(isinstance(v, torch.Tensor) for v in source.values()):
            change(data.draw, source)
            said.append(change.__name__)
    out = folder / "out.pth"
    out.unlink(missing_ok=True)
    a = _saved(source, folder / "source.pth")
    try:
        report = port(
            identify_file(a, whole=True),
            PortOptions(out=str(out)),
            like=identify_file(like, whole=True),
        )
    except InteropError:
        report = None
    if report is None or report.outcome is not Answer.YES:
        assert not out.exists(), said
        return
    written = torch.load(out, weights_only=True)
    assert list(written) == list(target), said
    # Each of the source's tensors is used once: what two of them traded may be either.
    traded = "swap" in said or "rename" in said
    for name, value in written.items():
        if not traded and value.is_floating_point():
            assert torch.equal(value, target[name]), (name, said)
    floats = sorted(float(v.double().sum()) for v in written.values() if v.is_floating_point())
    wanted = sorted(float(v.double().sum()) for v in target.values() if v.is_floating_point())
    assert floats == wanted, said
