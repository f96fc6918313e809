"""What do running statistics tell of how a model was fed, and how often is it wrong?

    python -m benchmarks.imprint --work FOLDER [--jobs 2] [--train | --measure | --judge]

Networks of two dozen kinds are trained on real images, each fed in another way
(benchmarks/imprint_networks.py). Then `interop` is asked how they were fed: from the file alone,
and from images that were held back. FOLDER keeps the networks and what was measured of each, so
that a run goes on where the last one stopped; all of it takes about four hours on two cores. The
thresholds of interop/imprint/answers.py were chosen on one half of the kinds; the results
(results/imprint.json, docs/remembered.md) are of both halves, apart.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
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
    network,
    sample,
    specs,
    train,
)
from benchmarks.process import store

SIZES = (28, 32, 40, 48, 56, 64, 80)
COUNT = 64
SHIFT = 17  # pixels: other tiles of the fields that training saw
# Whose activation, padding and anti-aliasing are asked for too; these four begin anew.
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


def noise(count: int) -> list[Image.Image]:
    dice = np.random.default_rng(0)
    return [Image.fromarray(a) for a in dice.integers(0, 256, (count, 80, 80, 3), np.uint8)]


# What else the networks are shown, besides images of their own kind.
_FOREIGN = {"photos": "science", "science": "photos", "digits": "textures", "textures": "digits"}


def measured(spec: Spec, path: Path) -> dict[str, Any]:
    """All trials of one network: of its own kind of images, of fewer, and of the controls."""
    stored = torch.load(path)
    weights = stored["state_dict"]
    own = partial(sample, spec.domain, held_back=True)
    shown: dict[str, list[Image.Image]] = {"own": own(COUNT)}
    if spec.domain != "digits" and spec.regime == "settled":
        shown["same fields"] = sample(spec.domain, COUNT, held_back=False, shift=SHIFT)
    if spec.regime == "settled":
        if spec.seed % 4 == 1:
            shown |= {"16": own(16), "32": own(32)}
        if spec.seed % 2 == 0:
            shown |= {"foreign": sample(_FOREIGN[spec.domain], COUNT, held_back=True)}
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
        trials[name] = _trials(modules, pictures, 4 if name == "own" else 2)
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


def measure(work: Path, spec: Spec) -> None:
    """Store all trials of a network as NAME.json."""
    path, out = work / f"{spec.name}.pth", work / f"{spec.name}.json"
    if path.exists():
        whole(out, json.dumps(measured(spec, path)).encode())


def learn(work: Path, spec: Spec) -> None:
    """Store a trained network as NAME.pth."""
    module, accuracy = train(spec)
    buffer = io.BytesIO()
    torch.save({"state_dict": module.state_dict(), "accuracy": accuracy}, buffer)
    whole(work / f"{spec.name}.pth", buffer.getvalue())


def whole(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.rename(path)


def each(step: Callable[[Path, Spec], None], work: Path, ending: str, jobs: int) -> None:
    """Take a step with every network that has no result of it yet, several at a time."""
    todo = [s for s in specs() if not (work / f"{s.name}.{ending}").exists()]
    random.Random(0).shuffle(todo)  # so that a part of the study is of all kinds
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, torch.set_num_threads, (1,)) as pool:
        running = {pool.submit(step, work, spec): spec for spec in todo}
        for count, future in enumerate(as_completed(running), 1):
            future.result()
            print(f"{step.__name__} {count} of {len(todo)}: {running[future].name}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--jobs", type=int, default=2)
    for step in ("train", "measure", "judge"):
        parser.add_argument(f"--{step}", action="store_true", help="this step alone")
    given = parser.parse_args()
    every = not (given.train or given.measure or given.judge)
    given.work.mkdir(parents=True, exist_ok=True)
    if given.train or every:
        each(learn, given.work, "pth", given.jobs)
    if given.measure or every:
        each(measure, given.work, "json", given.jobs)
    if given.judge or every:
        from benchmarks.imprint_judge import result

        store("imprint", result(given.work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
