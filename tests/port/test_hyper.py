"""The settings that differ are named with both values, and with the option that settles them."""

from __future__ import annotations

from torch import nn

from interop.facts import Mapped, TensorSpec
from interop.port.hyper import differences


def net(eps: float = 1e-5, act: type[nn.Module] = nn.ReLU, **conv: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, **conv), nn.BatchNorm2d(4, eps=eps), act(), nn.Dropout(0.3)
    )


def mapped(module: nn.Module) -> list[Mapped]:
    specs = [TensorSpec(n, "float32", tuple(t.shape)) for n, t in module.state_dict().items()]
    return [Mapped(s, (s,), "", "structure") for s in specs]


def said(source: nn.Module, target: nn.Module, library: str = "timm") -> list[tuple[str, str]]:
    return [(str(d), d.hint) for d in differences(source, target, mapped(source), library)]


def test_nothing_differs_but_dropout() -> None:
    assert said(net(), nn.Sequential(*list(net())[:3])) == []


def test_epsilons_have_a_hint() -> None:
    assert said(net(eps=0.001), net()) == [
        ("BatchNorm eps 0.001 against 1e-05 in 1 layer", "--set bn_eps=0.001")
    ]
    assert said(net(eps=0.001), net(), "transformers")[0][1] == "--set batch_norm_eps=0.001"
    assert said(net(eps=0.001), net(), "")[0][1] == ""


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
