"""A module and its exported graph, one input -> do they answer alike, at every batch size?

The yardstick is the module itself in float64: how far native float32 is from it says how far
anything computed in float32 may be.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.facts import Json, Proof
from interop.runtimes import OnnxRuntime, TorchRuntime
from interop.runtimes.base import Array
from interop.runtimes.pytorch import tensors_of

NAME = "parity"
SIZES = (1, 2, 7)
MULTIPLE = 8.0
FLOOR = 4.0
STATED = 1e-4
TOO_LARGE = 4 << 30
# CUDA adds in whatever order its threads arrive; a CPU repeats itself to the last bit.
REPEATS = {"cpu": 0.0, "cuda": 1e-6}
UNSTEADY = "the module answers differently to the same input: it is random or keeps state"
_SEED = 0

Run = Callable[[NDArray[np.float32]], tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Reference:
    """What an exported model is held against.

    For each batch of `batches`: `native`, the module's outputs; `truth`, what the graph's outputs
    are compared with (float64 for the first batch where `against` says so, else native); and
    `bounds`, a number an output: how far off it may be, relative to its largest absolute value.
    `native_error` is native's own distance from float64, an output each, by the same measure.
    `unsteady` says that the module did not answer alike when it was asked the same again.
    """

    batches: tuple[NDArray[np.float32], ...]
    native: tuple[tuple[Array, ...], ...]
    truth: tuple[tuple[Array, ...], ...]
    bounds: tuple[tuple[float, ...], ...]
    native_error: tuple[float, ...]
    against: str
    samples: str = "seeded"
    fixed_batch: int | None = None
    unsteady: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One batch's worst output: how far off it is, and how far it may be (relative)."""

    batch: int
    relative: float
    allowed: float
    fault: str = ""
    ran: bool = True

    @property
    def holds(self) -> bool:
        return not self.fault and self.relative <= self.allowed


def seeded(shape: Sequence[int], count: int = sum(SIZES)) -> NDArray[np.float32]:
    """`count` inputs of `shape` (without the batch axis), standard normal, always the same."""
    numbers = np.random.default_rng(_SEED).standard_normal((count, *shape), dtype=np.float32)
    return np.ascontiguousarray(numbers)


def reference(
    module: nn.Module,
    pictures: NDArray[np.float32],
    *,
    input_shape: Sequence[int | str | None] | None = None,
    device: str = "cpu",
    samples: str = "seeded",
) -> Reference:
    """Runs the module natively on `pictures` (n, ...), cut into batches of 1, 2 and 7.

    `input_shape` is the graph's: where its batch axis is a number, only that size is tried, and for
    every other axis that is dynamic a further batch has another size there. Fewer pictures than
    needed are used again. `samples` says what the pictures are ("real", "seeded").

    The bound, for each output, with d(a, b) the largest absolute difference and s the largest
    absolute value in float64: native_error = d(native, float64) / s at batch 1, and
    allowed = MULTIPLE * native_error + FLOOR * eps of the module's dtype. Both runtimes round the
    same sums in another order, so their distances from the truth are drawn from like
    distributions; the maximum over a dozen outputs of one draw lies within a few times that of
    another, hence the multiple. The floor is for small models that are lucky enough to round to
    nothing. At larger batches the native outputs stand in for float64, and the bound grows by
    native_error (triangle inequality). No bound exceeds the square root of eps: where native has
    fewer than half of its digits right, as with dropout left on, nothing can be compared. Modules
    over 4 GiB, and those that cannot run in float64, are held to a stated 1e-4 from native instead.

    The first and the largest batch run natively once more, after all others: where an answer
    changes (in any bit on a CPU), the module is `unsteady` and no graph can be equal to it.
    """
    fixed = input_shape[0] if input_shape else None
    fixed = fixed if isinstance(fixed, int) else None
    batches = cut(pictures, (fixed,) if fixed else SIZES)
    batches += _other_sizes(pictures, input_shape)
    exact = _in_float64(module, batches[0])
    home = next(module.parameters(), torch.empty(0)).device
    with TorchRuntime(module, device) as runtime:
        native = tuple(runtime.outputs(b) for b in batches)
        twice = {0, max(range(len(batches)), key=lambda i: batches[i].size)}
        unsteady = not all(
            _repeated(native[i], runtime.outputs(batches[i]), REPEATS[device]) for i in twice
        )
    module.to(home)
    if exact is None:
        stated = tuple(STATED if _is_float(o) else 0.0 for o in native[0])
        no_error = tuple(0.0 for _ in native[0])
        bounds = (stated,) * len(batches)
        return Reference(
            batches, native, native, bounds, no_error, "native", samples, fixed, unsteady
        )
    error = tuple(_relative(n, e) for n, e in zip(native[0], exact, strict=True))
    eps = _eps(module)
    least, most = FLOOR * eps, eps**0.5
    first = tuple(
        min(MULTIPLE * d + least, most) if _is_float(o) else 0.0
        for d, o in zip(error, native[0], strict=True)
    )
    later = tuple(min(a + d, most) if a else 0.0 for a, d in zip(first, error, strict=True))
    bounds = (first, *(later for _ in batches[1:]))
    truth = (exact, *native[1:])
    return Reference(batches, native, truth, bounds, error, "float64", samples, fixed, unsteady)


