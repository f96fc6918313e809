"""Maps between names: complete and by the right step, or none at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from interop.check import check, maps, structure
from interop.check.options import CheckOptions
from interop.check.pairing import pair
from interop.check.structure import is_derived
from interop.facts import (
    Architecture,
    Case,
    Identity,
    Manifest,
    Mapped,
    Pairing,
    StateDict,
    Storage,
    TensorSpec,
)
from interop.identity import identify
from interop.models.index.build import state_dict_shapes
from interop.report.json import to_json
from interop.rules._shared import command
from interop.rules._shared import port as port_command

Shapes = Mapping[str, tuple[int, ...]]


def identity(shapes: Shapes, *, ordered: bool = True) -> Identity:
    """What a file of these tensors would be of."""
    names = list(shapes) if ordered else sorted(shapes)
    tensors = tuple(
        TensorSpec(
            n,
            "int64" if n.endswith(("_tracked", "_index")) else "float32",
            tuple(shapes[n]),
            Storage("f", n, 0, 1),
        )
        for n in names
    )
    container = "torch-zip" if ordered else "safetensors"
    state = StateDict("", tensors, ordered)
    return identify(Manifest("f", "f", container, 0, "", (state,)))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in module.state_dict().items()}


def names(found: Pairing) -> dict[str, list[str]]:
    return {m.a.name: [t.name for t in m.b] for m in found.mapped}


def renamed(shapes: Shapes, change: Callable[[str], str]) -> dict[str, tuple[int, ...]]:
    return {change(k): tuple(v) for k, v in shapes.items()}


RESNET = state_dict_shapes("resnet18")
VIT = state_dict_shapes("vit_b_32")


def test_equal_names_need_no_map() -> None:
    a = identity(RESNET)
    assert pair(a, a).mapped == ()
    head = {**RESNET, "fc.weight": (7, 512), "fc.bias": (7,)}
    assert pair(a, identity(head)).mapped == ()
    deep = {k: v for k, v in RESNET.items() if not k.startswith("fc")}
    deep |= {
        "fc.1.weight": (64, 512),
        "fc.1.bias": (64,),
        "fc.3.weight": (7, 64),
        "fc.3.bias": (7,),
    }
    assert pair(a, identity(deep)).mapped == ()


def test_structure_is_matched_only_where_names_leave_something_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    match = structure.pair
    monkeypatch.setattr(structure, "pair", lambda *given: (seen.append("called"), match(*given))[1])
    shapes = {"a.weight": (4, 3), "a.bias": (4,), "b.weight": (2, 4), "b.bias": (2,)}
    headed = {**shapes, "b.weight": (7, 4), "b.bias": (7,)}
    for other in (shapes, headed, {f"module.{n}": s for n, s in shapes.items()}):
        assert pair(identity(shapes), identity(other)).mapped == ()
    assert seen == []
    pair(identity(shapes), identity({n.replace("a.", "other.x."): s for n, s in shapes.items()}))
    assert seen == ["called"]


def test_a_prefix_of_a_part() -> None:
    b = renamed(RESNET, lambda k: k if k.startswith("fc") else f"backbone.body.{k}")
    found = pair(identity(RESNET), identity(b))
    assert Counter(m.step for m in found.mapped) == {"prefix": 100}
    assert names(found)["conv1.weight"] == ["backbone.body.conv1.weight"]
    assert found.basis
    back = pair(identity(b), identity(RESNET))
    assert names(back)["backbone.body.conv1.weight"] == ["conv1.weight"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"n.gamma": (8,), "n.beta": (8,)}, {"n.weight": (8,), "n.bias": (8,)}),
        (
            {"c.weight_g": (8, 1, 1), "c.weight_v": (8, 8, 3)},
            {
                "c.parametrizations.weight.original0": (8, 1, 1),
                "c.parametrizations.weight.original1": (8, 8, 3),
            },
        ),
        (
            {"encoder.layers.encoder_layer_0.mlp.linear_1.weight": (32, 8)},
            {"encoder.layers.encoder_layer_0.mlp.0.weight": (32, 8)},
        ),
        (
            {"features.denseblock1.denselayer1.norm.1.weight": (8,)},
            {"features.denseblock1.denselayer1.norm1.weight": (8,)},
        ),
        (
            {"vit.encoder.layer.3.attention.attention.query.weight": (8, 8)},
            {"vit.layers.3.attention.q_proj.weight": (8, 8)},
        ),
    ],
)
def test_known_renames(old: Shapes, new: Shapes) -> None:
    rest = {"stem.weight": (8, 3, 3, 3), "out.weight": (8, 8), "out.bias": (8,)}
    found = pair(identity({**new, **rest}), identity({**old, **rest}))
    assert names(found) == {n: [o] for n, o in zip(new, old, strict=True)}
    assert {m.step for m in found.mapped} == {"known rename"}


def test_a_lone_gamma_is_no_weight() -> None:
    rest = {"stem.weight": (8, 3, 3, 3)}
    found = pair(identity({**rest, "b.weight": (8,)}), identity({**rest, "b.gamma": (8,)}))
    assert not [m for m in found.mapped if m.step == "known rename"]


def test_a_prefix_and_a_rename_together() -> None:
    new = {f"bert.layer.{i}.LayerNorm.{p}": (8,) for i in range(3) for p in ("weight", "bias")}
    leaf = {"weight": "gamma", "bias": "beta"}
    old = {f"layer.{i}.LayerNorm.{leaf[p]}": (8,) for i in range(3) for p in ("weight", "bias")}
    found = pair(identity(new), identity(old))
    assert names(found)["bert.layer.2.LayerNorm.bias"] == ["layer.2.LayerNorm.beta"]


def test_a_tied_weight_that_one_file_leaves_out() -> None:
    body = {"h.0.weight": (8, 8, 3), "h.1.weight": (8, 8, 3)}
    whole = identity({"wte.weight": (20, 8), **body, "lm_head.weight": (20, 8)})
    tensors = tuple(
        replace(t, storage=whole.tensors[0].storage) if t.name == "lm_head.weight" else t
        for t in whole.tensors
    )
    less = identity(renamed({"wte.weight": (20, 8), **body}, lambda k: f"transformer.{k}"))
    found = pair(replace(whole, tensors=tensors, head=None), replace(less, head=None))
    assert names(found)["lm_head.weight"] == ["transformer.wte.weight"]
    # The other way round, what is there twice is used once.
    found = pair(replace(less, head=None), replace(whole, tensors=tensors, head=None))
    assert names(found)["transformer.wte.weight"] == ["wte.weight"]


class Block(nn.Module):
    """Attention in the form of choice: three linear layers, one, or torch's own."""

    def __init__(self, form: str, width: int = 8) -> None:
        super().__init__()
        if form == "split":
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.dense = nn.Linear(width, width)
        elif form == "fused":
            self.qkv = nn.Linear(width, 3 * width)
            self.proj = nn.Linear(width, width)
        elif form == "conv1d":
            self.c_attn = _conv1d(width, 3 * width)
            self.c_proj = _conv1d(width, width)
        else:
            self.attn = nn.MultiheadAttention(width, 2)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)


