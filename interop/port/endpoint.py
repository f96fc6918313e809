"""A file and what it is of -> its tensors under its module's own names, in definition order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from interop.check import maps
from interop.check.maps import unmapped
from interop.check.pairing import pair
from interop.check.structure import is_derived
from interop.errors import ConfigError, ModelError
from interop.facts import Identity, Json
from interop.port.fill import filled
from interop.port.models import Model, fitted, identity_of
from interop.port.prove import load
from interop.rules import listed

Tensors = Mapping[str, torch.Tensor]
OPTIONS = "arch_options"  # metadata key: what the constructor was given besides the name
# Names that configs of transformers have for the number of attention heads.
HEADS = (
    "num_attention_heads", "num_heads", "n_head", "n_heads", "attention_heads",
    "encoder_attention_heads", "decoder_attention_heads",
)  # fmt: skip
_COARSE = (torch.float16, torch.bfloat16)
# Of a config.json: what says how it was written, and nothing of the model.
_ABOUT = ("architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Tensors with their names and shapes; `model` is what they are of, None where unknown."""

    identity: Identity
    tensors: Tensors
    model: Model | None

    def module(self) -> nn.Module:
        """The module with these tensors. Raises ModelError where it is not known, or refuses."""
        if self.model is None:
            names = ", ".join(a.name for a in self.identity.architectures)
            raise ModelError(
                f"its weights fit {names} alike" if names else "its architecture is not known",
                where=self.identity.manifest.path,
                fix="to run it, name it with --arch (--like-arch), or give its module with "
                "--model (--like-model)",
            )
        module = load(self.model.build(real=True), self.tensors)
        coarse = any(t.dtype in _COARSE for t in self.tensors.values())
        # Two answers in half precision are apart by rounding alone; widened, no weight changes.
        return module.float() if coarse else module


def side(identity: Identity, tensors: Tensors, model: Model | None) -> Endpoint:
    """The tensors as the module of `model` names and orders them; as the file does without one.

    Raises ModelError where they are not that module's.
    """
    plain = replace(identity, head=None, side_heads=())
    if model is None:
        return Endpoint(plain, tensors, None)
    model, module = fitted(model, plain)
    own = identity_of(module, model.name)
    pairing = pair(own, plain)
    left, over = unmapped(own, plain, pairing.mapped)
    if left or over:
        kinds = ((left, "of the module's are missing"), (over, "are not the module's"))
        gaps = [f"{len(names)} {kind} ({listed(names)})" for names, kind in kinds if names]
        what = f"its tensors are not those of {model.name}: {', '.join(gaps)}"
        fix = "say what it is of with --arch or --model"
        raise ModelError(what, where=identity.manifest.path, fix=fix)
    state = filled(maps.whole(pairing), tensors, own)
    present = tuple(t for t in own.tensors if t.name in state)
    return Endpoint(replace(own, tensors=present), state, model)


def model_of(
    identity: Identity, arch: str | None, factory: str | None
) -> tuple[Model | None, bool]:
    """What a file is of, as far as is known; and whether the person said so."""
    if factory:
        return Model(factory, factory=factory), True
    metadata = identity.manifest.metadata
    stated = metadata.get("arch")
    config = metadata.get("config.json")
    name = arch if arch and "/" in arch else None
    if name is None and isinstance(stated, str) and "/" in stated:
        name = stated
    if name is None and isinstance(config, dict) and config.get("architectures"):
        name = f"transformers/{config['architectures'][0]}"
    name = name or identity.architecture
    if name is None or "/" not in name:
        return None, False
    options: Mapping[str, Json] = {}
    assumed = False
    known = next((a for a in identity.architectures if a.name == name), None)
    if known is not None:
        options = {k: v for k, v in known.sizes.items() if k.isidentifier()}
    if name.startswith("transformers/") and isinstance(config, dict):
        options = {k: v for k, v in config.items() if k not in _ABOUT}
    elif name == stated and OPTIONS in metadata:
        options = _options(metadata[OPTIONS])
    else:
        assumed = name.startswith("transformers/")
    return Model(name, options, assumed=assumed), arch is not None


def informed(
    model: Model | None, family: str, config: Mapping[str, Json], settings: Mapping[str, Json]
) -> Model | None:
    """The model of a file without a config, with what a person gave for a model of `family`.

    A `config` counts where it is a whole one or gives the number of attention heads, `settings`
    where they give it; neither does for another family.
    """
    if model is None or not model.assumed or family not in ("", model.family):
        return model
    given = {**config, **(settings if family else {})}
    if "model_type" in given or any(key in given for key in HEADS):
        return replace(model, options={**model.options, **given}, assumed=False)
    return model


def need_config(identity: Identity, model: Model | None) -> None:
    """ConfigError where a model would have to be run, or its config written, on an assumption."""
    if model is not None and model.assumed:
        raise ConfigError(
            "its config is in no file: the number of attention heads and other settings that no "
            "shape tells are not known",
            where=identity.manifest.path,
            fix="give the folder with its config.json, or --config FILE",
        )


def derived(module: nn.Module, model: Model) -> dict[str, torch.Tensor]:
    """What the target's module computes of itself and keeps in its state dict (indices, masks)."""
    names = {t.name for t in identity_of(module, "").tensors if is_derived(t)}
    state: dict[str, Any] = module.state_dict()
    if any(state[n].is_meta and not n.endswith("num_batches_tracked") for n in names):
        state = model.build(real=True).state_dict()
    return {
        n: torch.zeros((), dtype=torch.int64) if state[n].is_meta else state[n].detach()
        for n in names
    }


def _options(given: Json) -> Mapping[str, Json]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return {}
    return given if isinstance(given, dict) else {}
