"""Weights go to another library's names and back, proved; what is not the same is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fixtures import small_gpt
from fixtures.shaken import shaken
from interop.check import check
from interop.check.options import CheckOptions
from interop.errors import ConfigError, InteropError, ModelError
from interop.facts import Answer, Identity, Report
from interop.identity import identify_file
from interop.models import catalog
from interop.port import PortOptions, port
from interop.report.json import to_json

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

Tensors = dict[str, torch.Tensor]


def start(folder: Path, name: str, **options: Any) -> Path:
    """A file of shaken weights under a library's names."""
    torch.manual_seed(0)
    state = shaken(catalog.module(name, **options), (4, 3, 224, 224)).state_dict()
    path = folder / "start.pth"
    torch.save(state, path)
    return path


def ported(
    file: Path, out: Path | None = None, like: Identity | None = None, **options: Any
) -> Report:
    given = identify_file(file, whole=True)
    asked = PortOptions(out=None if out is None else str(out), **options)
    return port(given, asked, like=like)


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def proofs(report: Report) -> dict[str, bool]:
    return {p.name: p.holds for p in report.proofs}


PROVED = {"loaded fraction": True, "same forward": True, "canary": True}


@pytest.mark.parametrize(
    ("one", "other", "options"),
    [
        ("torchvision/resnet18", "transformers/ResNetForImageClassification", {"num_classes": 5}),
        ("torchvision/regnet_y_400mf", "timm/regnety_004", {"num_classes": 5}),
        ("timm/vit_tiny_patch16_224", "transformers/ViTForImageClassification", {"num_classes": 5}),
        (
            "timm/deit_tiny_distilled_patch16_224",
            "transformers/DeiTForImageClassificationWithTeacher",
            {"num_classes": 5},
        ),
    ],
)
def test_there_and_back(one: str, other: str, options: dict[str, Any], tmp_path: Path) -> None:
    file = start(tmp_path, one, **options)
    there = ported(file, tmp_path / "there.safetensors", to=other, arch=one, prove=True)
    assert proofs(there) == PROVED, there.summary
    assert there.exit_code == 0 and there.details.proved
    # What was written knows what it is of, and goes back without being told.
    back = ported(tmp_path / "there.safetensors", tmp_path / "back.pth", to=one)
    assert proofs(back) == {"loaded fraction": True} and not back.details.proved
    assert same(torch.load(tmp_path / "back.pth"), torch.load(file))


