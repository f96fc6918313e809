"""Two modules whose weights map -> the settings in which they differ, which no weight shows."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from interop.facts import Mapped

_SETTINGS = ("eps", "stride", "padding", "dilation", "groups", "padding_mode")
# What several libraries call the number of attention heads of one layer.
_HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads")
_POOLS = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_ACTIVATION = (
    "relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "gelu", "quickgelu", "newgelu", "silu",
    "swish", "mish", "hardswish", "hardsigmoid", "sigmoid", "tanh", "gelutanh", "softplus", "celu",
)  # fmt: skip
_ALIASES = {"swish": "silu", "hardswishjit": "hardswish", "pytorchgelutanh": "gelutanh"}
# timm's networks that take bn_eps; its others keep what their layers were written with.
_TAKE_BN_EPS = ("timm.models.efficientnet", "timm.models.mobilenetv3")


@dataclass(frozen=True, slots=True)
class SettingsDifference:
    """One setting that differs: `kind` of layer, both values as text, in how many layers.

    `hint` is the option that gives the target the source's value, where one is known.
    """

    kind: str
    setting: str
    source: str
    target: str
    layers: int
    hint: str = ""

    def __str__(self) -> str:
        where = f" in {self.layers} layer{'s' * (self.layers != 1)}" if self.layers else ""
        what = f"{self.kind} {self.setting}".strip()
        return f"{what} {self.source} against {self.target}{where}"


def differences(
    source: nn.Module, target: nn.Module, mapped: Iterable[Mapped]
) -> list[SettingsDifference]:
    """What differs between the layers that a map pairs, and between all activations and pools.

    Dropout is left out: it is off in eval mode.
    """
    differences = list(_paired(source, target, mapped))
    kinds = (("activations", _activations), ("pooling", _pooling), ("attention", _attention_heads))
    for kind, of in kinds:
        one, other = of(source), of(target)
        # One module that is called twice is one to one library and two to another: only what is
        # of another kind tells.
        if one.keys() != other.keys() and one and other:
            differences.append(SettingsDifference(kind, "", _listed(one), _listed(other), 0))
    return differences


def _paired(
    source: nn.Module, target: nn.Module, mapped: Iterable[Mapped]
) -> Iterator[SettingsDifference]:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    mine, theirs = dict(target.named_modules()), dict(source.named_modules())
    for a, b in _layers(mapped):
        one, other = mine.get(a), theirs.get(b)
        if one is None or other is None:
            continue
        for setting in _SETTINGS:
            values = _value(other, setting), _value(one, setting)
            if None not in values and values[0] != values[1]:
                counts[_kind(one), setting, str(values[0]), str(values[1])] += 1
    for (kind, setting, was, now), layers in counts.items():
        key = _option(target, kind) if setting == "eps" else ""
        hint = f"--set {key}={was}" if key else ""
        yield SettingsDifference(kind, setting, was, now, layers, hint)


def _option(target: nn.Module, kind: str) -> str:
    """The option of `--set` that gives a kind of layer in the target its epsilon; "" for none."""
    config = getattr(target, "config", None)
    module = type(target).__module__
    in_config = {"BatchNorm": "batch_norm_eps", "LayerNorm": "layer_norm_eps"}.get(kind, "")
    own = {"BatchNorm": "bn_eps", "LayerNorm": "layer_norm_eps"}.get(kind, "")
    if config is not None:
        return in_config if hasattr(config, in_config or " ") else ""
    if kind == "BatchNorm" and module in _TAKE_BN_EPS:
        return own
    # In ConvNeXt a norm_layer replaces what is no plain LayerNorm, and not all of its layers.
    if any(type(part).__name__ == "LayerNorm2d" for part in target.modules()):
        return ""
    takes = "norm_layer" in inspect.signature(type(target)).parameters
    translated = module.startswith("torchvision.") or (
        module.startswith("timm.") and kind == "LayerNorm"
    )
    return own if takes and translated else ""


def _layers(mapped: Iterable[Mapped]) -> Iterator[tuple[str, str]]:
    """The paths of the layers that a map pairs, of the target and of the source, each pair once."""
    seen: dict[tuple[str, str], None] = {}
    for m in mapped:
        if len(m.b) == 1:
            seen[m.a.name.rpartition(".")[0], m.b[0].name.rpartition(".")[0]] = None
    yield from seen


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    return next((k for k in ("BatchNorm", "LayerNorm", "GroupNorm", "Conv") if k in name), name)


def _value(module: nn.Module, setting: str) -> Any:
    """A setting in the one form that all libraries' forms stand for; None where there is none.

    A padding in words is what it means for an odd kernel: "valid" none, "same" half of the kernel.
    """
    value = getattr(module, setting, None)
    if value == "valid":
        return 0
    if setting == "padding" and value == "same":
        reach: Any = zip(module.kernel_size, module.dilation, strict=True)  # type: ignore[arg-type]
        return _plain(tuple(d * (k - 1) // 2 for k, d in reach))
    return _plain(value)


def _plain(value: Any) -> Any:
    """1 is (1, 1)."""
    if isinstance(value, tuple | list) and len(set(value)) == 1:
        return value[0]
    return tuple(value) if isinstance(value, list) else value


def _activations(module: nn.Module) -> Counter[str]:
    activations: Counter[str] = Counter()
    for part in module.modules():
        name = type(part).__name__.lower().replace("activation", "").replace("_", "")
        name = _ALIASES.get(name, name)
        if name in _ACTIVATION:
            tanh = name == "gelu" and getattr(part, "approximate", "none") == "tanh"
            activations["gelutanh" if tanh else name] += 1
    return activations


def _pooling(module: nn.Module) -> Counter[str]:
    pooling: Counter[str] = Counter()
    for part in module.modules():
        if isinstance(part, nn.MaxPool2d | nn.AvgPool2d):
            kind = type(part).__name__
            settings = [f"{k}={_plain(getattr(part, k))}" for k in _POOLS if hasattr(part, k)]
            pooling[f"{kind}({', '.join(settings)})"] += 1
    return pooling


def _attention_heads(module: nn.Module) -> Counter[str]:
    attention_heads: Counter[str] = Counter()
    for part in module.modules():
        for name in _HEADS:
            if isinstance(value := getattr(part, name, None), int):
                attention_heads[f"{value} heads"] += 1
                break
    return attention_heads


def _listed(counts: Counter[str]) -> str:
    return ", ".join(sorted(counts))