def _conv1d(inputs: int, outputs: int) -> nn.Module:
    module = nn.Module()
    module.weight = nn.Parameter(torch.empty(inputs, outputs))
    module.bias = nn.Parameter(torch.empty(outputs))
    return module


FORMS = ("split", "fused", "conv1d", "torch")


@pytest.mark.parametrize("a", FORMS)
@pytest.mark.parametrize("b", FORMS)
def test_query_key_and_value_are_one_in_every_form(a: str, b: str) -> None:
    one, two = (
        replace(identity(shapes_of(nn.Sequential(Block(f), Block(f)))), head=None) for f in (a, b)
    )
    found = pair(one, two)
    assert bool(found.mapped) == (a != b)
    for m in found.mapped:
        for x, y in maps.views(m):
            assert x.shape == y.shape, (m.a.name, m.how)
    hows = {m.how for m in found.mapped if "norm" not in m.a.name}
    if (a, b) == ("split", "fused"):
        assert hows == {"rows 0:8", "rows 8:16", "rows 16:24", ""}
    if (a, b) == ("fused", "split"):
        assert hows == {"join", ""}
    if (a, b) == ("split", "conv1d"):
        # The weight is turned round, the bias is not. (Nothing here tells of the square c_proj.)
        assert {"transpose, rows 8:16", "rows 8:16"} <= hows


def test_a_square_conv1d_is_known_by_its_name() -> None:
    def block(turn: bool) -> dict[str, tuple[int, ...]]:
        shapes = {"c_attn": (24, 8), "c_proj": (8, 8), "c_fc": (32, 8), "mlp.c_proj": (8, 32)}
        found: dict[str, tuple[int, ...]] = {"wte.weight": (50, 8)}
        for name, shape in shapes.items():
            found[f"h.0.{name}.weight"] = shape[::-1] if turn else shape
            found[f"h.0.{name}.bias"] = shape[:1]
        return found

    found = pair(*(replace(identity(block(turn)), head=None) for turn in (False, True)))
    # h.0.c_proj agrees in name and shape, and would be taken as it is by its name.
    assert {m.a.name: m.how for m in found.mapped} == {
        f"h.0.{n}.weight": "transpose" for n in ("c_attn", "c_proj", "c_fc", "mlp.c_proj")
    }