def test_a_folder_is_what_from_pretrained_loads(tmp_path: Path) -> None:
    """transformers keeps other names in memory than on disk; a plain load proves the disk's."""
    name = "timm/vit_tiny_patch16_224"
    file = start(tmp_path, name, num_classes=3)
    given = identify_file(file, whole=True)
    from dataclasses import replace

    from interop.facts import Labels

    given = replace(given, labels=Labels(("ant", "bee", "cat"), "test"))
    out = f"{tmp_path}/vit/"
    report = port(
        given, PortOptions(to="transformers/ViTForImageClassification", arch=name, out=out)
    )
    assert report.exit_code == 0 and "from_pretrained" in report.details.call
    loaded, info = transformers.ViTForImageClassification.from_pretrained(
        out, output_loading_info=True
    )
    assert not any(info.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.config.id2label == {0: "ant", 1: "bee", 2: "cat"}
    names = load_file(tmp_path / "vit" / "model.safetensors")
    assert "vit.encoder.layer.0.attention.attention.query.weight" in names
    mine = timm.create_model("vit_tiny_patch16_224", num_classes=3).eval()
    mine.load_state_dict(torch.load(file))
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(mine(x), loaded.eval()(x).logits, atol=1e-4)
    # A folder is a source too, known by its config.json.
    assert ported(tmp_path / "vit", tmp_path / "back.pth", to=name).exit_code == 0
    assert same(torch.load(tmp_path / "back.pth"), torch.load(file))


def test_the_forward_differs_and_the_option_that_settles_it(tmp_path: Path) -> None:
    one, other = "torchvision/mobilenet_v3_small", "timm/mobilenetv3_small_100"
    file = start(tmp_path, one, num_classes=4)
    out = tmp_path / "out.safetensors"
    bad = ported(file, out, to=other, prove=True)
    assert bad.outcome is Answer.NO and not out.exists()
    (found,) = (f for f in bad.findings if f.rule == "forward-differs")
    assert "weights map, the forward differs" in found.what
    assert "BatchNorm eps 0.001 against 1e-05 in 34 layers" in found.what
    assert found.hint.endswith("--set bn_eps=0.001")
    good = ported(file, out, to=other, prove=True, settings={"bn_eps": 0.001})
    assert proofs(good) == PROVED
    assert good.details.call == (
        "timm.create_model('mobilenetv3_small_100', bn_eps=0.001, num_classes=4)"
    )


def test_a_comparison_that_cannot_fail_is_no_proof(tmp_path: Path) -> None:
    """torchvision starts a vision transformer's head at zero: it answers alike to everything."""
    state = catalog.module("timm/vit_tiny_patch16_224").state_dict()
    state["head.weight"] = torch.zeros_like(state["head.weight"])
    torch.save(state, tmp_path / "zero.pth")
    report = ported(
        tmp_path / "zero.pth",
        to="transformers/ViTForImageClassification",
        arch="timm/vit_tiny_patch16_224",
        prove=True,
    )
    assert proofs(report) == {**PROVED, "canary": False}
    assert report.exit_code == 1


def test_bert_with_old_names(tmp_path: Path) -> None:
    sizes = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(**sizes, intermediate_size=32)
    bert = shaken(transformers.BertModel(config))
    bert.save_pretrained(tmp_path / "new")
    leaf = {"weight": "gamma", "bias": "beta"}
    old = {
        k.replace(f"LayerNorm.{p}", f"LayerNorm.{leaf[p]}"): v
        for k, v in bert.state_dict().items()
        for p in [k.rpartition(".")[2]]
        if p in leaf
    }
    (tmp_path / "old").mkdir()
    torch.save(old, tmp_path / "old" / "pytorch_model.bin")
    (tmp_path / "old" / "config.json").write_text((tmp_path / "new" / "config.json").read_text())
    like = identify_file(tmp_path / "new", whole=True)
    out = tmp_path / "mended.safetensors"
    report = ported(tmp_path / "old", out, like=like, prove=True)
    assert proofs(report) == PROVED, report.summary
    assert report.details.steps["known rename"] == 10
    assert same(load_file(out), load_file(tmp_path / "new" / "model.safetensors"))


def test_gpt2_to_linear_layers_of_its_own(tmp_path: Path) -> None:
    gpt = shaken(transformers.GPT2LMHeadModel(transformers.GPT2Config(**small_gpt.SIZES)))
    gpt.save_pretrained(tmp_path / "gpt")
    torch.save(small_gpt.make().state_dict(), tmp_path / "own.pth")
    like = identify_file(tmp_path / "own.pth", whole=True)
    report = ported(
        tmp_path / "gpt",
        tmp_path / "out.pth",
        like=like,
        like_factory="fixtures.small_gpt:make",
        prove=True,
    )
    assert proofs(report) == PROVED, report.summary
    own = small_gpt.make()
    own.load_state_dict(torch.load(tmp_path / "out.pth"), strict=True)


def small_gpt2(folder: Path) -> tuple[Path, Path]:
    """GPT-2 with 4 heads where the class's default is 12: with its config, and bare."""
    sizes = {"vocab_size": 99, "n_embd": 48, "n_layer": 1, "n_positions": 32, "n_head": 4}
    gpt = shaken(transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)))
    gpt.save_pretrained(folder / "gpt")
    bare = folder / "bare.safetensors"
    bare.write_bytes((folder / "gpt" / "model.safetensors").read_bytes())
    return folder / "gpt", bare


def test_nothing_is_proved_on_an_assumed_config(tmp_path: Path) -> None:
    whole, bare = small_gpt2(tmp_path)
    to = "transformers/GPT2LMHeadModel"
    out, plain = tmp_path / "out", tmp_path / "out.safetensors"
    for how in ({"out": out}, {"prove": True}, {"out": plain, "prove": True}):
        with pytest.raises(ConfigError, match="its config is in no file: the number of attention"):
            ported(bare, to=to, **how)
    assert not out.exists() and not plain.exists()
    with pytest.raises(ConfigError, match="its config is in no file"):
        ported(bare, to=to, prove=True, settings={"resid_pdrop": 0.0})
    # The names alone can be had, and say no more than they know.
    names = ported(bare, plain, to=to)
    assert not names.details.proved and "not known" in names.details.notes[0]
    assert names.details.call == ""
    with pytest.raises(ConfigError, match="its config is in no file"):
        ported(plain, to=to, prove=True)
    config = json.loads((whole / "config.json").read_text())
    for known in ({"config": config}, {"settings": {"n_head": 4}}):
        report = ported(bare, out, to=to, prove=True, force=True, **known)
        assert proofs(report) == PROVED, report.summary
        assert transformers.GPT2LMHeadModel.from_pretrained(out).config.n_head == 4
    assert proofs(ported(whole, to=to, prove=True)) == PROVED


