"""A state dict under its new names -> a file or a folder, whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from interop.errors import InteropError, ModelError
from interop.export import weights
from interop.files import placed
from interop.models.libraries.transformers.catalog import quiet

_OURS = {"model.safetensors", "config.json"}
PICKLED = (".pth", ".pt", ".bin", ".ckpt")

_FIX = "choose another -o"


def check_target(out: Path, sources: list[str], force: bool) -> None:
    """InteropError where `out` must not be written: a source, an ending unknown, what is there."""
    if any(Path(s).exists() and out.exists() and out.samefile(s) for s in sources):
        raise InteropError("is the very file that is read", where=str(out), fix="choose another -o")
    if not out.resolve().parent.is_dir():
        raise InteropError("no such folder", where=str(out.parent), fix="make it first")
    if out.is_dir() and not {p.name for p in out.iterdir()} <= _OURS:
        what = "is a folder with other files in it"
        raise InteropError(what, where=str(out), fix="choose another -o")
    if out.exists() and not force:
        fix = "replace it with --force, or give another name with -o"
        raise InteropError("exists", where=str(out), fix=fix)


def is_folder(given: str) -> bool:
    """Whether -o asks for a folder: by a slash at its end, by being one, or by having no ending."""
    path = Path(given)
    return given.endswith(("/", os.sep)) or path.is_dir() or not path.suffix


def write_safetensors(
    out: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """The same bytes on every run."""
    with placed(out, _FIX) as part:
        weights.write(part, state, {"format": "pt", **metadata})


def write_pickled(
    out: Path, state: Mapping[str, torch.Tensor], place: str, beside: Mapping[str, Any]
) -> None:
    """torch.save of the state dict at `place` ("" is the top level), with `beside` next to it."""
    value: Any = {name: t.detach().clone() for name, t in state.items()}
    keys = [k for k in place.split(".") if k]
    for key in reversed(keys):
        value = {key: value}
    if keys:
        value |= {k: v for k, v in beside.items() if k not in value}
    with placed(out, _FIX) as part:
        torch.save(value, part)


def write_folder(
    out: Path,
    state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    config: Mapping[str, Any],
) -> None:
    """model.safetensors and config.json, as from_pretrained reads them."""

    with placed(out, _FIX, folder=True) as part:
        weights.write(part / "model.safetensors", state, {"format": "pt", **metadata})
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
        (part / "config.json").write_text(text + "\n", "utf-8", newline="\n")


def saved_names(module: Any, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under the names that transformers has on disk; found by saving the module.

    It holds other names in memory than on disk, and only its own code knows them all.
    """
    from safetensors.torch import load_file

    if not hasattr(module, "save_pretrained"):
        raise ModelError("is no model of transformers", where=type(module).__name__)
    with TemporaryDirectory() as folder, quiet():
        module.save_pretrained(folder, max_shard_size="1TB")
        return dict(load_file(Path(folder) / "model.safetensors"))


def config_of(module: Any, labels: tuple[str, ...] | None) -> dict[str, Any]:
    """A transformers module's config.json, with the labels where they are known."""
    config = module.config
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
    config.architectures = [type(module).__name__]
    document: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return document
