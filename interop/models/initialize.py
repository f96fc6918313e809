"""A target module and pretrained tensors -> the target with them, and the proof of how much."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from time import perf_counter

import torch
from torch import nn

from interop.facts import Proof
from interop.identity.index.lookup import under
from interop.models.load_weights import NAME, same_bits

_SHOWN = 4


def fill(
    module: nn.Module,
    given: Mapping[str, torch.Tensor],
    *,
    new: Collection[str],
    leave: Collection[str] = (),
) -> tuple[tuple[str, ...], Proof]:
    """Puts `given` into `module` by name; the names of what stayed fresh, and the proof.

    It holds where every weight of the module outside of the parts `new` (paths) was given, in its
    shape, and is bit for bit what was given. Tensors that were given and that the module does not
    have are left aside, and stated; those under `leave` are expected to be.
    """
    start = perf_counter()
    target = module.state_dict()
    fresh = [n for n in target if n not in given or _is_within(n, new)]
    lacking = [n for n in fresh if not _is_within(n, new) and not n.endswith("num_batches_tracked")]
    reshaped = [n for n in target if n not in fresh and given[n].shape != target[n].shape]
    state = {n: given[n] for n in target if n not in fresh and n not in reshaped}
    with torch.no_grad():
        for name, tensor in state.items():
            target[name].copy_(tensor)
    tensors = module.state_dict()
    unequal = [n for n, t in state.items() if not same_bits(tensors[n], t.to(tensors[n].dtype))]
    backbone = {n: t for n, t in target.items() if not _is_within(n, new)}
    filled = sum(tensors[n].nbytes for n in state if n not in unequal)
    whole = sum(t.nbytes for t in backbone.values() if t.numel()) or 1
    counters = sum(tensors[n].nbytes for n in backbone if n not in state and n not in lacking)
    left = [n for n in given if n not in target]
    strange = [n for n in left if not _is_within(n, leave)]
    holds = not (lacking or reshaped or unequal) and bool(state)
    share = (filled + counters) / whole if state else 0.0
    facts = {
        "backbone_fraction": share,
        "tensors": len(state),
        "fresh": fresh,
        "left_aside": left,
        "missing": lacking,
        "reshaped": reshaped,
    }
    return tuple(fresh), Proof(
        NAME,
        holds,
        _sentence(len(state), len(backbone), share, lacking, reshaped, unequal, strange),
        facts,
        perf_counter() - start,
    )


def _is_within(name: str, paths: Collection[str]) -> bool:
    return any(name == p or under(name, p) for p in paths)


def _sentence(
    filled: int,
    whole: int,
    share: float,
    lacking: list[str],
    reshaped: list[str],
    unequal: list[str],
    left: list[str],
) -> str:
    sentence = (
        f"{filled} of the backbone's {whole} tensors, {100 * share:.3g} % of its bytes, loaded"
    )
    faults = (
        (lacking, "not among the weights"),
        (reshaped, "of another shape"),
        (unequal, "changed by loading"),
    )
    parts = [f"{len(names)} {what} ({_some(names)})" for names, what in faults if names]
    if left:
        parts.append(f"{len(left)} of the weights have no place in it ({_some(left)})")
    return sentence + (": " + "; ".join(parts) if parts else "")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