def test_no_heads_are_made_up_for_a_target_of_another_library(tmp_path: Path) -> None:
    name = "transformers/ViTForImageClassification"
    sizes = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
    options = {**sizes, "num_labels": 5, "layer_norm_eps": 1e-6}
    file = start(tmp_path, name, **options)
    to = "timm/vit_tiny_patch16_224"
    with pytest.raises(ConfigError, match="its config is in no file"):
        ported(file, to=to, prove=True)
    # What is set is the target's, and tells nothing of the source.
    with pytest.raises(ConfigError, match="its config is in no file"):
        ported(file, to=to, prove=True, settings={"num_heads": 3})
    assert proofs(ported(file, to=to, prove=True, config=options)) == PROVED


# ---------------------------------------------------------------- like another file


class Net(nn.Module):
    def __init__(self, classes: int, *, other: bool = False) -> None:
        super().__init__()
        names = ("one", "two", "out") if other else ("conv", "mix", "fc")
        for name, layer in zip(
            names, (nn.Conv2d(3, 4, 3), nn.Linear(4, 6), nn.Linear(6, classes)), strict=True
        ):
            self.add_module(name, layer)


def test_a_prefix_a_wrapper_and_names_are_mended(tmp_path: Path) -> None:
    prod, new = Net(3), Net(5, other=True)
    wrapped = {"module." + k: v for k, v in prod.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "prod.pth")
    torch.save({"model": {"net." + k: v for k, v in new.state_dict().items()}}, tmp_path / "b.pth")
    like = identify_file(tmp_path / "prod.pth", whole=True)
    out = tmp_path / "mended.pth"
    assert ported(tmp_path / "b.pth", out, like=like).exit_code == 0
    state = torch.load(out)["state_dict"]
    assert list(state) == list(wrapped)
    assert torch.equal(state["module.fc.weight"], new.out.weight)
    plain = tmp_path / "mended.safetensors"
    assert ported(tmp_path / "b.pth", plain, like=like).exit_code == 0
    assert set(load_file(plain)) == set(prod.state_dict())
    report = ported(tmp_path / "b.pth", out, like=like, force=True)
    (found,) = (f for f in report.findings if f.rule == "head-width-changed")
    assert found.level == "warn" and "5 instead of 3" in found.what
    torch.save(Net(5).state_dict(), tmp_path / "c.pth")
    report = ported(tmp_path / "c.pth", out, like=like, force=True)
    assert "every tensor by its name" not in report.summary and "head (2)" in report.summary
    # The mended file is what the hint of a check promised.
    reload = check(tmp_path / "prod.pth", out).verdicts[0]
    assert "the head's 2 tensors" in reload.why or "fc.weight" in reload.why


def test_no_complete_map_is_no_map(tmp_path: Path) -> None:
    torch.save(Net(3).state_dict(), tmp_path / "a.pth")
    more = {**Net(3, other=True).state_dict(), "extra.weight": torch.ones(7, 7)}
    torch.save(more, tmp_path / "b.pth")
    like = identify_file(tmp_path / "a.pth", whole=True)
    report = ported(tmp_path / "b.pth", tmp_path / "out.pth", like=like)
    assert report.exit_code == 1 and not (tmp_path / "out.pth").exists()
    assert "no complete map" in report.summary
    assert proofs(report) == {"loaded fraction": False}


def test_a_head_that_is_the_embedding_once_more(tmp_path: Path) -> None:
    whole, _ = small_gpt2(tmp_path)
    state = load_file(whole / "model.safetensors")
    bare = {**state, "lm_head.weight": torch.zeros_like(state["transformer.wte.weight"])}
    save_file(bare, tmp_path / "like.safetensors")
    like = identify_file(tmp_path / "like.safetensors", whole=True)
    out = tmp_path / "out.safetensors"
    report = ported(whole, out, like=like)
    assert report.exit_code == 0, report.summary
    assert torch.equal(load_file(out)["lm_head.weight"], state["transformer.wte.weight"])


def test_what_is_missing_and_what_is_strange_are_said_apart(tmp_path: Path) -> None:
    state = catalog.module("torchvision/resnet18").state_dict()
    del state["conv1.weight"]
    torch.save({**state, "odd.weight": torch.ones(9, 9)}, tmp_path / "a.pth")
    said = r"3 of the module's are missing \(conv1.weight, .*\), 3 are not the module's \(.*odd"
    with pytest.raises(ModelError, match=said):
        ported(tmp_path / "a.pth", to="timm/resnet18", arch="torchvision/resnet18", prove=True)


