"""Two modules with the same weights under a map -> do they answer alike, and is that a proof?"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.check.structure import is_derived
from interop.errors import ModelError
from interop.facts import Mapped, Proof, ProofName
from interop.port.models import identity_of
from interop.proof.canary import SHARE, perturbed
from interop.runtimes.pytorch import tensors_of

FORWARD, CANARY = ProofName.SAME_FORWARD, ProofName.CANARY
BOUND = 1e-5
BATCH, INPUTS, TOKENS = 2, 2, 16
_SIDE = 224
Answer = tuple[torch.Tensor, ...]


def inputs(source: nn.Module, target: nn.Module) -> list[torch.Tensor]:
    """Two seeded inputs of batch 2 that both modules take: pictures, token numbers or vectors.

    What they are is told by the first layer with weights; a picture's size by what the modules
    say of themselves, else 224. Raises ModelError for another kind of first layer.
    """
    first = _first_layer(target) or _first_layer(source)
    draw = torch.Generator().manual_seed(0)
    shape: tuple[int, ...]
    if isinstance(first, nn.Embedding):
        shape = (BATCH, TOKENS)
        most = first.num_embeddings
        return [torch.randint(0, most, shape, generator=draw) for _ in range(INPUTS)]
    if isinstance(first, nn.Conv2d):
        side = _side(source) or _side(target) or _SIDE
        shape = (BATCH, first.in_channels, side, side)
    elif isinstance(first, nn.Linear):
        shape = (BATCH, first.in_features)
    else:
        what = f"its first layer is {type(first).__name__}, and what that takes is not known"
        raise ModelError(what, fix="leave --prove away and compare the two yourself")
    return [torch.randn(shape, generator=draw) for _ in range(INPUTS)]


def forward(
    source: nn.Module, target: nn.Module, given: Sequence[torch.Tensor], answers: Sequence[Answer]
) -> Proof:
    """Proves "same forward": on each input the outputs are at most 1e-5 of the largest apart.

    `answers` are the source's outputs. Where float32 exceeds that, both are run once more in
    float64, whose rounding cannot: what then remains is a difference of the models. Of several
    outputs those that both give are compared.
    """
    start = perf_counter()
    single = _apart(answers, target, given)
    facts: dict[str, Any] = {"relative": single, "bound": BOUND, "inputs": len(given)}
    worst = single
    if single > BOUND and np.isfinite(single):
        wide, wider = (copy.deepcopy(m).double() for m in (source, target))
        doubled = [x.double() if x.is_floating_point() else x for x in given]
        double = _apart([outputs(wide, x) for x in doubled], wider, doubled)
        facts["relative_float64"] = double
        worst = double
    holds = bool(worst <= BOUND)
    what = (
        f"on {len(given)} seeded inputs of batch {BATCH}, outputs at most {single:.1e} of the "
        f"largest apart ({BOUND:.0e} allowed)"
    )
    if holds and single > BOUND:
        what += f"; by rounding alone: {worst:.1e} in float64"
    if not holds:
        what = f"weights map, the forward differs: by {worst:.1e} of the largest output"
    return Proof(FORWARD, holds, what, facts, perf_counter() - start)


def canary(
    target: nn.Module,
    given: Sequence[torch.Tensor],
    answers: Sequence[Answer],
    mapped: Sequence[Mapped],
) -> Proof:
    """Proves "canary": with one weight near the input changed by 1 %, the comparison notices.

    The change is that of `interop.proof.canary`; the weight is put back.
    """
    start = perf_counter()
    weights = dict(target.named_parameters())
    place = {name: i for i, name in enumerate(weights)}
    # A layer's weight rather than what is added to the input: that a position moves is no news.
    names = [m.a.name for m in mapped if m.a.name.endswith("weight") and m.a.name in weights]
    names = [n for n in names if weights[n].ndim >= 2 and weights[n].abs().max() > 0]
    names.sort(key=place.__getitem__)
    if not names:
        return Proof(CANARY, False, "no weight of two dimensions to change", {}, 0.0)
    weight = weights[names[0]].data
    changed = perturbed(weight.float().numpy(), SHARE)
    weights[names[0]].data = torch.from_numpy(changed).to(weight.dtype)
    try:
        apart = _apart(answers, target, given)
    finally:
        weights[names[0]].data = weight
    seen = apart > BOUND
    noticed = "is noticed" if seen else "goes unnoticed"
    what = f"a change of {100 * SHARE:.0f} % in {names[0]} {noticed} ({apart:.1e})"
    facts = {"tensor": names[0], "share": SHARE, "relative": apart}
    return Proof(CANARY, seen, what, facts, perf_counter() - start)


def load(module: nn.Module, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """The module with the tensors of `state`; what it derives itself (indices) stays its own.

    Raises ModelError where a weight would be left as it started.
    """
    derived = {t.name for t in identity_of(module, "").tensors if is_derived(t)}
    report = module.load_state_dict(dict(state), strict=False, assign=True)
    lacking = [n for n in report.missing_keys if n not in derived]
    if lacking or report.unexpected_keys:
        raise ModelError(
            f"{len(lacking)} of its tensors would stay random: {', '.join(lacking[:3])}"
            if lacking
            else f"it has no place for {', '.join(report.unexpected_keys[:3])}"
        )
    return module.eval().requires_grad_(False)


def outputs(module: nn.Module, x: torch.Tensor) -> Answer:
    """What the module answers, its floating-point tensors alone. Raises ModelError if it fails."""
    options: dict[str, Any] = {}
    if hasattr(getattr(module, "config", None), "use_cache"):
        options["use_cache"] = False  # a language model's cache is no answer
    with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
        try:
            output = module(x, **options)
        except Exception as error:  # a module's own code may raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            what = f"{type(module).__name__} fails on an input of shape {tuple(x.shape)}: {reason}"
            raise ModelError(what, fix="leave --prove away") from error
    return tuple(t for t in tensors_of(output) if t.is_floating_point())


def _apart(answers: Sequence[Answer], target: nn.Module, given: Sequence[torch.Tensor]) -> float:
    """The largest difference of outputs on any input, as a share of the largest output."""
    worst = 0.0
    for theirs, x in zip(answers, given, strict=True):
        for one, other in zip(theirs, outputs(target, x), strict=False):
            if one.shape != other.shape:
                return float("inf")
            scale = float(one.abs().max()) or 1.0
            apart = float((one - other).abs().max()) / scale
            worst = max(worst, apart if np.isfinite(apart) else float("inf"))
    return worst


def _first_layer(module: nn.Module) -> nn.Module | None:
    """The first layer in definition order that has a weight of two dimensions or more."""
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim >= 2:
            return part
    return None


def _side(module: nn.Module) -> int | None:
    """The height of the pictures that a model says it is made for."""
    for holder, key in ((module, "image_size"), (getattr(module, "config", None), "image_size")):
        if isinstance(value := getattr(holder, key, None), int):
            return value
    stated = getattr(module, "pretrained_cfg", None)
    size = stated.get("input_size") if isinstance(stated, Mapping) else None
    return int(size[-1]) if size else None
