"""What a person names as pretrained -> a module that bears its weights, under a head for a task.

`find` says what is meant, `under_head` builds it for a task, `bare` builds what gives features.
One module a library; what was loaded is proved, and what is new is named.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from interop.errors import ModelError
from interop.models.backbone import torchaudio, user_module, vision
from interop.models.backbone.features import Features
from interop.models.backbone.resolve import RANDOM, find
from interop.models.infer_signature import signature
from interop.models.libraries.transformers import backbone as transformers
from interop.models.pretrained import Backbone, PretrainedSource

__all__ = [
    "RANDOM",
    "Backbone",
    "Features",
    "PretrainedSource",
    "bare",
    "find",
    "input_names",
    "under_head",
]


def under_head(
    source: PretrainedSource,
    task: str,
    labels: Sequence[str] = (),
    *,
    outputs: int | None = None,
    factory: str | None = None,
    padding: int | None = None,
    seed: int = 0,
) -> Backbone:
    """The source's backbone under a head for `task` with `labels` (or so many `outputs`).

    `factory` is a person's own code that makes the module for the new task. `padding` is the number
    of the token that texts are padded with, for a config that names none (None: that of a text's
    end); of CTC it is the blank. The head's weights are drawn by `seed`. Raises ModelError where no
    module can be made, and where the file's weights do not fill the backbone: that is never passed
    over.
    """
    width = outputs if outputs is not None else len(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if factory is not None:
            backbone = user_module.under_head(source, factory)
        elif source.library == "transformers":
            backbone = transformers.under_head(source, task, tuple(labels), width, padding)
        elif source.library == "torchaudio":
            backbone = torchaudio.under_head(source, width)
        else:
            backbone = vision.under_head(source, width)
    return _filled(backbone, source)


def _filled(backbone: Backbone, source: PretrainedSource) -> Backbone:
    """The `backbone`; ModelError where the file's weights do not fill it."""
    if not backbone.proof.holds:
        fix = "give the weights of this very architecture, or name another one with --arch"
        raise ModelError(
            backbone.proof.what, where=source.name, fix=fix, rule="loaded-fraction-low"
        )
    return backbone


def bare(
    source: PretrainedSource, *, factory: str | None = None, at: str = "", seed: int = 0
) -> Features:
    """The source's module as it was saved, to be asked for features and for its own answers.

    Of a model of transformers for texts or sounds the features are the mean of the last hidden
    states over what is no padding; of all others what the head is handed, a feature map's mean.
    `at` names the part of a person's own module whose outputs are the features. Raises what
    `under_head` raises.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if factory is not None:
            return Features.of_module(_filled(user_module.under_head(source, factory), source), at)
        if source.library == "transformers":
            module = transformers.as_saved(source)
            return Features.of_transformers(module, answers=not source.random)
        if source.library == "torchaudio":
            return Features.of_module(_filled(torchaudio.as_saved(source), source), at)
        return Features.of_module(_filled(vision.as_saved(source), source), at)


def input_names(source: PretrainedSource, backbone: Backbone | Features) -> tuple[str, ...]:
    """The names of what the module takes, in its order; "input" where it is one tensor."""
    if source.library == "transformers" and backbone.factory is None:
        return signature(source.identity, backbone.module).names
    return ("input",)
