"""An adapter's checkpoint and its base's -> the base's module with the adapter merged, proved.

peft applies and merges; what it was given and what it made is checked here: every tensor of the
adapter is in use, each merged weight is the base's plus scale times B times A, and nothing else of
the base has changed. An adapter that is a pickle is read as any other, never unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import nn

from interop.errors import ExtraMissing, ModelError
from interop.facts import Identity, Json, Proof
from interop.models.build_module import build_with_notes
from interop.models.heads import fit_layer
from interop.models.libraries.transformers import build as transformers
from interop.models.load_weights import NAME, load, same_bits
from interop.models.weights import state_dict

_FRONT = "base_model.model."  # peft's own, before every name
_WORDS = ("lora_", "hada_", "lokr_", "ia3_", "oft_", "boft_", "vera_")
_CONFIG = "adapter_config.json"
_SHOWN = 4


def is_adapter(identity: Identity) -> bool:
    return "adapter" in identity.kind or "tuning" in identity.kind


def merged(
    identity: Identity, base: Identity, *, arch: str | None = None, factory: str | None = None
) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    """The base's module with the adapter in its weights; the proof "loaded fraction"; notes.

    The proof holds when the base was loaded bit for bit, every tensor of the adapter is in peft's
    module bit for bit, every merged weight of plain LoRA is what float64 makes of it within the
    rounding of its type, and all other tensors are as they were. Raises ModelError where the
    adapter is not of this base, or is of a kind that cannot be merged.
    """
    start = perf_counter()
    config, given = _config(identity), _tensors(identity)
    saved = {
        name.removeprefix(_FRONT): tensor
        for name, tensor in given.items()
        if not any(word in name for word in _WORDS)
    }
    module, whole, notes = _base(base, config, saved, arch, factory)
    _refuse_strange(identity, module, saved)
    if not whole.holds:
        return module, _of_base(whole, base), notes
    for path in {name.rpartition(".")[0] for name in saved}:
        _fit(module, path, saved)
    work = _Merging(identity, module, given)
    module = work.merge(config)
    proof = work.proof(whole, base, perf_counter() - start)
    return module.eval().requires_grad_(False), proof, (*notes, *_other_base(config, base))


def _other_base(config: Mapping[str, Json], base: Identity) -> tuple[str, ...]:
    """What is to be said where the adapter names another base than it was given."""
    base_name = config.get("base_model_name_or_path")
    given = Path(base.manifest.path).resolve().name
    own = base.manifest.metadata.get("config.json")
    named = str(own.get("_name_or_path") or "") if isinstance(own, Mapping) else ""
    if not isinstance(base_name, str) or not base_name:
        return ()
    if Path(base_name).name in (given, given.partition(".")[0], Path(named).name):
        return ()
    return (
        f"the adapter says that it is for {base_name}, and was merged onto {given}: whether that "
        "is the same model no shape tells",
    )


def _config(identity: Identity) -> Mapping[str, Json]:
    config = identity.manifest.metadata.get(_CONFIG)
    if not isinstance(config, Mapping) or not isinstance(config.get("peft_type"), str):
        raise ModelError(
            "holds an adapter without its adapter_config.json (peft's), which tells its scale and "
            "where it goes",
            where=identity.manifest.path,
            fix="put adapter_config.json beside it and give the folder",
        )
    return config


def _tensors(identity: Identity) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names that the file has."""
    chosen = next(s for s in identity.manifest.state_dicts if s.place == identity.place)
    return state_dict(chosen.tensors, identity.manifest.path)


# ---------------------------------------------------------------- the base


def _base(
    base: Identity,
    config: Mapping[str, Json],
    saved: Mapping[str, torch.Tensor],
    arch: str | None,
    factory: str | None,
) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    """The base with its weights; under the class that the adapter's task asks for."""
    described = transformers.described(base) if factory is None and arch is None else None
    if described is not None and (name := _class_for(config, described)):
        # Trained as another class than the base was saved as: its head comes with the adapter.
        rows = [t.shape[0] for t in saved.values() if t.ndim == 2]
        outputs = {"num_labels": rows[-1]} if rows else {}
        module, notes = transformers.build(base, name, instead=outputs)
        module = module.eval().requires_grad_(False)
        return module, load(module, base, supplied=frozenset(saved)), notes
    module, notes = build_with_notes(base, arch=arch, factory=factory)
    return module, load(module, base), notes


def _class_for(config: Mapping[str, Json], described: Mapping[str, Json]) -> str:
    """transformers' class for the adapter's task, where the base is of another; else ""."""
    try:
        from transformers.models.auto import modeling_auto
    except ImportError:
        return ""
    tables = {
        "SEQ_CLS": "SEQUENCE_CLASSIFICATION",
        "TOKEN_CLS": "TOKEN_CLASSIFICATION",
        "QUESTION_ANS": "QUESTION_ANSWERING",
        "CAUSAL_LM": "CAUSAL_LM",
        "SEQ_2_SEQ_LM": "SEQ_TO_SEQ_CAUSAL_LM",
    }
    auto = config.get("auto_mapping")
    if isinstance(auto, Mapping) and auto.get("parent_library", "").startswith("transformers."):
        name = str(auto.get("base_model_class") or "")
    else:
        task = tables.get(str(config.get("task_type")), "")
        table = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {})
        class_name = table.get(described["model_type"], "")
        name = class_name if isinstance(class_name, str) else ""
    return "" if name in (described.get("architectures") or ()) else name


