"""The comparison itself on trial: a copy of the graph with one weight changed must not pass it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from interop.facts import Json, Proof, ProofName
from interop.proof import graph as graphs
from interop.proof.parity import Reference, differences, is_float
from interop.runtimes import OnnxRuntime
from interop.runtimes.base import Runtime

NAME = ProofName.CANARY
ADVICE = (
    "weights that were hardly trained answer nearly alike to every input; give real samples "
    "with --data"
)
WHOLE = (
    "its outputs are whole numbers, which small changes leave as they are; let the module give the "
    "scores that they are made of too"
)
SHARE = 0.01
ROUNDINGS = 256
_SEED = 1
_AT_ONCE = 1 << 20
_NOISE = 1_000_003  # a prime: no two rows of a matrix get the same


class Subject(Protocol):
    """What the canary changes: a model whose weights can be replaced in a copy of it."""

    def names(self) -> list[str]:
        """Its weights in the order in which an input meets them."""

    def array(self, name: str) -> NDArray[Any]:
        """The numbers of one."""

    def stored(self, name: str) -> bool:
        """Whether it is a weight by its name, rather than a constant that a tool numbered."""

    def changed(self, name: str, array: NDArray[Any]) -> Runtime:
        """A copy with that weight replaced, ready to run."""


def canary(
    model: Path | Subject,
    held: Reference,
    *,
    head: Collection[str] = (),
    device: str = "cpu",
    share: float = SHARE,
) -> Proof:
    """Proves "canary": that parity's own comparison notices a change of 1 % in one weight.

    Two weights are tried, each in a copy of its own: the one next to the input, and the head's
    (`head`: the names of its tensors; else the last weight before the output). Each is changed by
    `share` of its Euclidean norm; by 256 roundings where its dtype is so coarse that this is more
    (25 % in float16). Half of the change makes rows larger or smaller, which no activation hides;
    half is noise, which no normalisation undoes. Weights that are all zero are passed over, since
    a share of nothing is nothing; of a head that gives sets of detections, any weight will do. The
    copies live in memory; `model` (a graph's file, or any other subject) stays as it is.
    """
    start = perf_counter()
    subject = OnnxSubject(model, device) if isinstance(model, Path) else model
    facts: dict[str, Json] = {}
    names = subject.names()
    two = _two(subject, names, head)
    if not two:
        what = "no weight lies between an input and an output, so no change could be noticed"
        return Proof(NAME, False, what, facts, perf_counter() - start)
    share = facts["share"] = max(_share(dtype, share) for _, dtype in two)
    unseen = []
    for place, (chosen, _) in zip(("input", "head"), two, strict=True):
        # A detector's head has weights for each size of object: not all act in one picture.
        others = names if held.sets and place == "head" else []
        for name in (chosen, *(n for n in reversed(others) if n in head and n != chosen)):
            seen, difference = _noticed(subject, name, share, held)
            if seen:
                break
        facts[place] = {"tensor": name, "noticed": seen, "relative": difference}
        if not seen:
            shown = f"{difference:.1e}" if isinstance(difference, float) else difference
            unseen.append(f"{name} (difference {shown})")
    change = f"a change of {100 * share:.2g} %"
    if unseen:
        advice = ADVICE if any(is_float(output) for output in held.truth[0]) else WHOLE
        what = f"{change} goes unnoticed in {' and in '.join(unseen)}: {advice}"
    else:
        first, last = facts["input"]["tensor"], facts["head"]["tensor"]
        what = f"{change} in {first} and one in {last} are both noticed"
    return Proof(NAME, not unseen, what, facts, perf_counter() - start)


def _two(
    subject: Subject, names: Sequence[str], head: Collection[str]
) -> list[tuple[str, np.dtype[Any]]]:
    """The weight next to the input and the head's, with their dtypes; [] where there is none.

    Each is read by itself, and only until one is found that is not all zero.
    """

    def first(tried: Iterable[str]) -> tuple[str, np.dtype[Any]] | None:
        for name in tried:
            array = subject.array(name)
            if _norm(array) > 0:
                return name, array.dtype
        return None

    # A weight by its name rather than a constant that an exporter made and numbered.
    kept = [n for n in names if subject.stored(n)]
    last = first(n for n in reversed(names) if n in head) or first(reversed(kept))
    last = last or first(reversed(names))
    stem = first(names)
    return [stem, last] if stem and last else []


def _noticed(
    subject: Subject, name: str, share: float, reference: Reference
) -> tuple[bool, float | str]:
    with subject.changed(name, perturbed(subject.array(name), share)) as runtime:
        # One batch after the other: the first that notices settles it.
        for i in range(len(reference.batches)):
            (difference,) = differences(reference.only(i), runtime.outputs)
            if not difference.ran:  # a copy that cannot run is not noticed, it is broken
                return False, difference.fault
            if not difference.holds:
                break
    return not difference.holds, difference.fault or difference.relative


class OnnxSubject:
    """A graph in a file; changed copies of it are in memory. Codes of weights count as weights."""

    def __init__(
        self, model: Path, device: str = "cpu", graph: onnx.ModelProto | None = None
    ) -> None:
        self.model, self.device = model, device
        self.graph = graph if graph is not None else graphs.read(model)
        self.tensors = {t.name: t for t in self.graph.graph.initializer}

    def names(self) -> list[str]:
        return graphs.weights_on_the_way(self.graph)

    def array(self, name: str) -> NDArray[Any]:
        return graphs.values(self.tensors[name], self.model.parent)

    def stored(self, name: str) -> bool:
        return graphs.external(self.tensors[name]) is not None

    def changed(self, name: str, array: NDArray[Any]) -> OnnxRuntime:
        plain: dict[str, Any] = {
            "spin": False, "arena": False, "prepack": False, "optimised": False,
        }  # fmt: skip
        # numpy knows bfloat16 by extension alone, which ONNX Runtime takes in a graph only.
        if array.dtype.kind == "f" and array.ndim:
            instead, embedded = {name: array}, not self.stored(name)
            return OnnxRuntime(self.model, self.device, instead=instead, embedded=embedded, **plain)
        changed = onnx.ModelProto()
        changed.CopyFrom(self.graph)
        graphs.embed(changed, name, array)
        data = changed.SerializeToString()
        return OnnxRuntime(data, self.device, folder=self.model.parent, **plain)


def perturbed(array: NDArray[Any], share: float) -> NDArray[Any]:
    """The same tensor, `share` of its norm away."""
    random = np.random.default_rng(_SEED)
    # Three arrays at once and no more: the one next to the input may be a gigabyte of embeddings.
    kind: type[Any] = np.float64 if array.dtype == np.float64 else np.float32
    given, norm = np.atleast_1d(array), _norm(array)
    signs = random.choice([-1.0, 1.0], size=given.shape[:1] + (1,) * (given.ndim - 1))
    # A gigabyte of numbers takes seconds to draw: a million are drawn, and used over and over.
    noise = random.standard_normal(min(given.size, _NOISE), dtype=kind)
    change = np.resize(noise, given.shape)
    change /= _norm(change)
    rows = max(1, _AT_ONCE * len(given) // max(given.size, 1))
    for i in range(0, len(given), rows):
        change[i : i + rows] += given[i : i + rows].astype(kind) * (signs[i : i + rows] / norm)
    if given.size == 1:  # the two halves may cancel out
        change[:] = signs
    change *= share * norm / _norm(change)
    change += given.astype(kind, copy=False)
    if array.dtype.kind in "iu":  # codes of a quantised weight
        ends = np.iinfo(array.dtype)
        change = np.clip(np.rint(change), ends.min, ends.max)
    changed: NDArray[Any] = change.astype(array.dtype, copy=False).reshape(array.shape)
    return changed


def _share(dtype: np.dtype[Any], share: float) -> float:
    # numpy knows bfloat16 by extension alone, and its rounding is that of 8 bits.
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7
    return max(share, min(ROUNDINGS * eps, 0.5))


def _norm(array: NDArray[Any]) -> float:
    flat = np.ravel(array)
    # In float32, whose range the squares may leave; float64 is four times slower.
    for kind in (np.float32, np.float64):
        with np.errstate(over="ignore", invalid="ignore"):
            starts = range(0, flat.size, _AT_ONCE)
            parts = (flat[i : i + _AT_ONCE].astype(kind, copy=False) for i in starts)
            squares = sum(float(np.dot(part, part)) for part in parts)
        if np.isfinite(squares) and squares > np.finfo(np.float32).tiny:
            return float(squares**0.5)
    return float(squares**0.5) if np.isfinite(squares) else 0.0
