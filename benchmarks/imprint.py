"""What do running statistics tell of how a model was fed, and how often is it wrong? -> results/imprint.json.

    python -m benchmarks.imprint --work FOLDER [--jobs 2] [--train | --measure | --judge]

Networks of two dozen kinds are trained on real images, each fed in another way
(benchmarks/imprint_networks.py). Then `interop` is asked how they were fed: from the file alone,
and from images that were held back. FOLDER keeps the networks and what was measured of each, so
that a run goes on where the last one stopped. The thresholds of interop/imprint/answers.py were
chosen on one half of the kinds; the results are of both halves, apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.imprint_networks import (
    ACTIVATIONS,
    CLASSES,
    KINDS,
    Layers,
    Spec,
    images,
    network,
    specs,
    trained,
)
from benchmarks.process import RESULTS, ROOT, machine

RESULT = RESULTS / "imprint.json"
SIZES = (28, 32, 40, 48, 56, 64, 80)
COUNT = 64
# Whose activation, padding and anti-aliasing are asked for too: the four that begin anew come first.
STARTS = ("relu", "silu", "relu, blur", "silu, blur")


def variants(spec: Spec, weights: Mapping[str, torch.Tensor]) -> dict[str, nn.Module]:
    """The same weights in networks of every activation, anti-aliased and padded in either way."""
    own = _true(spec)
    act, _, mark = own.partition(", ")
    names = [*STARTS, *(f"{a}, {mark}" if mark else a for a in ACTIVATIONS)]
    names += [act, f"{act}, blur", f"{act}, same"]
    found = {}
    for name in dict.fromkeys(names):
        act, _, mark = name.partition(", ")
        of = Layers(act, blur=mark == "blur", same=mark == "same")
        found[name] = with_weights(network(spec.kind, CLASSES[spec.domain], of), weights)
    return found


def with_weights(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """The module with the weights of one whose layers are the same, under other names."""
    names = list(module.state_dict())
    module.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return module.eval().requires_grad_(False)


def spread(pictures: Sequence[Image.Image], count: int) -> list[Image.Image]:
    return [pictures[i] for i in np.linspace(0, len(pictures) - 1, count).round().astype(int)]


def noise(count: int) -> list[Image.Image]:
    dice = np.random.default_rng(0)
    return [Image.fromarray(a) for a in dice.integers(0, 256, (count, 80, 80, 3), np.uint8)]


# What else the networks are shown, besides images of their own kind.
_FOREIGN = {"photos": "science", "science": "photos", "digits": "textures", "textures": "digits"}


def measured(spec: Spec, path: Path) -> dict[str, Any]:
    """All trials of one network: of its own kind of images, of fewer, and of the controls."""
    stored = torch.load(path)
    weights = stored["state_dict"]
    own = images(spec.domain, True)[0]
    shown: dict[str, list[Image.Image]] = {"own": spread(own, COUNT)}
    if spec.domain != "digits" and spec.regime == "settled":
        shown["same fields"] = spread(images(spec.domain, False, 17)[0], COUNT)
    if spec.regime == "settled":
        if spec.seed % 4 == 1:
            shown |= {"16": spread(own, 16), "32": spread(own, 32)}
        if spec.seed % 2 == 0:
            shown |= {"foreign": spread(images(_FOREIGN[spec.domain], True)[0], COUNT)}
        if spec.seed % 3 == 0:
            shown |= {"noise": noise(COUNT)}
    if spec.regime == "untrained" or (spec.regime == "settled" and spec.seed % 4 == 0):
        shuffled = dict(weights)
        dice = torch.Generator().manual_seed(spec.seed)
        for name in weights:
            if name.endswith("running_mean"):
                order = torch.randperm(len(weights[name]), generator=dice)
                shuffled[name] = weights[name][order]
                other = name.replace("running_mean", "running_var")
                shuffled[other] = weights[other][order]
    trials = {}
    start = time.process_time()
    for name, pictures in shown.items():
        every = variants(spec, weights)
        few = name not in ("own", "same fields")
        modules = {n: m for n, m in every.items() if not few or n in (*STARTS, _true(spec))}
        trials[name] = _trials(modules, pictures, 2 if few else 4)
    if spec.regime == "settled" and spec.seed % 4 == 0:
        modules = variants(spec, shuffled)
        modules = {n: m for n, m in modules.items() if n in (*STARTS, _true(spec))}
        trials["shuffled"] = _trials(modules, shown["own"], 2)
    return {
        **spec.json(), "truth": _true(spec), "accuracy": stored["accuracy"],
        "cpu_seconds": time.process_time() - start, "trials": trials,
    }  # fmt: skip


def _trials(
    modules: Mapping[str, nn.Module], pictures: Sequence[Image.Image], starts: int
) -> list[dict[str, Any]]:
    from interop.imprint.search import Images, search

    found = search(modules, Images(pictures), sizes=SIZES, starts=starts, seconds=1e9)
    return [{**asdict(t), "layers": [round(d, 6) for d in t.layers]} for t in found]


def _true(spec: Spec) -> str:
    of = KINDS[spec.kind].layers
    return of.act + (", blur" if of.blur else ", same" if of.same else "")


def measure(work: Path, part: int, parts: int) -> None:
    torch.set_num_threads(1)
    for spec in specs()[part::parts]:
        path, out = work / f"{spec.name}.pth", work / f"{spec.name}.json"
        if path.exists() and not out.exists():
            print(spec.name, flush=True)
            temporary = out.with_suffix(".part")
            temporary.write_text(json.dumps(measured(spec, path)))
            temporary.rename(out)