def _refuse_strange(
    identity: Identity, module: nn.Module, saved: Mapping[str, torch.Tensor]
) -> None:
    """ModelError where what comes with the adapter has no place in the base."""
    paths = dict(module.named_modules())
    strange = [name for name in saved if name.rpartition(".")[0] not in paths]
    if strange:
        raise ModelError(
            f"the adapter is not this base's: it brings {strange[0]}, and the base's "
            f"{type(module).__name__} has no such layer",
            where=identity.manifest.path,
            fix="give the base that it was trained on with --base",
        )


def _fit(module: nn.Module, path: str, saved: Mapping[str, torch.Tensor]) -> None:
    """Room for a layer that comes with the adapter, in the size that it has there."""
    if path in dict(module.named_modules()):
        fit_layer(module, path, {n: tuple(t.shape) for n, t in saved.items()})


def _of_base(proof: Proof, base: Identity) -> Proof:
    facts = {"base": base.manifest.path, **proof.facts}
    return Proof(NAME, False, f"of the base: {proof.what}", facts, proof.seconds)


# ---------------------------------------------------------------- merging


@dataclass(slots=True)
class _Merging:
    """One merge under way: what went in, and what is found of it."""

    identity: Identity
    module: nn.Module
    given: Mapping[str, torch.Tensor]
    unused: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    recomputed: int = 0
    adapted: list[str] = field(default_factory=list)
    largest: float = 0.0

    def merge(self, config: Mapping[str, Json]) -> nn.Module:
        before = {n: _digest(t) for n, t in self.module.state_dict().items()}
        wrapped = self._applied(config)
        self._compare({n: t for n, t in wrapped.state_dict().items() if _is_own(n)})
        layers = _adapted(wrapped)
        expected = {path: _expected(layer) for path, layer in layers.items()}
        if not hasattr(wrapped, "merge_and_unload"):
            raise self._unmerged(f"peft merges no {config['peft_type']}")
        try:
            module: nn.Module = wrapped.merge_and_unload(safe_merge=True)
        except Exception as error:  # of some kinds and layers it cannot
            raise self._unmerged(f"peft does not merge it: {_line(error)}") from error
        self.adapted = list(layers)
        after = module.state_dict()
        inside = tuple(f"{path}." for path in layers)
        names = {n.removeprefix(_FRONT) for n in self.given}
        self.saved = [n for n in after if n in names]
        for name, digest in before.items():
            if name.startswith(inside) or name in names:
                continue
            if name not in after or _digest(after[name]) != digest:
                self.changed.append(name)
        for path, known in expected.items():
            if known is not None:
                self._weigh(path, after[f"{path}.weight"], *known)
        self.wrong += [
            n for n in self.saved if not same_bits(after[n], self._given(n).to(after[n].dtype))
        ]
        return module

    def _given(self, name: str) -> torch.Tensor:
        return self.given[_FRONT + name if _FRONT + name in self.given else name]

    def _applied(self, config: Mapping[str, Json]) -> Any:
        """peft's module around the base, with the adapter that our own reader found."""
        with _peft() as peft, TemporaryDirectory() as folder:
            from safetensors.torch import save_file

            own = {n: t.contiguous().clone() for n, t in self.given.items()}
            save_file(own, Path(folder) / "adapter_model.safetensors")
            (Path(folder) / _CONFIG).write_text(json.dumps(config), "utf-8", newline="\n")
            try:
                return peft.PeftModel.from_pretrained(
                    self.module, folder, is_trainable=False, autocast_adapter_dtype=False
                )
            except Exception as error:  # peft raises many kinds for an adapter of another model
                what = f"the adapter is not this base's: {type(error).__name__}: {_line(error)}"
                fix = "give the base that it was trained on with --base"
                raise ModelError(what, where=self.identity.manifest.path, fix=fix) from error

    def _unmerged(self, what: str) -> ModelError:
        where = self.identity.manifest.path
        return ModelError(
            what, where=where, fix="merge it where it was trained, and export what that saves"
        )

    def _compare(self, live: Mapping[str, torch.Tensor]) -> None:
        """Every tensor of the file is in peft's module, and no other adapter's tensor is."""
        by_name = {_plain(n): t for n, t in live.items()}
        rest = {n: t for n, t in self.given.items() if n not in by_name or not same_bits(
            t.to(by_name[n].dtype), by_name[n])}  # fmt: skip
        # Classes that transformers renames have other names in memory: then by the values alone.
        counts = Counter(_digest(t) for n, t in by_name.items() if n not in self.given or n in rest)
        for name, tensor in rest.items():
            digest = _digest(tensor)
            if counts[digest]:
                counts[digest] -= 1
            else:
                self.unused.append(name)
        if extra := sum(counts.values()):
            self.untold = [n for n in by_name if n not in self.given][:extra]

    def _weigh(
        self, path: str, actual: torch.Tensor, wanted: torch.Tensor, scale: torch.Tensor, rank: int
    ) -> None:
        """The difference in units in the last place of the numbers that were added up."""
        ulp = torch.finfo(actual.dtype).eps
        ratio = ((actual.double() - wanted).abs() / (ulp * scale).clamp_min(1e-300)).max()
        largest = float(ratio) if actual.numel() else 0.0
        self.recomputed += 1
        self.largest = max(self.largest, largest)
        # Each of the products and sums rounds once: the usual bound on a dot product's error.
        if not largest <= rank + 4:
            self.wrong.append(f"{path}.weight")

    def proof(self, whole: Proof, base: Identity, seconds: float) -> Proof:
        faults = {
            "unused": self.unused,
            "not_in_adapter": self.untold,
            "changed": self.changed,
            "unequal": self.wrong,
        }
        facts: dict[str, Json] = {
            **whole.facts,
            "base": base.manifest.path,
            "adapter": self.identity.manifest.path,
            "adapter_tensors": len(self.given),
            "adapter_names": sorted(self.given),
            "merged": self.adapted,
            "recomputed": self.recomputed,
            "largest_ulps": self.largest,
            "replaced": self.saved,
            **{k: v for k, v in faults.items() if v},
        }
        holds = whole.holds and not any(faults.values())
        return Proof(NAME, holds, self._sentence(whole, faults), facts, seconds)

    def _sentence(self, whole: Proof, faults: Mapping[str, list[str]]) -> str:
        if not any(faults.values()):
            apart = len(self.adapted) - self.recomputed
            return (
                f"of the base: {whole.what}; all {len(self.given)} tensors of the adapter are in "
                f"use; {self.recomputed} merged weights are the base's + scale * B A within "
                f"{self.largest:.2g} units in the last place of float64's"
                + (f"; {apart} more were merged by peft alone" if apart else "")
            )
        words = {
            "unused": "tensors of the adapter are not in use",
            "not_in_adapter": "of peft's tensors are not in the adapter",
            "changed": "of the base's tensors changed that no adapter is on",
            "unequal": "weights are not what base and adapter make",
        }
        return "; ".join(
            f"{len(v)} {words[k]} ({', '.join(v[:_SHOWN])}{', …' if len(v) > _SHOWN else ''})"
            for k, v in faults.items()
            if v
        )