def differences(held: Reference, run: Run) -> list[Difference]:
    """How far `run` is from the reference, batch by batch; the comparison itself.

    A run that fails or that gives outputs of another number or shape differs too: a fault.
    """
    found = []
    for batch, truth, bounds in zip(held.batches, held.truth, held.bounds, strict=True):
        try:
            outputs = run(batch)
        except Exception as error:  # a runtime's own, of whatever class
            fault = f"it fails: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
            found.append(Difference(len(batch), float("inf"), 0.0, fault[:250], ran=False))
            continue
        found.append(_worst(len(batch), outputs, truth, bounds))
    return found


def parity(held: Reference, runtime: OnnxRuntime) -> Proof:
    """Proves "parity": every output of every batch within its bound, all finite, and repeatable.

    The facts also tell how many predictions would flip (the largest of a row of outputs becoming
    another) and how many rows are `close`: their two largest outputs lie within the bound, so that
    rounding alone could flip them. A fixed batch axis stands in `fixed_batch`.
    """
    start = perf_counter()
    given: list[tuple[Array, ...]] = []

    def run(batch: NDArray[np.float32]) -> tuple[Array, ...]:
        given.append(runtime.outputs(batch))
        return given[-1]

    found = differences(held, run)
    holds = all(d.holds for d in found) and not held.unsteady
    facts: dict[str, Json] = {
        "batches": {str(d.batch): {"relative": _json(d.relative), "allowed": _json(d.allowed)}
                    for d in found},
        "native_error": [_json(e) for e in held.native_error],
        "multiple": MULTIPLE,
        "against": held.against,
        "samples": held.samples,
        "device": runtime.device,
        "repeatable": not held.unsteady,
    }  # fmt: skip
    if held.fixed_batch:
        facts["fixed_batch"] = held.fixed_batch
    if len(given) == len(held.native):
        facts |= _predictions(held, given)
    return Proof(NAME, holds, _sentence(held, found, facts), facts, perf_counter() - start)


def cut(pictures: NDArray[np.float32], sizes: Sequence[int]) -> tuple[NDArray[np.float32], ...]:
    """Batches of the given sizes, one after the other; the pictures begin anew where they end."""
    index = np.arange(sum(sizes)) % len(pictures)
    ends = np.cumsum(sizes)
    return tuple(
        np.ascontiguousarray(pictures[index[e - n : e]]) for e, n in zip(ends, sizes, strict=True)
    )


def _other_sizes(
    pictures: NDArray[np.float32], input_shape: Sequence[int | str | None] | None
) -> tuple[NDArray[np.float32], ...]:
    """A batch whose dynamic axes, the batch's own apart, are longer than the pictures'."""
    axes = [i for i, n in enumerate(input_shape or ()) if i > 0 and not isinstance(n, int)]
    if not axes:
        return ()
    shape = list(pictures.shape[1:])
    for axis in axes:
        shape[axis - 1] += 32
    first = input_shape[0] if input_shape else None
    return (seeded(shape, first if isinstance(first, int) else 2),)


def _in_float64(module: nn.Module, batch: NDArray[np.float32]) -> tuple[Array, ...] | None:
    """The module's outputs in float64 on the CPU; None where that cannot be had."""
    size = sum(t.nbytes for t in module.state_dict().values())
    if size > TOO_LARGE:
        return None
    try:
        double = copy.deepcopy(module).cpu().double()
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
            found = tensors_of(double(torch.from_numpy(batch).double()))
    except Exception:  # a constant of another dtype in somebody's forward, for one
        return None
    return tuple(t.numpy() for t in found)