def test_a_written_map_is_used(tmp_path: Path) -> None:
    torch.save(Net(3).state_dict(), tmp_path / "a.pth")
    torch.save(Net(3, other=True).state_dict(), tmp_path / "b.pth")
    found = check(tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(with_map=True))
    written = to_json(found.details.pairing.map)
    path = tmp_path / "map.json"
    path.write_text(json.dumps(written))
    like = identify_file(tmp_path / "a.pth", whole=True)
    out = tmp_path / "out.pth"
    assert ported(tmp_path / "b.pth", out, like=like, map_file=path).exit_code == 0
    assert torch.equal(torch.load(out)["mix.bias"], torch.load(tmp_path / "b.pth")["two.bias"])
    written["tensors"][0]["from"] = ["nowhere"]
    path.write_text(json.dumps(written))
    with pytest.raises(ConfigError, match="does not fit these two"):
        ported(tmp_path / "b.pth", out, like=like, map_file=path, force=True)


# ---------------------------------------------------------------- bad input


def test_bad_input(tmp_path: Path) -> None:
    file = start(tmp_path, "torchvision/squeezenet1_1", num_classes=4)
    out = tmp_path / "out.safetensors"
    with pytest.raises(ModelError, match="no 'nonsense'"):
        ported(file, out, to="timm/nonsense")
    with pytest.raises(ModelError, match="timm does not build it"):
        ported(file, out, to="timm/resnet18", settings={"norm_layer": "x"})
    with pytest.raises(ModelError, match="names no library's model"):
        ported(file, out, to="resnet18")
    with pytest.raises(ConfigError, match="the sizes of torchvision/squeezenet1_1"):
        ported(file, out, to="transformers/ViTForImageClassification")
    with pytest.raises(ConfigError, match="nothing to do"):
        ported(file, to="torchvision/squeezenet1_1")
    with pytest.raises(ConfigError, match="a folder is for"):
        ported(file, tmp_path, to="torchvision/squeezenet1_1")
    with pytest.raises(InteropError, match="the very file that is read"):
        ported(file, file, to="torchvision/squeezenet1_1", force=True)
    with pytest.raises(ModelError, match="not those of timm/resnet18"):
        ported(file, out, to="timm/resnet26", arch="timm/resnet18")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InteropError, match="a folder with other files in it"):
        ported(file, tmp_path / "mine", to="transformers/ResNetForImageClassification", force=True)
    assert not out.exists()
    assert ported(file, out, to="timm/resnet18").exit_code == 1 and not out.exists()
    out.write_text("older")
    with pytest.raises(InteropError, match="exists"):
        ported(file, out, to="torchvision/squeezenet1_1")
    assert ported(file, out, to="torchvision/squeezenet1_1", force=True).exit_code == 0
    assert not list(tmp_path.glob(".interop-*"))


def test_the_written_header_says_what_it_holds(tmp_path: Path) -> None:
    from safetensors import safe_open

    state = catalog.module("torchvision/squeezenet1_1", num_classes=2).state_dict()
    torch.save({"state_dict": state, "labels": ["no", "yes"]}, tmp_path / "a.pth")
    out = tmp_path / "out.safetensors"
    ported(tmp_path / "a.pth", out, to="torchvision/squeezenet1_1")
    first = out.read_bytes()
    ported(tmp_path / "a.pth", out, to="torchvision/squeezenet1_1", force=True)
    assert out.read_bytes() == first
    with safe_open(out, "pt") as file:
        held = file.metadata()
    assert held["format"] == "pt" and held["arch"] == "torchvision/squeezenet1_1"
    assert json.loads(held["labels"]) == ["no", "yes"]
    assert json.loads(held["arch_options"]) == {"num_classes": 2}


def test_half_precision_stays_half(tmp_path: Path) -> None:
    state = catalog.module("timm/vit_tiny_patch16_224", num_classes=2).state_dict()
    half = {k: (v + 0.01 * torch.randn(v.shape)).half() for k, v in state.items()}
    save_file(half, tmp_path / "a.safetensors")
    out = tmp_path / "out.pth"
    to = "transformers/ViTForImageClassification"
    report = ported(
        tmp_path / "a.safetensors", out, to=to, arch="timm/vit_tiny_patch16_224", prove=True
    )
    assert proofs(report) == PROVED
    assert {t.dtype for t in torch.load(out).values()} == {torch.float16}


# ---------------------------------------------------------------- a map that is wrong


