"""A module and what is known of it -> the files by which its own library loads the bundle.

timm reads its `local-dir:` config, transformers its config, processor and tokenizer; of torchvision
and of a person's own class there is no such form, and config.json is ours.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from interop.facts import HeadRole, Identity, Json, PartKind, Preprocessing
from interop.models.libraries.sentence_transformers.build import SentenceModel
from interop.models.libraries.transformers.signature import is_one
from interop.reading.parts import beside
from interop.tasks.infer import ROLES, task_of_class

# Parts of a folder that go with the model. Code is never carried, and config.json, labels and
# receipts are written anew.
CARRIED = (
    PartKind.TOKENIZER, PartKind.CHAT_TEMPLATE, PartKind.PROCESSOR, PartKind.GENERATION,
    PartKind.MODULE,
)  # fmt: skip
# Pillow's numbers for its filters, as transformers stores them.
_RESAMPLE = {"nearest": 0, "bilinear": 2, "bicubic": 3}


def library(identity: Identity, module: nn.Module) -> str:
    """Whose form the bundle has: "transformers", "timm", "torchvision", or "" for one's own."""
    if isinstance(module, SentenceModel):
        return "sentence-transformers"
    if is_one(module):
        return "transformers"
    if type(module).__module__.startswith("timm.") and hasattr(module, "pretrained_cfg"):
        return "timm"
    return (identity.architecture or "").partition("/")[0]


def task(identity: Identity, module: nn.Module) -> str:
    """The Hub's word for what the model is for; "" where nothing tells."""
    if isinstance(module, SentenceModel):
        return "sentence-similarity"
    if is_one(module):
        return task_of_class(type(module).__name__)
    role = identity.head.role if identity.head is not None else HeadRole.UNKNOWN
    known = identity.architecture and identity.labels.applicable
    return ROLES.get(role, "") if known else ""


def write(identity: Identity, module: nn.Module, folder: Path) -> dict[str, Json] | None:
    """The library's own config for config.json, its other files written into `folder`.

    None where the library has no such form.
    """
    kind = library(identity, module)
    if isinstance(module, SentenceModel):
        _companions(identity, folder)
        return _transformers(identity, module.transformer)
    if kind == "transformers":
        _companions(identity, folder)
        _processor(identity, folder)
        return _transformers(identity, module)
    if kind == "timm":
        return _timm(identity, module, folder)
    return None


def _transformers(identity: Identity, module: Any) -> dict[str, Json]:
    """The module's own config, and the labels where a person gave them."""
    transformers: dict[str, Json] = json.loads(module.config.to_json_string(use_diff=True))
    transformers["architectures"] = [type(module).__name__]
    transformers["dtype"] = str(module.dtype).removeprefix("torch.")
    names = identity.labels.names
    if names is not None:
        transformers["id2label"] = {str(i): name for i, name in enumerate(names)}
        transformers["label2id"] = {name: i for i, name in enumerate(names)}
    transformers.pop("_name_or_path", None)  # a path of this machine
    return transformers


def _companions(identity: Identity, folder: Path) -> None:
    """The tokenizer, the processor and the modules that lie with the weights."""
    manifest = identity.manifest
    parts = manifest.parts if manifest.is_folder else beside(Path(manifest.file))
    for part in parts:
        if part.kind in CARRIED and not part.fault:
            target = folder / part.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part.file, target)


def _processor(identity: Identity, folder: Path) -> None:
    """The preprocessing as transformers has it, where it was known and no file said so."""
    how, path = identity.image_preprocessing, folder / "preprocessor_config.json"
    if how is None or path.exists() or how.color != "RGB" or not how.antialias:
        return
    stretched = len(how.resize) == 2
    size = dict(zip(("height", "width"), how.resize, strict=True)) if stretched else {
        "shortest_edge": how.resize[0]
    }  # fmt: skip
    crop = dict(zip(("height", "width"), how.crop, strict=True)) if how.crop else None
    document: dict[str, Json] = {
        "image_processor_type": "ViTImageProcessor" if stretched and not crop else (
            "CLIPImageProcessor"
        ),
        "do_resize": True,
        "size": size,
        "resample": _RESAMPLE[how.interpolation],
        "do_center_crop": crop is not None,
        "do_rescale": True,
        "rescale_factor": how.scale,
        "do_normalize": True,
        "image_mean": list(how.mean),
        "image_std": list(how.std),
    }  # fmt: skip
    if crop:
        document["crop_size"] = crop
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8", newline="\n")


def _timm(identity: Identity, module: Any, folder: Path) -> dict[str, Json]:
    """timm's own description of the module, with this checkpoint's labels and preprocessing.

    What timm knows of the architecture's published weights is not this checkpoint's: unless its
    preprocessing is known, none is stated.
    """
    from timm.models._hub import save_config_for_hf

    how = identity.image_preprocessing
    names = identity.labels.names
    about: dict[str, Any] = {"label_names": list(names)} if names is not None else {}
    path = folder / "config.json"
    save_config_for_hf(module, str(path), model_config=about)
    description: dict[str, Json] = json.loads(path.read_text("utf-8"))
    stated: dict[str, Json] = description["pretrained_cfg"]
    for key in ("url", "file", "hf_hub_id", "hf_hub_filename", "tag", "origin_url", "paper_name",
                "paper_ids", "license", "notes", "source", "mean", "std", "interpolation",
                "crop_pct", "crop_mode", "test_crop_pct"):  # fmt: skip
        stated.pop(key, None)
    if how is not None and (fields := timm_preprocessing(how)):
        stated |= fields
    return description


def timm_preprocessing(how: Preprocessing) -> dict[str, Json] | None:
    """The fields of timm's pretrained_cfg that say the same; None where none do."""
    if how.color != "RGB" or how.size is None or how.scale != 1 / 255 or not how.antialias:
        return None
    height, width = how.size
    if len(how.resize) == 2:
        if how.resize[0] * width != how.resize[1] * height:
            return None
        mode, part = "squash", height / how.resize[0]
    elif height == width:
        mode, part = "center", height / how.resize[0]
    else:
        return None
    if int(height / part) != how.resize[0]:  # timm rounds down
        part = height / (how.resize[0] + 0.5)
    return {
        "input_size": [3, height, width],
        "mean": list(how.mean),
        "std": list(how.std),
        "interpolation": how.interpolation,
        "crop_pct": part,
        "crop_mode": mode,
    }