@contextmanager
def _peft() -> Iterator[Any]:
    try:
        import peft
    except ImportError:
        what = "merging an adapter needs peft, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[lora]'") from None
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of (keys left out) is proved here
        yield peft


def _is_own(name: str) -> bool:
    return any(word in name for word in _WORDS) or ".modules_to_save." in name


def _plain(name: str) -> str:
    """peft's name of a tensor in memory -> the one in its files."""
    return name.replace(".modules_to_save.default.", ".").replace(".default", "")


def _adapted(wrapped: nn.Module) -> dict[str, Any]:
    """The layers that an adapter is on, by the base's own names."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {
        path.removeprefix(_FRONT): layer
        for path, layer in wrapped.named_modules()
        if isinstance(layer, BaseTunerLayer)
        and "default" in {k for n in layer.adapter_layer_names for k in getattr(layer, n, {})}
    }


def _expected(layer: Any) -> tuple[torch.Tensor, torch.Tensor, int] | None:
    """What a merged weight has to be, the size of what was added up, and the rank.

    In float64: W + scale * B A, and |W| + scale * |B| |A|. None for what is no plain LoRA.
    """
    from peft.tuners import lora

    if getattr(layer, "lora_variant", None) or getattr(layer, "use_dora", {}).get("default"):
        return None
    if getattr(layer, "lora_bias", {}).get("default"):
        return None
    if isinstance(layer, lora.Embedding) and "default" in layer.lora_embedding_A:
        a, b = layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
        turned = True
    elif isinstance(layer, (lora.Linear, lora.Conv2d)) and "default" in layer.lora_A:
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        turned = bool(getattr(layer, "fan_in_fan_out", False))
    else:
        return None
    inside: Any = layer.get_base_layer()
    weight: torch.Tensor = inside.weight.double()
    if isinstance(layer, lora.Conv2d) and inside.groups > 1:
        return None
    rank, scale = a.shape[0], float(layer.scaling["default"])
    a, b = a.double().flatten(1), b.double().flatten(1)

    def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        matrix = left @ right
        return (matrix.t() if turned else matrix).reshape(weight.shape) * scale

    return weight + product(b, a), weight.abs() + product(b.abs(), a.abs()).abs(), rank


def _digest(tensor: torch.Tensor) -> str:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    digest = hashlib.blake2b(f"{tensor.dtype}{tuple(tensor.shape)}".encode(), digest_size=16)
    digest.update(flat.numpy().data)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    lines = (str(error).strip() or "no reason given").splitlines()
    return " ".join(line.strip() for line in lines[:2])