class Ordered(nn.Module):
    """Two layers of one shape, used in the order of `used` and defined in that of `defined`."""

    def __init__(self, defined: tuple[str, str], used: tuple[str, str]) -> None:
        super().__init__()
        for name in defined:
            self.add_module(name, nn.Linear(6, 6))
        self.used = used

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.used:
            x = torch.tanh(self.get_submodule(name)(x))
        return x


def straight() -> nn.Module:
    return Ordered(("one", "two"), ("one", "two"))


def crossed() -> nn.Module:
    return Ordered(("second", "first"), ("first", "second"))


def test_a_wrong_map_is_found_out_by_running_both(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(straight().state_dict(), tmp_path / "a.pth")
    torch.save(crossed().state_dict(), tmp_path / "b.pth")
    like = identify_file(tmp_path / "b.pth", whole=True)
    models = {"factory": f"{__name__}:straight", "like_factory": f"{__name__}:crossed"}
    out = tmp_path / "out.pth"
    bad = ported(tmp_path / "a.pth", out, like=like, prove=True, **models)
    assert proofs(bad) == {"loaded fraction": True, "same forward": False}
    assert bad.exit_code == 1 and not out.exists()
    assert "their order may" in next(f.what for f in bad.findings if f.rule == "forward-differs")
    # A person who knows better gives the map, and it is proved.
    found = check(tmp_path / "b.pth", tmp_path / "a.pth", CheckOptions(with_map=True))
    written = to_json(found.details.pairing.map)
    swap = {"one": "two", "two": "one"}
    for row in written["tensors"]:
        name, _, part = row["from"][0].partition(".")
        row["from"] = [f"{swap[name]}.{part}"]
    (tmp_path / "map.json").write_text(json.dumps(written))
    good = ported(
        tmp_path / "a.pth", out, like=like, prove=True, map_file=tmp_path / "map.json", **models
    )
    assert proofs(good) == PROVED, good.summary


# ---------------------------------------------------------------- matrices that lie otherwise

TURNED = {"attn.c_attn.weight": (16, 48), "attn.c_attn.bias": (48,),
          "mlp.c_fc.weight": (16, 64), "mlp.c_fc.bias": (64,)}  # fmt: skip
APART = {
    f"attn.{one}.{part}": shape
    for one in "qkv" for part, shape in (("weight", (16, 16, 1)), ("bias", (16,)))
} | {n: s for n, s in TURNED.items() if "mlp" in n}  # fmt: skip


def drawn(folder: Path, shapes: dict[str, tuple[int, ...]], name: str) -> tuple[Path, Tensors]:
    state = {n: torch.randn(s) for n, s in shapes.items()}
    torch.save(state, folder / name)
    return folder / name, state


def test_one_turned_matrix_fills_three_convolutions_of_one_point(tmp_path):
    source, state = drawn(tmp_path, TURNED, "a.pth")
    like, _ = drawn(tmp_path, APART, "b.pth")
    report = ported(source, tmp_path / "out.pth", like=identify_file(like, whole=True))
    assert report.outcome is Answer.YES
    made = torch.load(tmp_path / "out.pth", weights_only=True)
    whole = state["attn.c_attn.weight"].t()
    for i, one in enumerate("qkv"):
        part = made[f"attn.{one}.weight"]
        assert torch.equal(part, whole[16 * i : 16 * i + 16].unsqueeze(-1))


def test_what_no_operation_makes_is_no_map_and_no_fault_of_ours(tmp_path):
    source, _ = drawn(tmp_path, APART, "a.pth")
    like, _ = drawn(tmp_path, TURNED, "b.pth")
    report = ported(source, tmp_path / "out.pth", like=identify_file(like, whole=True))
    assert report.outcome is Answer.NO and "no complete map" in report.summary
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize("how", ["transpose", "rows 0:3", "reshape", "join, transpose"])
def test_a_given_map_that_does_not_come_out_is_refused(tmp_path, how):
    source, _ = drawn(tmp_path, {"w": (4, 5, 2)}, "a.pth")
    like, _ = drawn(tmp_path, {"v": (3, 7, 2)}, "b.pth")
    row = {"to": "v", "from": ["w"], "how": how, "step": "by hand"}
    (tmp_path / "map.json").write_text(json.dumps({"schema": 1, "tensors": [row]}))
    with pytest.raises(InteropError) as error:
        ported(source, tmp_path / "out.pth", like=identify_file(like, whole=True),
               map_file=tmp_path / "map.json")  # fmt: skip
    assert "cannot make v" in error.value.what
