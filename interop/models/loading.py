"""A module and an Identity -> the module with the file's weights, and the proof of it.

`load_state_dict(strict=False)` on a prefixed checkpoint loads 0 of 122 tensors and says nothing;
this either loads every byte or says what did not fit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from time import perf_counter

import torch
from torch import nn

from interop.facts import Identity, Proof
from interop.models.weights import state_dict

NAME = "loaded fraction"
_SHOWN = 4


def load(module: nn.Module, identity: Identity) -> Proof:
    """Gives `module` the weights of `identity` (in place) and proves "loaded fraction".

    It holds when every tensor of the checkpoint, under the name that its prefix leaves, is in the
    module, every tensor of the module came from the checkpoint, and each equals its source bit for
    bit, read a second time. The one exception is stated in the facts: batch counters that files
    from before torch 0.4.1 do not have. Where names or shapes differ, nothing is loaded. Parameters
    take the checkpoint's dtype. Raises what `state_dict` raises.
    """
    start = perf_counter()
    source = state_dict(identity.tensors, identity.manifest.path)
    target = module.state_dict()
    counters = [n for n in target if n not in source and n.endswith("num_batches_tracked")]
    faults: dict[str, list[str]] = {
        "missing": [n for n in target if n not in source and n not in counters],
        "unexpected": [n for n in source if n not in target],
        "reshaped": [
            f"{n} {tuple(source[n].shape)} for {tuple(target[n].shape)}"
            for n in source
            if n in target and source[n].shape != target[n].shape
        ],
        "untied": _untied(target, source),
    }
    if not any(faults.values()):
        counts = {n: torch.zeros_like(target[n]) for n in counters}
        if refusal := _assign(module, {**source, **counts}):
            faults["refused"] = [refusal]
        held, again = module.state_dict(), state_dict(identity.tensors)
        faults["unequal"] = [n for n in again if not same_bits(held[n], again[n])]
    paired = [
        n
        for n in source
        if n in target and source[n].shape == target[n].shape and n not in faults.get("unequal", ())
    ]
    share = _share(source, paired), _share(target, [*paired, *counters])
    holds = not any(faults.values())
    return Proof(
        NAME,
        holds,
        _sentence(len(paired), len(source), share, faults),
        {
            "tensors": len(source),
            "loaded": len(paired) if holds else 0,
            "paired": len(paired),
            "checkpoint_bytes": sum(t.nbytes for t in source.values()),
            "checkpoint_fraction": share[0],
            "module_fraction": share[1],
            "place": identity.place,
            "prefix": identity.prefix,
            "counters_absent": len(counters),
            **{kind: names for kind, names in faults.items() if names},
        },
        perf_counter() - start,
    )


def _assign(module: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    """Puts the tensors in the module's place of its own; gives what it objects to."""
    given = OrderedDict(state)
    # The names and shapes are this module's own, so are the versions that its parts ask for: no
    # file tells them, and without them some modules refuse or migrate what needs no migration.
    versions = getattr(module.state_dict(), "_metadata", None)
    if versions is not None:
        given._metadata = versions  # type: ignore[attr-defined]
    try:
        module.load_state_dict(given, strict=True, assign=True)
    except Exception as error:  # a module's own hooks may raise anything
        return f"{type(error).__name__}: {(str(error).strip() or 'no reason').splitlines()[0]}"
    module.requires_grad_(False)
    return ""


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors agree in dtype, shape and every bit (a NaN equals itself)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(a, b)


def _untied(target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor]) -> list[str]:
    """Names that are one tensor in the module and several different ones in the file.

    Loaded one after the other, the last would win and the first be lost.
    """
    tied: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
    found = []
    for name, tensor in target.items():
        if not tensor.numel() or name not in source:
            continue
        first = tied.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), name)
        if first != name and not same_bits(source[first], source[name]):
            found.append(f"{first} = {name}")
    return found


def _share(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> float:
    total = sum(t.nbytes for t in tensors.values())
    return sum(tensors[n].nbytes for n in names) / total if total else 0.0


def _sentence(
    paired: int, total: int, share: tuple[float, float], faults: Mapping[str, Sequence[str]]
) -> str:
    if not any(faults.values()):
        return (
            f"all {total} tensors of the checkpoint fill the whole module, each bit for bit as "
            "in the file"
        )
    words = {
        "missing": "not in the checkpoint",
        "unexpected": "not in the module",
        "reshaped": "of another shape",
        "untied": "one tensor in the module and several in the file",
        "unequal": "changed by loading",
        "refused": "refused by the module's own code",
    }
    parts = [
        f"{len(names)} {words[kind]} ({', '.join(names[:_SHOWN])}"
        f"{', …' if len(names) > _SHOWN else ''})"
        for kind, names in faults.items()
        if names
    ]
    return (
        f"{paired} of {total} tensors fit, {100 * share[0]:.3g} % of the checkpoint's bytes and "
        f"{100 * share[1]:.3g} % of the module's: " + "; ".join(parts)
    )
