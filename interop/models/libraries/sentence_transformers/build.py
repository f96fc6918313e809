"""A sentence-transformers folder -> one module: the transformer, and what modules.json puts behind.

The embedding that people compare is what comes out at the end of that chain. Each module is written
anew from what its config.json states; the package itself is not needed, and no code of the folder
is run. A module that is not known here is refused, never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import Identity, Module, Proof
from interop.models.load_weights import same_bits
from interop.models.weights import state_dict
from interop.reading import read

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TINY = 1e-9  # of a text without a token; the library divides by it too


class SentenceModel(nn.Module):
    """Token numbers and their mask -> `sentence_embedding`, of shape (batch, width).

    The transformer's own parts are this module's, so that its weights keep their names; each later
    module has its folder's name in front.
    """

    def __init__(self, transformer: nn.Module, stages: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, child in transformer.named_children():
            self.add_module(name, child)
        for name, parameter in transformer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, stage in stages.items():
            self.add_module(name, stage)
        # Not as children: their weights would bear two names each.
        self._transformer = (transformer,)
        self._stages = tuple(stages)
        self.eval().requires_grad_(False)

    @property
    def transformer(self) -> nn.Module:
        """The model of transformers in front."""
        return self._transformer[0]

    def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
        """Keywords as the transformer takes them, `attention_mask` among them where it has one."""
        tokens = self.transformer(**given)[0]
        mask = given.get("attention_mask")
        value = tokens
        for name in self._stages:
            stage = self.get_submodule(name)
            value = stage(value, mask) if isinstance(stage, Pooling) else stage(value)
        return {"sentence_embedding": value}


class Pooling(nn.Module):
    """Token vectors (batch, tokens, width) -> one a text, by each of some modes side by side."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        self.modes = modes

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`mask` (batch, tokens) is 1 where a token counts."""
        mask = torch.ones(tokens.shape[:2], dtype=tokens.dtype) if mask is None else mask
        return torch.cat([_POOLED[mode](tokens, mask) for mode in self.modes], -1)


class Normalize(nn.Module):
    """Vectors (batch, width) -> the same of length 1."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(given, p=2.0, dim=1)


class Dense(nn.Module):
    """A linear layer and its activation."""

    def __init__(self, linear: nn.Linear, activation: nn.Module) -> None:
        super().__init__()
        self.linear, self.activation = linear, activation

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        forward: torch.Tensor = self.activation(self.linear(given))
        return forward


