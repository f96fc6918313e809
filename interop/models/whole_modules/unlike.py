"""A rebuilt module against the architecture that its weights and classes name -> what is apart.

Somebody may have put another activation into a library's model, or another stride: the weights
stay as they are, and so does the class. The graph is of the module, the bundle names the
architecture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from interop.errors import ModelError
from interop.facts import Identity
from interop.models.build_module import build_with_notes

_SHOWN = 3
_LIBRARIES = ("torchvision", "timm")  # a transformers model is its config, which is in the pickle
# Attributes that change no answer in eval mode, or that the weights show.
_IDLE_WORDS = """
training inplace p drop_prob drop_rate momentum scale_by_keep num_classes in_features out_features
in_channels out_channels num_features head_hidden_size inplanes grad_checkpointing aux_logits
attn_drop_rate drop_path_rate
"""
_IDLE = frozenset(_IDLE_WORDS.split())


def apart(module: nn.Module, identity: Identity, arch: str | None) -> str:
    """Where the module is not what the installed library builds by its name; "" if nowhere."""
    name = arch or identity.architecture or ""
    if name.partition("/")[0] not in _LIBRARIES:
        return ""
    states = replace(identity.manifest, imports=())
    try:
        named, _ = build_with_notes(replace(identity, manifest=states), arch=arch)
    except ModelError:
        return ""
    places = list(_places(module, named))
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return f"{', '.join(places[:_SHOWN])}{more}" if places else ""


def _places(module: nn.Module, named: nn.Module) -> Iterator[str]:
    ours, theirs = dict(module.named_modules()), dict(named.named_modules())
    for path in [*ours, *(path for path in theirs if path not in ours)]:
        own, other = ours.get(path), theirs.get(path)
        words = path or "the whole"
        if own is None or other is None:
            yield f"{words} is in one of them alone"
        elif type(own) is not type(other):
            yield f"{words} is {type(own).__name__}, not {type(other).__name__}"
        else:
            for key in sorted(vars(own).keys() & vars(other).keys() - _IDLE):
                given, usual = vars(own)[key], vars(other)[key]
                if _plain(given) and _plain(usual) and given != usual:
                    yield f"{words} has {key} {given!r}, not {usual!r}"


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(v, (int, float)) for v in value)
    return isinstance(value, (bool, int, float))
