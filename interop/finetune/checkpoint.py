"""A fine-tuned module -> the checkpoint, which knows what it is, what of, and how it was trained.

Of torchvision, timm and a person's own code one file: weights beside architecture, labels,
preprocessing, base and training. Of transformers the folder that save_pretrained writes, with
training.json in it. No clock and no path of a machine goes into either: the same training gives the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interop.data.base import Preparation
from interop.errors import ConfigError
from interop.export import library_files, weights
from interop.export.documents import write_json
from interop.facts import Identity, Json
from interop.files import placed
from interop.identity.metadata import NOT_APPLICABLE, preprocessing_json
from interop.models.backbone import Backbone, PretrainedSource
from interop.models.libraries.transformers.catalog import quiet

RECORD = "training.json"
_FIX = "choose another -o"
_ENDINGS = (".pth", ".pt", ".safetensors")


def is_folder(source: PretrainedSource, factory: str | None) -> bool:
    return source.library == "transformers" and factory is None


def check_target(out: Path, source: PretrainedSource, factory: str | None, *, force: bool) -> None:
    """ConfigError where `out` has not the form that the model needs, or must not be replaced."""
    if is_folder(source, factory):
        if out.suffix in _ENDINGS:
            raise ConfigError("a model of transformers is a folder", where=str(out),
                              fix="name one with -o")  # fmt: skip
    elif out.suffix not in _ENDINGS:
        raise ConfigError("is no name of a checkpoint", where=str(out),
                          fix="end it with .pth or .safetensors")  # fmt: skip
    if not out.resolve().parent.is_dir():
        raise ConfigError("no such folder", where=str(out.parent), fix="make it first")
    if source.identity.manifest.path and out.exists() and Path(source.name).exists() \
            and out.samefile(source.name):  # fmt: skip
        raise ConfigError("is the backbone itself", where=str(out), fix="choose another -o")
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise ConfigError("is a folder of something else", where=str(out), fix="choose another -o")
    if out.exists() and not force:
        raise ConfigError("exists", where=str(out),
                          fix="replace it with --force, or give another -o")  # fmt: skip


def write(
    out: Path,
    backbone: Backbone,
    source: PretrainedSource,
    identity: Identity,
    prepare: Preparation,
    record: Mapping[str, Json],
) -> None:
    """Writes the checkpoint to `out`, whole or not at all.

    `identity` has the labels and the preprocessing of the new task; `record` has "base" and
    "training". Raises ConfigError where nothing can be written there.
    """
    if is_folder(source, backbone.factory):
        with placed(out, _FIX, folder=True) as part:
            _folder(part, backbone.module, identity, prepare, record)
        return
    arch = source.arch if source.library and backbone.factory is None else None
    labels = identity.labels
    beside: dict[str, Json] = {"arch": arch} if arch else {}
    beside["labels"] = list(labels.names) if labels.names is not None else NOT_APPLICABLE
    if identity.preprocessing is not None:
        beside["preprocess"] = preprocessing_json(identity.preprocessing)
    # Pickle writes an object that stands twice once: which ones do depends on where they came from.
    beside = json.loads(json.dumps({**beside, **record}))
    state = {n: t.detach().cpu().contiguous() for n, t in backbone.module.state_dict().items()}
    with placed(out, _FIX) as part:
        if out.suffix == ".safetensors":
            tensors, aliases = weights.untied(state)
            words = {k: v if isinstance(v, str) else json.dumps(v) for k, v in beside.items()}
            weights.write(part, tensors, {"format": "pt", **words, **aliases})
        else:
            torch.save({"state_dict": state, **beside}, part)


def _folder(
    part: Path, module: Any, identity: Identity, prepare: Preparation, record: Mapping[str, Json]
) -> None:
    with quiet():
        module.save_pretrained(part)
        config = library_files.write(identity, module, part)
        tokenizer: Any = getattr(prepare, "tokenizer", None)
        if tokenizer is not None and tokenizer.pad_token == tokenizer.eos_token is not None:
            tokenizer.save_pretrained(part)  # the padding may be ours
    write_json(part / "config.json", config)
    write_json(part / RECORD, dict(record))


def scaled(module: nn.Module, head: str, scale: Any, mean: Any) -> Callable[[], None] | None:
    """Brings `y * scale + mean` into the last layer of the head; gives what undoes it.

    None, and nothing done, where that layer has other outputs, or no bias to hold a mean.
    """
    part = module.get_submodule(head) if head else module
    layers = [m for m in part.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    last = layers[-1] if layers else None
    if last is None or len(last.weight) != len(scale) or (last.bias is None and any(mean != 0)):
        return None
    before = {n: p.detach().clone() for n, p in last.named_parameters()}
    with torch.no_grad():
        factor = torch.from_numpy(scale).to(last.weight)
        last.weight.mul_(factor.reshape(-1, *([1] * (last.weight.ndim - 1))))
        if last.bias is not None:
            last.bias.mul_(factor).add_(torch.from_numpy(mean).to(last.bias))

    def undo() -> None:
        with torch.no_grad():
            for name, value in before.items():
                last.get_parameter(name).copy_(value)

    return undo