def test_layer_scales_class_tokens_and_one_by_one_convolutions_are_reshaped() -> None:
    a = {
        "stem.weight": (8, 3, 4, 4), "cls_token": (1, 1, 8), "b.gamma": (8,), "mix.weight": (8, 8),
        "mix.bias": (8,), "fc.weight": (5, 8), "fc.bias": (5,),
    }  # fmt: skip
    b = {
        "proj.weight": (8, 3, 4, 4), "class_token": (8,), "block.layer_scale": (8, 1, 1),
        "conv.weight": (8, 8, 1, 1), "conv.bias": (8,), "head.weight": (5, 8), "head.bias": (5,),
    }  # fmt: skip
    found = pair(identity(a), identity(b))
    by_name = {m.a.name: (m.b[0].name, m.how) for m in found.mapped}
    assert by_name["cls_token"] == ("class_token", "reshape")
    assert by_name["b.gamma"] == ("block.layer_scale", "reshape")
    assert by_name["mix.weight"] == ("conv.weight", "reshape")


def test_a_shortcut_is_no_main_branch_wherever_it_is_defined() -> None:
    a = {
        "c1.weight": (8, 8, 3, 3), "c2.weight": (16, 8, 1, 1), "downsample.0.weight": (16, 8, 1, 1),
    }  # fmt: skip
    b = {
        "shortcut.convolution.weight": (16, 8, 1, 1), "l.0.weight": (8, 8, 3, 3),
        "l.1.weight": (16, 8, 1, 1),
    }  # fmt: skip
    found = pair(identity(a), identity(b))
    assert names(found)["downsample.0.weight"] == ["shortcut.convolution.weight"]
    assert names(found)["c2.weight"] == ["l.1.weight"]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("resnet34", "resnet50"),
        ("resnet18", "resnet34"),
        ("vit_b_16", "swin_t"),
        ("vit_b_16", "vit_b_32"),
        ("densenet121", "densenet169"),
        ("efficientnet_b0", "mobilenet_v2"),
        ("vgg16", "vgg16_bn"),
        ("convnext_tiny", "convnext_small"),
    ],
)
def test_other_architectures_get_no_map(a: str, b: str) -> None:
    one, two = identity(state_dict_shapes(a)), identity(state_dict_shapes(b))
    assert pair(one, two).mapped == () and pair(two, one).mapped == ()


def test_language_models_of_other_kinds_get_no_map() -> None:
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = transformers.BertModel(transformers.BertConfig(**small, intermediate_size=64))
    gpt = transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=99, n_embd=16, n_layer=2, n_head=2, n_positions=512)
    )
    one, two = (replace(identity(shapes_of(m)), head=None) for m in (bert, gpt))
    assert pair(one, two).mapped == () and pair(two, one).mapped == ()


def test_an_autoencoder_is_no_classifier(digits: Path) -> None:
    report = check(digits / "shufflenet.pth", digits / "autoencoder.pth")
    assert report.details.pairing.map is None
    assert "loaded-fraction-low" in {f.rule for f in report.findings}


def test_the_same_shapes_in_another_order_are_never_proved() -> None:
    a = {f"a.{i}.weight": (8, 8, 3, 3) for i in range(4)}
    b = {f"b.{i}.weight": (8, 8, 3, 3) for i in (3, 1, 0, 2)}
    assert pair(identity(a), identity(b)).basis == ""


def test_one_weight_too_many_is_no_map_at_all() -> None:
    b = renamed(VIT, lambda k: "v." + k.replace("encoder.layers.encoder_layer_", "blocks."))
    assert pair(identity(VIT), identity(b)).mapped
    assert pair(identity(VIT), identity({**b, "extra.weight": (3, 768)})).mapped == ()
    less = {k: v for k, v in b.items() if k != "v.blocks.11.ln_2.bias"}
    assert pair(identity(VIT), identity(less)).mapped == ()


def test_what_is_derived_is_no_weight_and_needs_no_counterpart() -> None:
    swin = state_dict_shapes("swin_t")
    index = [t for t in identity(swin).tensors if is_derived(t)]
    assert {t.name.rpartition(".")[2] for t in index} == {"relative_position_index"}
    without = {f"swin.x.{k}": v for k, v in swin.items() if "position_index" not in k}
    assert pair(identity(swin), identity(without)).mapped


