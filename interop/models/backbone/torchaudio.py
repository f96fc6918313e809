"""torchaudio's DeepSpeech and wav2vec2 -> the module under a head of another width."""

from __future__ import annotations

from typing import Any

from torch import nn

from interop.errors import ModelError
from interop.models.build_module import build_with_notes
from interop.models.heads import put
from interop.models.load_weights import load
from interop.models.pretrained import Backbone, PretrainedSource

_HEADS = ("out", "aux")


def under_head(source: PretrainedSource, outputs: int) -> Backbone:
    """Raises ModelError where the file has no head to be replaced."""
    backbone = as_saved(source)
    module, path = backbone.module, backbone.head
    there: Any = module.get_submodule(path)
    put(module, path, nn.Linear(there.in_features, outputs, bias=there.bias is not None))
    fresh = tuple(n for n in module.state_dict() if n.startswith(f"{path}."))
    module.requires_grad_(True)
    return Backbone(module.eval(), path, fresh, backbone.proof, backbone.notes)


def as_saved(source: PretrainedSource) -> Backbone:
    """The module with the file's own head."""
    if source.random:
        raise ModelError(
            "torchaudio's sizes are told by weights alone", where=source.name,
            fix="give a file, or your own module with --model",
        )  # fmt: skip
    module, notes = build_with_notes(source.identity, arch=f"torchaudio/{source.arch}")
    proof = load(module, source.identity)
    path = next((p for p in _HEADS if isinstance(getattr(module, p, None), nn.Linear)), "")
    if not path:
        raise ModelError("has no output layer", where=source.name, fix="give --model")
    return Backbone(module.eval(), path, (), proof, notes)