def _repeated(first: Sequence[Array], again: Sequence[Array], allowed: float) -> bool:
    """Whether two answers to one input are the same, NaN for NaN, or `allowed` apart (relative)."""
    if [(a.shape, a.dtype) for a in first] != [(a.shape, a.dtype) for a in again]:
        return False
    for a, b in zip(first, again, strict=True):
        same = np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
        # A module's own NaN is another fault, and not a comparison's to judge.
        if not same and not (allowed and _is_float(a) and _relative(a, b) <= allowed):
            return False
    return True


def _worst(
    size: int,
    outputs: Sequence[Array],
    truth: Sequence[Array],
    bounds: Sequence[float],
) -> Difference:
    if [o.shape for o in outputs] != [t.shape for t in truth]:
        shapes = [tuple(o.shape) for o in outputs], [tuple(t.shape) for t in truth]
        fault = f"outputs of shape {shapes[0]} where the module gives {shapes[1]}"
        return Difference(size, float("inf"), 0.0, fault)
    if not all(np.isfinite(a).all() for a in (*outputs, *truth)):
        return Difference(size, float("inf"), 0.0, "outputs that are not finite")
    made = [
        Difference(size, _relative(o, t), bound)
        for o, t, bound in zip(outputs, truth, bounds, strict=True)
    ]
    # The output that is furthest beyond its bound, or nearest to it.
    return max(made, key=lambda d: d.relative / d.allowed if d.allowed else d.relative)


def _relative(a: Array, b: Array) -> float:
    """The largest difference as a share of the largest value of `b`; 0 for two empty arrays."""
    if a.shape != b.shape:
        return float("inf")
    if not b.size:
        return 0.0
    wide = np.complex128 if np.iscomplexobj(b) else np.float64
    a, b = a.astype(wide), b.astype(wide)
    difference, scale = float(np.abs(a - b).max()), float(np.abs(b).max())
    if difference == 0:
        return 0.0
    return difference / scale if scale else float("inf")


def _is_float(array: Array) -> bool:
    return np.issubdtype(array.dtype, np.inexact)


def _eps(module: nn.Module) -> float:
    """The coarsest rounding among the module's floating-point tensors."""
    floats = [t.dtype for t in module.state_dict().values() if t.is_floating_point()]
    return max((torch.finfo(d).eps for d in floats), default=torch.finfo(torch.float32).eps)


def _predictions(held: Reference, given: Sequence[tuple[Array, ...]]) -> dict[str, Any]:
    """Flips and close calls over all rows of a first output (n, classes); {} for other shapes."""
    flips = close = rows = 0
    for native, ours, bounds in zip(held.native, given, held.bounds, strict=True):
        if native[0].ndim != 2 or native[0].shape[1] < 2 or ours[0].shape != native[0].shape:
            return {}
        top = np.sort(native[0], axis=1)
        reach = 2 * (bounds[0] + held.native_error[0]) * np.abs(native[0]).max()
        close += int((top[:, -1] - top[:, -2] <= reach).sum())
        flips += int((native[0].argmax(1) != ours[0].argmax(1)).sum())
        rows += len(native[0])
    return {"predictions": rows, "flips": flips, "close": close}


def _sentence(held: Reference, found: Sequence[Difference], facts: dict[str, Json]) -> str:
    if held.unsteady:
        return UNSTEADY
    bad = [d for d in found if not d.holds]
    if bad:
        d = bad[0]
        if d.fault:
            return f"batch {d.batch}: {d.fault}"
        return (
            f"batch {d.batch}: outputs {d.relative:.1e} of the largest apart, "
            f"where {d.allowed:.1e} is the bound"
        )
    sizes = [str(d.batch) for d in found]
    at = sizes[0] if len(sizes) == 1 else f"{', '.join(sizes[:-1])} and {sizes[-1]}"
    worst = max(found, key=lambda d: d.relative)
    sentence = (
        f"at batch {at}, outputs at most {worst.relative:.1e} of the largest apart "
        f"({worst.allowed:.1e} allowed) on {held.samples} input"
    )
    if "flips" in facts:
        flips, count = facts["flips"], facts["predictions"]
        sentence += f"; {flips} of {count} predictions flip" if flips else f"; no flip in {count}"
    if held.fixed_batch:
        sentence += f"; the graph takes batches of {held.fixed_batch} alone"
    return sentence


def _json(number: float) -> float | str:
    return number if np.isfinite(number) else str(number)
