"""What is only near is said to be near; what is unknown gets a tree of its blocks."""

from __future__ import annotations

import pytest
import torch

from interop.identity import identify, with_runner_up
from interop.identity.block_summary import blocks
from interop.identity.index.match import is_name
from interop.models.catalog import entry
from tests.helpers.manifests import manifest, shapes_of


def test_the_closest_known_is_told_with_its_share() -> None:
    shapes = {**entry("torchvision/resnet18").shapes, "conv1.weight": (64, 1, 7, 7)}
    seen = with_runner_up(identify(manifest(shapes)))
    assert seen.architectures == () and seen.runner_up is not None
    assert seen.runner_up.name == "torchvision/resnet18"
    # All that is not alike: the first layer, and the head, which is not looked at.
    sizes = {n: torch.Size(s).numel() for n, s in shapes.items()}
    unlike = sizes["conv1.weight"] + sizes["fc.weight"] + sizes["fc.bias"]
    assert seen.runner_up.share == pytest.approx(1 - unlike / sum(sizes.values()), abs=1e-4)


def test_a_known_one_has_a_runner_up_that_is_another() -> None:
    seen = with_runner_up(identify(manifest(entry("torchvision/resnet34").shapes)))
    assert seen.architecture == "torchvision/resnet34"
    near = seen.runner_up
    assert near is not None and near.name != "torchvision/resnet34" and 0.1 < near.share < 0.9


def test_what_is_like_nothing_has_no_closest() -> None:
    own = torch.nn.Sequential(torch.nn.Linear(11, 13), torch.nn.Linear(13, 17))
    assert with_runner_up(identify(manifest(shapes_of(own)))).runner_up is None


def test_blocks_that_repeat_are_one_line() -> None:
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    net = torch.nn.ModuleDict(
        {
            "stem": torch.nn.Linear(12, 32),
            "encoder": torch.nn.TransformerEncoder(layer, 5),
            "head": torch.nn.Linear(32, 3),
        }
    )
    found = blocks(identify(manifest(shapes_of(net))).tensors)
    assert [(b.path, b.count, b.widths) for b in found] == [
        ("stem", 1, (12, 32)),
        ("encoder.layers.0-4", 5, (32, 32)),
        ("head", 1, (32, 3)),
    ]
    assert sum(b.weights for b in found) == sum(p.numel() for p in net.parameters())


def test_a_lone_scale_is_like_nothing() -> None:
    assert with_runner_up(identify(manifest({"logit_scale": ()}))).runner_up is None


@pytest.mark.parametrize(
    ("said", "full", "same"),
    [
        ("resnet18", "torchvision/resnet18", True),
        ("ResNet-18", "torchvision/resnet18", True),
        ("resnet18.a1_in1k", "timm/resnet18", True),
        ("timm/resnet18.a1_in1k", "timm/resnet18", True),
        ("timm/resnet18", "torchvision/resnet18", False),
        ("vit_base_patch16_224.augreg_in21k", "timm/vit_base_patch16_224", True),
        ("resnet1", "torchvision/resnet18", False),
        ("resnet", "torchvision/resnet18", False),
        ("", "torchvision/resnet18", False),
    ],
)
def test_names_are_the_same_whatever_their_case_signs_and_tag(
    said: str, full: str, same: bool
) -> None:
    assert is_name(said, full) == same


@pytest.mark.parametrize(
    ("arch", "names", "said"),
    [
        ("ResNet18", 1, ""),
        ("timm/resnet18.a1_in1k", 1, ""),
        ("my_net", 2, "anti-aliasing"),
        ("org/my-resnet", 2, "anti-aliasing"),
        ("resnet50", 2, "anti-aliasing; key 'arch' says 'resnet50', which its tensors do not bear"),
        ("vit_base_patch16_224.augreg_in21k", 2, "which its tensors do not bear out"),
    ],
)
def test_what_a_file_calls_itself_decides_contradicts_or_is_let_be(
    arch: str, names: int, said: str
) -> None:
    seen = identify(manifest(entry("torchvision/resnet18").shapes, {"arch": arch}))
    assert len(seen.architectures) == names and said in seen.ambiguity
    assert bool(said) == bool(seen.ambiguity)


def test_a_name_that_a_person_gives_and_nobody_knows_is_said() -> None:
    seen = identify(manifest(entry("torchvision/resnet18").shapes), arch="my_net")
    assert "--arch says 'my_net', which the index does not hold" in seen.ambiguity


def test_very_many_tensors_are_a_family_or_nothing() -> None:
    many = entry("transformers/BertModel").shapes
    layer = {n: s for n, s in many.items() if n.startswith("encoder.layer.0.")}
    rest = {n: s for n, s in many.items() if ".layer." not in n}
    deep = rest | {
        n.replace("layer.0.", f"layer.{i}.", 1): s for i in range(700) for n, s in layer.items()
    }
    seen = identify(manifest(deep))
    assert "transformers/BertModel" in [a.name for a in seen.architectures]
    assert seen.architectures[0].sizes["num_hidden_layers"] == 700
    own = {f"part.{i}.matrix": (3, 4) for i in range(12_000)}
    assert identify(manifest(own)).architectures == ()


def test_a_network_around_a_backbone_is_not_named_after_it() -> None:
    """A detector of few layers: less than a third of its bytes, and no head at all."""
    body = {f"model.backbone.{n}": s for n, s in entry("torchvision/resnet34").shapes.items()}
    layer = torch.nn.TransformerDecoderLayer(64, 4, 128)
    around = {
        f"model.decoder.{i}.{n}": s for i in range(3) for n, s in shapes_of(layer).items()
    }  # fmt: skip
    assert identify(manifest({**body, **around})).architectures == ()


def test_bert_is_known_by_its_first_names_too() -> None:
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): s
        for n, s in entry("transformers/BertForPreTraining").shapes.items()
    }
    assert any(n.endswith("gamma") for n in old)
    seen = identify(manifest(old))
    assert seen.architecture == "transformers/BertForPreTraining"
    assert seen.head is not None and seen.head.role == "vocabulary"


def test_a_transposed_convolution_gives_its_second_axis() -> None:
    net = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(100, 64, 4),
        torch.nn.BatchNorm2d(64),
        torch.nn.ConvTranspose2d(64, 3, 4),
    )
    found = blocks(identify(manifest(shapes_of(net))).tensors)
    assert [b.widths for b in found if b.widths] == [(100, 64), (64, 3)]
