"""A torchaudio name and a file's shapes -> torchaudio's module.

torchaudio refuses to be imported beside a torch that was built for another CUDA. Its compiled part
is none of these models': their own files, plain torch alone, are imported by themselves.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from interop.errors import ExtraMissing, ModelError
from interop.facts import Identity
from interop.models.heads import OWN, refuse_around, shapes_of
from interop.models.init_modes import Undrawn

_PACKAGE = "_interop_torchaudio"
_CLIP = "relu_max_clip is torchaudio's default, 20: no state dict tells it"


def build(identity: Identity, name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The module and what is to be said of it: wav2vec2, HuBERT and WavLM by name, DeepSpeech.

    Raises ModelError for other names, ExtraMissing where torchaudio is not installed.
    """
    refuse_around(identity, name)
    if name.lower() == "deepspeech":
        return _deepspeech(identity), (_CLIP,)
    maker = getattr(imported("wav2vec2.model", name), name, None)
    known = name.startswith(("wav2vec2_", "hubert_", "wavlm_")) and "pretrain" not in name
    if maker is None or not known or name.endswith("_model"):
        what = (
            f"torchaudio/{name} is not built here (wav2vec2_*, hubert_*, wavlm_* and deepspeech "
            "are)"
        )
        raise ModelError(what, where=identity.manifest.path, fix=OWN)
    outputs = shapes_of(identity).get("aux.weight")
    with Undrawn():
        module: nn.Module = maker(aux_num_out=outputs[0] if outputs else None)
    return module, ()


def _deepspeech(identity: Identity) -> nn.Module:
    shapes = shapes_of(identity)
    first, last = shapes.get("fc1.fc.weight", ()), shapes.get("out.weight", ())
    if len(first) != 2 or len(last) != 2:
        what = "has no fc1.fc.weight and out.weight, which tell DeepSpeech's sizes"
        raise ModelError(what, where=identity.manifest.path, fix=OWN)
    constructor: Any = imported("deepspeech", "deepspeech").DeepSpeech
    with Undrawn():
        module: nn.Module = constructor(n_feature=first[1], n_hidden=first[0], n_class=last[0])
    return module


def imported(name: str, wanted: str) -> ModuleType:
    """A file of torchaudio.models, under a package of our own: its __init__ is not run."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or not spec.submodule_search_locations:
        what = f"{wanted} is torchaudio's, which is not installed"
        raise ExtraMissing(what, fix="pip install torchaudio")
    place = Path(spec.submodule_search_locations[0]) / "models"
    for package, folder in ((_PACKAGE, place), (f"{_PACKAGE}.wav2vec2", place / "wav2vec2")):
        if package not in sys.modules:
            shell = ModuleType(package)
            shell.__path__ = [str(folder)]
            sys.modules[package] = shell
    return importlib.import_module(f"{_PACKAGE}.{name}")