def test_a_shared_architecture_vouches_for_a_map() -> None:
    one = replace(identity(RESNET), architectures=(Architecture("torchvision/resnet18", "test"),))
    change = {"layer": "stages.", "conv": "c", "bn": "n"}

    def rename(name: str) -> str:
        for old, new in change.items():
            name = name.replace(old, new)
        return name

    other = identity(renamed(RESNET, rename))
    assert pair(one, other).mapped and pair(one, other).basis == ""
    named = replace(
        other, architectures=(Architecture("x/y", "config.json", also=("torchvision/resnet18",)),)
    )
    assert pair(one, named).basis == "both are torchvision/resnet18"


def test_the_verdicts_the_hint_and_the_written_map(tmp_path: Path) -> None:
    torch.manual_seed(0)
    a = nn.ModuleDict({"attn": Block("fused"), "conv": nn.Conv2d(8, 4, 1), "fc": nn.Linear(8, 3)})
    b = nn.ModuleDict({"x": Block("split"), "mix": nn.Linear(8, 4), "head": nn.Linear(8, 3)})
    torch.save(a.state_dict(), tmp_path / "a.pth")
    torch.save(b.state_dict(), tmp_path / "b.pth")
    report = check(tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True))
    verdicts = {str(v.intent): (str(v.answer), v.why) for v in report.verdicts}
    assert verdicts["reload"][0] == "no" and verdicts["transfer"][0] == "unknown"
    assert "pair by structure; unproved: interop port" in verdicts["transfer"][1]
    hint = next(f.hint for f in report.findings if f.rule == "key-missing")
    assert "-o mended.pth (100 % of A's bytes come from B)" in hint
    written = to_json(report.details.pairing.map)
    assert json.loads(json.dumps(written)) == written
    assert written["unmapped"] == {"from": [], "to": []}
    rows = {r["to"]: r for r in written["tensors"]}
    assert rows["attn.qkv.weight"] == {
        "to": "attn.qkv.weight",
        "from": ["x.query.weight", "x.key.weight", "x.value.weight"],
        "how": "join",
        "step": "structure",
    }


def test_a_command_that_would_fail_is_not_offered() -> None:
    """B has no head for A's: nothing would fill it, so no port is named."""
    a = identity({"x.weight": (8, 8), "x.bias": (8,), "fc.weight": (3, 8)})
    b = identity({"y.weight": (8, 8), "y.bias": (8,)})
    mapped = tuple(
        Mapped(one, (other,), "", "structure")
        for one, other in zip(a.tensors, b.tensors, strict=False)
    )
    found = Pairing((), (), a.tensors, b.tensors, mapped=mapped)
    assert maps.filled(a, b, found) == 0
    assert port_command(Case(a=a, b=b, pairing=found)) == ""
    short = replace(a, tensors=a.tensors[:2])
    found = replace(found, fills=maps.filled(short, b, found))
    assert "-o mended.pth (100 %" in port_command(Case(a=short, b=b, pairing=found))


def test_the_same_bytes_under_the_map_are_proof_enough(tmp_path: Path) -> None:
    torch.manual_seed(0)
    a, b = nn.ModuleDict({"a": Block("fused")}), nn.ModuleDict({"b": Block("split")})
    state, other = a.state_dict(), b.state_dict()
    for part in ("weight", "bias"):
        q, k, v = state[f"a.qkv.{part}"].chunk(3)
        other |= {f"b.query.{part}": q, f"b.key.{part}": k, f"b.value.{part}": v}
        other[f"b.dense.{part}"] = state[f"a.proj.{part}"]
    torch.save(state, tmp_path / "a.pth")
    torch.save(other, tmp_path / "b.pth")
    report = check(
        tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True, intent="transfer")
    )
    assert report.exit_code == 0
    assert "identical weights under other names" in report.details.values.sentence
    other["b.key.weight"] = other["b.key.weight"] + 1
    torch.save(other, tmp_path / "b.pth")
    report = check(
        tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True, intent="transfer")
    )
    assert report.exit_code == 3


def test_a_proof_asks_which_of_several_architectures_it_is_of() -> None:
    several = (Architecture("x/one", ""), Architecture("x/two", ""))
    other = identity(renamed(RESNET, lambda name: name.replace("layer", "stage.")))
    one, two = (replace(i, architectures=several) for i in (identity(RESNET), other))
    found = Case(a=one, b=replace(two, architectures=()), pairing=pair(one, other))
    assert command(found, "--prove").endswith(" --like-arch NAME --prove")
    assert "NAME" not in command(found, "-o mended.pth")
