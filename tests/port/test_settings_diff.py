"""The settings that differ are named with both values, and with the option that settles them."""

from __future__ import annotations

import pytest
from torch import nn

from interop.facts import Mapped, TensorSpec
from interop.models import catalog
from interop.port.models import Model
from interop.port.settings_diff import differences


def net(eps: float = 1e-5, act: type[nn.Module] = nn.ReLU, **conv: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, **conv), nn.BatchNorm2d(4, eps=eps), act(), nn.Dropout(0.3)
    )


def mapped(module: nn.Module) -> list[Mapped]:
    specs = [TensorSpec(n, "float32", tuple(t.shape)) for n, t in module.state_dict().items()]
    return [Mapped(s, (s,), "", "structure") for s in specs]


def said(source: nn.Module, target: nn.Module) -> list[tuple[str, str]]:
    return [(str(d), d.hint) for d in differences(source, target, mapped(source))]


def test_nothing_differs_but_dropout() -> None:
    assert said(net(), nn.Sequential(*list(net())[:3])) == []


def test_an_epsilon_has_a_hint_where_the_target_takes_one() -> None:
    assert said(net(eps=0.001), net()) == [("BatchNorm eps 0.001 against 1e-05 in 1 layer", "")]


@pytest.mark.parametrize(
    ("name", "kind", "hint"),
    [
        ("timm/mobilenetv3_small_100", nn.BatchNorm2d, "--set bn_eps=0.5"),
        ("timm/resnet18", nn.BatchNorm2d, ""),
        ("timm/vit_tiny_patch16_224", nn.LayerNorm, "--set layer_norm_eps=0.5"),
        ("torchvision/resnet18", nn.BatchNorm2d, "--set bn_eps=0.5"),
        ("torchvision/densenet121", nn.BatchNorm2d, ""),
        ("torchvision/convnext_tiny", nn.LayerNorm, ""),
        ("torchvision/vit_b_32", nn.LayerNorm, "--set layer_norm_eps=0.5"),
        ("transformers/ViTForImageClassification", nn.LayerNorm, "--set layer_norm_eps=0.5"),
        ("transformers/ResNetForImageClassification", nn.BatchNorm2d, ""),
    ],
)
def test_the_option_is_one_that_the_constructor_takes(
    name: str, kind: type[nn.Module], hint: str
) -> None:
    pytest.importorskip(name.partition("/")[0])
    target, source = catalog.meta(name), catalog.meta(name)
    for part in source.modules():
        if isinstance(part, kind):
            part.eps = 0.5
    assert {d.hint for d in differences(source, target, mapped(source))} == {hint}
    if hint:
        key, _, value = hint.removeprefix("--set ").partition("=")
        built = Model(name, {key: float(value)}).build()
        assert differences(source, built, mapped(source)) == []


def test_strides_paddings_and_activations() -> None:
    found = said(net(act=nn.GELU, stride=2, padding=1), net())
    assert [text for text, _ in found] == [
        "Conv stride 2 against 1 in 1 layer",
        "Conv padding 1 against 0 in 1 layer",
        "activations gelu against relu",
    ]


def test_the_number_of_attention_heads() -> None:
    one, other = (nn.MultiheadAttention(8, heads) for heads in (2, 4))
    assert said(one, other) == [("attention 2 heads against 4 heads", "")]
