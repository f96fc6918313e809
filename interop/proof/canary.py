"""The comparison itself on trial: a copy of the graph with one weight changed must not pass it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from interop.facts import Json, Proof
from interop.proof import graph as graphs
from interop.proof.parity import Reference, differences
from interop.runtimes import OnnxRuntime

NAME = "canary"
SHARE = 0.01
ROUNDINGS = 256
_SEED = 1


def canary(
    model: Path, held: Reference, *, head: Collection[str] = (), device: str = "cpu"
) -> Proof:
    """Proves "canary": that parity's own comparison notices a change of 1 % in one weight.

    Two weights are tried, each in a copy of its own: the one next to the input, and the head's
    (`head`: the names of its tensors; else the last weight before the output). Each is changed by
    1 % of its Euclidean norm; by 256 roundings where its dtype is so coarse that this is more
    (25 % in float16). Half of the change makes rows larger or smaller, which no activation hides;
    half is noise, which no normalisation undoes. Weights that are all zero are passed over, since
    a share of nothing is nothing; of a head that gives sets of detections, any weight will do. The
    copies live in memory; `model` and its external data stay as they are.
    """
    start = perf_counter()
    graph = graphs.read(model)
    tensors = {t.name: t for t in graph.graph.initializer}
    arrays = {n: graphs.values(tensors[n], model.parent) for n in graphs.weights_on_the_way(graph)}
    names = [n for n, a in arrays.items() if _norm(a) > 0]
    facts: dict[str, Json] = {}
    if not names:
        what = "no weight lies between an input and an output, so no change could be noticed"
        return Proof(NAME, False, what, facts, perf_counter() - start)
    share = max(_share(arrays[n]) for n in graphs.choose_two(names, head))
    facts["share"] = share
    unseen = []
    for place, chosen in zip(("input", "head"), graphs.choose_two(names, head), strict=True):
        # A detector's head has weights for each size of object: not all act in one picture.
        others = [n for n in reversed(names) if n in head and n != chosen] if held.sets else []
        for name in (chosen, *(others if place == "head" else ())):
            seen, difference = _noticed(
                graph, name, perturbed(arrays[name], share), model.parent, held, device
            )
            if seen:
                break
        facts[place] = {"tensor": name, "noticed": seen, "relative": difference}
        if not seen:
            unseen.append(f"{name} (difference {difference})")
    change = f"a change of {100 * share:.2g} %"
    if unseen:
        what = f"{change} goes unnoticed in {' and in '.join(unseen)}"
    else:
        first, last = facts["input"]["tensor"], facts["head"]["tensor"]
        what = f"{change} in {first} and one in {last} are both noticed"
    return Proof(NAME, not unseen, what, facts, perf_counter() - start)


def _noticed(
    graph: onnx.ModelProto,
    name: str,
    array: NDArray[Any],
    folder: Path,
    held: Reference,
    device: str,
) -> tuple[bool, float | str]:
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    graphs.embed(changed, name, array)
    data = changed.SerializeToString()
    with OnnxRuntime(data, device, spin=False, folder=folder) as runtime:
        # One batch after the other: the first that notices settles it.
        for i in range(len(held.batches)):
            (found,) = differences(held.only(i), runtime.outputs)
            if not found.ran:  # a copy that cannot run is not noticed, it is broken
                return False, found.fault
            if not found.holds:
                break
    return not found.holds, found.fault or found.relative


def perturbed(array: NDArray[Any], share: float) -> NDArray[Any]:
    """The same tensor, `share` of its norm away."""
    random = np.random.default_rng(_SEED)
    wide = array.astype(np.float64)
    signs = random.choice([-1.0, 1.0], size=array.shape[:1] + (1,) * (array.ndim - 1))
    noise = random.standard_normal(array.shape)
    change = wide * signs / _norm(wide) + noise / float(np.linalg.norm(noise))
    scale = share * _norm(wide) / float(np.linalg.norm(change))
    changed: NDArray[Any] = (wide + scale * change).astype(array.dtype)
    return changed


def _share(array: NDArray[Any]) -> float:
    # numpy knows bfloat16 by extension alone, and its rounding is that of 8 bits.
    eps = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 2.0**-7
    return min(max(SHARE, ROUNDINGS * eps), 0.5)


def _norm(array: NDArray[Any]) -> float:
    norm = float(np.linalg.norm(array.astype(np.float64)))
    return norm if np.isfinite(norm) else 0.0