class Norm(nn.Module):
    """A layer norm under the name that its file has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        forward: torch.Tensor = self.norm(given)
        return forward


def is_chained(identity: Identity) -> bool:
    """Whether a folder chains modules, of which the transformer is the first."""
    return bool(identity.manifest.modules)


def transformer_of(identity: Identity) -> Identity:
    """The identity without the tensors of later modules, which a bundle has in one file with it."""
    fronts = tuple(f"{m.path}." for m in identity.manifest.modules if m.path)
    if not fronts:
        return identity
    kept = tuple(t for t in identity.tensors if not t.name.startswith(fronts))
    return replace(identity, tensors=kept)


def composed(
    transformer: nn.Module, proof: Proof, identity: Identity
) -> tuple[SentenceModel, Proof]:
    """The whole chain with its weights, and the proof "loaded fraction" of all of it.

    Raises ModelError (part-missing) for a module that cannot be made.
    """
    first, *rest = identity.manifest.modules
    if first.path or first.name != "Transformer":
        raise _missing(identity, first, "the first module is not a transformer at the top")
    folder = Path(identity.manifest.path)
    bundled = {t.name: t for t in identity.tensors}
    stages: dict[str, nn.Module] = {}
    loaded = dict(proof.facts.get("modules", {}))
    for module in rest:
        if module.fault:
            raise _missing(identity, module, module.fault)
        if module.name not in _MAKERS or not module.path:
            raise _missing(identity, module, f"modules of the class {module.type} are not built")
        stage = _MAKERS[module.name](identity, module)
        if stage is None:  # dropout, which does nothing in use
            continue
        wanted = stage.state_dict()
        if wanted:
            given = _weights(identity, module, folder / module.path)
            _fill(identity, module, stage, given)
            again = _weights(identity, module, folder / module.path)
            faults = [n for n, t in stage.state_dict().items() if not same_bits(t, again[n])]
            own = [n for n in given if f"{module.path}.{n}" in bundled]
            shared = state_dict([bundled[f"{module.path}.{n}"] for n in own])
            faults += [n for n in own if not same_bits(shared[f"{module.path}.{n}"], again[n])]
            if faults:
                raise _missing(identity, module, f"{faults[0]} is not as in its file")
            loaded[module.path] = len(wanted)
        stages[module.path] = stage
    chain = " > ".join(m.path or m.name for m in identity.manifest.modules)
    what = f"{proof.what}; in the chain {chain}" + "".join(
        f", {count} of {name}" for name, count in loaded.items()
    )
    facts = {**proof.facts, "modules": loaded, "chain": chain}
    return SentenceModel(transformer, stages), replace(proof, what=what, facts=facts)


def _weights(identity: Identity, module: Module, folder: Path) -> dict[str, torch.Tensor]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return state_dict(read(str(folder / name)).state_dicts[0].tensors, str(folder / name))
    raise _missing(identity, module, "its weights are missing")


def _fill(
    identity: Identity, module: Module, stage: nn.Module, given: dict[str, torch.Tensor]
) -> None:
    try:
        stage.load_state_dict(given, strict=True, assign=True)
    except RuntimeError as error:
        why = " ".join(str(error).split("\n", 2)[1:2]).strip() or str(error)
        raise _missing(identity, module, f"its weights do not fit its config.json: {why}") from None


def _missing(identity: Identity, module: Module, why: str) -> ModelError:
    return ModelError(
        f"module {module.path or module.type} of modules.json cannot be exported: {why}",
        where=identity.manifest.path,
        fix="export a folder whose modules are Transformer, Pooling, Dense, LayerNorm, Normalize "
        "and Dropout, or give the whole model with --model",
        rule="part-missing",
    )


# ---------------------------------------------------------------- one maker a class


def _pooling(identity: Identity, module: Module) -> nn.Module:
    """The modes of an old config are flags, of a new one a word or a list of them."""
    flags = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens": "weightedmean",
        "pooling_mode_lasttoken": "lasttoken",
    }
    config = module.config
    stated = config.get("pooling_mode")
    if stated is not None:
        words = [stated] if isinstance(stated, str) else list(stated)
    else:
        unknown = [k for k in config if k.startswith("pooling_mode_") and k not in flags]
        if any(config[k] for k in unknown):
            raise _missing(identity, module, f"{unknown[0]} is not known here")
        words = [word for flag, word in flags.items() if config.get(flag)]
    if not words or any(word not in _POOLED for word in words):
        raise _missing(identity, module, f"its pooling mode {words or 'is'} not known here")
    return Pooling(tuple(words))


def _dense(identity: Identity, module: Module) -> nn.Module:
    config = module.config
    asked = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    package, _, name = asked.rpartition(".")
    known = package in ("torch.nn.modules.activation", "torch.nn.modules.linear", "torch.nn")
    kind = getattr(nn, name, None) if known and name in _ACTIVATIONS else None
    width_in, width = config.get("in_features"), config.get("out_features")
    if kind is None or not isinstance(width_in, int) or not isinstance(width, int):
        raise _missing(identity, module, f"its activation {asked} or its widths are not known here")
    return Dense(nn.Linear(width_in, width, bias=bool(config.get("bias", True))), kind())


def _norm(identity: Identity, module: Module) -> nn.Module:
    width = module.config.get("dimension")
    if not isinstance(width, int):
        raise _missing(identity, module, "its config.json states no dimension")
    return Norm(width)


_ACTIVATIONS = (
    "Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU", "LeakyReLU", "ELU", "ReLU6", "Mish",
    "Softplus", "Hardtanh", "SELU",
)  # fmt: skip
_MAKERS: Mapping[str, Callable[[Identity, Module], nn.Module | None]] = {
    "Pooling": _pooling,
    "Dense": _dense,
    "LayerNorm": _norm,
    "Normalize": lambda identity, module: Normalize(),
    "Dropout": lambda identity, module: None,
}


# ---------------------------------------------------------------- the modes of pooling


def _wide(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return mask.unsqueeze(-1).expand(tokens.shape).to(tokens.dtype)


def _sum(tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    wide = _wide(tokens, mask)
    return (tokens * wide).sum(1), wide.sum(1).clamp(min=_TINY)


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    total, count = _sum(tokens, mask)
    return total / count


def _mean_sqrt(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    total, count = _sum(tokens, mask)
    return total / count.sqrt()


def _max(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens.masked_fill(_wide(tokens, mask) == 0, -1e9).amax(1)


def _weighted(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    places = torch.arange(1, tokens.shape[1] + 1, dtype=tokens.dtype)
    return _mean(tokens, mask.to(tokens.dtype) * places)


def _last(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The last token that counts, whichever side the padding is on."""
    places = torch.arange(1, tokens.shape[1] + 1) * (mask != 0).to(torch.int64)
    last = places.argmax(1)
    picked = last[:, None, None].expand(-1, 1, tokens.shape[2])
    return (tokens * _wide(tokens, mask)).gather(1, picked).squeeze(1)


_POOLED: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": lambda tokens, mask: tokens[:, 0],
    "mean": _mean,
    "max": _max,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted,
    "lasttoken": _last,
}
