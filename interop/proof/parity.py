"""A module and its exported graph, one input -> do they answer alike, at every batch size?

The yardstick is the module itself in float64: how far native float32 is from it says how far
anything computed in float32 may be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.errors import first_line
from interop.facts import Json, Proof, ProofName
from interop.models.signature import unmarked
from interop.proof.feed import SINGLE, Feed, Shapes
from interop.proof.float64_reference import exact
from interop.runtimes import TorchRuntime
from interop.runtimes.base import Array, Batch, Runtime
from interop.runtimes.memory import give_back
from interop.stats import detections

NAME = ProofName.PARITY
MULTIPLE = 8.0
FLOOR = 4.0
STATED = 1e-4
MOST = 1e-3
# Of detections: a hundredth of the largest coordinate, a few pixels. What is regressed from
# features that differ by rounding is clipped, ranked and cut, and strays further than others do.
MOST_OF_SETS = 1e-2
# CUDA adds in whatever order its threads arrive; a CPU repeats itself to the last bit.
REPEATS = {"cpu": 0.0, "cuda": 1e-6}
DRAWS = 4  # inputs that are judged together
KEPT = 1e-5  # of the largest output: what is further from an earlier answer is another answer
UNSTEADY = "the module answers differently to the same input: it is random or keeps state"

Run = Callable[[Batch], tuple[Array, ...]]
Widely = Callable[[Batch], tuple[Array, ...] | None]
Answered = tuple[Batch, tuple[Array, ...]]  # an input, and what was given for it


@dataclass(frozen=True, slots=True)
class Reference:
    """What an exported model is held against.

    For each batch of `batches`: its `labels`, what it is ("1", "2", "input 1"); `native`,
    the module's outputs; `truth`, what the graph's outputs are compared with (float64 for the
    first batch where `against` says so, else native); and `bounds`, a number an output: how far
    off it may be, relative to its largest absolute value. `native_error` is native's own distance
    from float64, an output each, by the same measure. `unsteady` says that the module did not
    answer alike when it was asked the same again. `sets` are the outputs' names where they are a
    set of detections, of which `alone` may be without a partner; then there is one bound.
    `widely` runs a batch in float64, where that can be had; `eps` is the module's rounding.
    `refused` are the labels of batches that the module itself does not take.
    """

    batches: tuple[Batch, ...]
    native: tuple[tuple[Array, ...], ...]
    truth: tuple[tuple[Array, ...], ...]
    bounds: tuple[tuple[float, ...], ...]
    native_error: tuple[float, ...]
    against: str
    samples: str = "seeded"
    fixed_batch: int | None = None
    unsteady: bool = False
    labels: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    alone: int = 0
    eps: float = 0.0
    widely: Widely | None = None
    refused: tuple[str, ...] = ()

    def without(self, labels: Collection[str]) -> Reference:
        """The same comparison without some batches, whose bounds are not these."""
        return self._of([i for i, label in enumerate(self.labels) if label not in labels])

    def only(self, i: int) -> Reference:
        """The same comparison on one of its batches."""
        return self._of([i])

    def _of(self, places: Collection[int]) -> Reference:
        changed: dict[str, Any] = {
            name: tuple(x for i, x in enumerate(getattr(self, name)) if i in places)
            for name in ("batches", "native", "truth", "bounds", "labels")
        }
        return replace(self, **changed)


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """One batch's worst output: how far off it is, and how far it may be (relative).

    `batch` says which batch it was.
    """

    batch: str
    relative: float
    allowed: float
    fault: str = ""
    ran: bool = True

    @property
    def holds(self) -> bool:
        return not self.fault and self.relative <= self.allowed


def reference(
    module: nn.Module,
    feed: Feed,
    *,
    shapes: Shapes | None = None,
    device: str = "cpu",
    sets: tuple[str, ...] = (),
    answered: Answered | None = None,
) -> Reference:
    """Runs the module natively on the feed's batches.

    `shapes` are the graph's, an input each: they say whether the batch is open (`Feed.batches`).
    `sets` are the names of outputs that are a set of detections. `answered` is what the module gave
    for an input before, ahead of its conversion say.

    The bound, for each output, with d(a, b) the largest absolute difference and s the largest
    absolute value in float64: native_error = d(native, float64) / s at the first batch, and
    allowed = MULTIPLE * native_error + FLOOR * eps of the module's dtype. Both runtimes round the
    same sums in another order, so their distances from the truth are drawn from like
    distributions; the maximum over a dozen outputs of one draw lies within a few times that of
    another, hence the multiple. The floor is for small models that are lucky enough to round to
    nothing. At other batches the native outputs stand in for float64, and the bound grows by
    native_error (triangle inequality); one that exceeds it is judged by a float64 run of its own.
    No bound exceeds 1e-3, or the square root of eps where the dtype is coarser: where native has
    fewer digits right, as with dropout left on, nothing can be compared. Modules
    that cannot run in float64 are held to a stated 1e-4 from native instead. Of detections,
    matched one to one, the distance is the largest within a pair, and as many may be without a
    partner as MULTIPLE times those that native has none for in float64; every picture is run in
    float64, as what is found in one says little of the next.

    The first batch is asked twice: `answered` counts where it is of the same input and the same to
    the last bit (on a CPU, one that is more than KEPT off is a change), else it runs once more
    after all others. If the answer changes (in any bit on a CPU), the module is `unsteady` and no
    graph can be equal to it.
    """
    feeds = feed.batches(shapes)
    labels, batches = tuple(what for what, _ in feeds), tuple(batch for _, batch in feeds)
    wide = [exact(module, batch) for batch in (batches if sets else batches[:1])]
    give_back()
    home = next(module.parameters(), torch.empty(0)).device
    with TorchRuntime(module, device) as runtime:
        ran = [_natively(runtime, module, b, must=i == 0) for i, b in enumerate(batches)]
        taken = [i for i, out in enumerate(ran) if out is not None]
        refused = tuple(x for x, out in zip(labels, ran, strict=True) if out is None)
        wide = [wide[i] for i in taken if i < len(wide)]
        labels, batches = tuple(labels[i] for i in taken), tuple(batches[i] for i in taken)
        native = tuple(out for out in ran if out is not None)
        unsteady = not _steady(runtime, batches[0], native[0], answered, REPEATS[device])
    module.to(home)
    give_back()
    reference = Reference(
        batches, native, native, (), (), "native", feed.samples, feed.fixed_batch(shapes),
        unsteady, labels, sets, eps=rounding(module), widely=lambda batch: exact(module, batch),
        refused=refused,
    )  # fmt: skip
    return _bounded(reference, wide, rounding(module))


def _natively(
    runtime: TorchRuntime, module: nn.Module, batch: Batch, *, must: bool
) -> tuple[Array, ...] | None:
    """What the module gives; None where it refuses: a graph may leave an axis open of which the
    module itself takes one size alone, and nothing is to be compared at another. Such a try leaves
    no mark; one that it answers may, and is then found out when it is asked again."""
    try:
        with unmarked(module, only_after_error=True):
            return runtime.outputs(batch)
    except Exception:  # whatever the module's own code raises
        if must:
            raise
    return None


def _bounded(
    reference: Reference, wides: Sequence[tuple[Array, ...] | None], eps: float
) -> Reference:
    """The reference with its bounds, from what the module gives in float64.

    `wides` are the first batch's outputs there, of detections every picture's.
    """
    native, least = reference.native, FLOOR * eps
    at_most = MOST_OF_SETS if reference.sets else most(eps)
    truths = [wide for wide in wides if wide is not None]
    if len(truths) < len(wides):
        stated = tuple(STATED if is_float(o) else 0.0 for o in native[0])
        if reference.sets:
            stated = (STATED,)
        error = tuple(0.0 for _ in stated)
        return replace(reference, bounds=(stated,) * len(native), native_error=error)
    alone = 0
    if reference.sets:
        own = [detections.apart(n, w, reference.sets) for n, w in zip(native, truths, strict=True)]
        error = (max(o.relative for o in own),)
        alone = int(MULTIPLE * max(o.alone for o in own))
        floats = [True]
    else:
        error = tuple(relative(n, e) for n, e in zip(native[0], truths[0], strict=True))
        floats = [is_float(o) for o in native[0]]
    first = tuple(
        min(MULTIPLE * d + least, at_most) if is_float else 0.0
        for d, is_float in zip(error, floats, strict=True)
    )
    later = tuple(min(a + d, at_most) if a else 0.0 for a, d in zip(first, error, strict=True))
    return replace(
        reference,
        truth=(*truths, *native[len(truths) :]),
        bounds=(first, *(later for _ in native[1:])),
        native_error=error,
        against="float64",
        alone=alone,
    )


def differences(held: Reference, run: Run) -> list[OutputDifference]:
    """How far `run` is from the reference, batch by batch; the comparison itself.

    A run that fails or that gives outputs of another number or shape differs too: a fault.
    """
    differences = []
    labels = held.labels or tuple(str(_rows(b)) for b in held.batches)
    for what, batch, truth, bounds in zip(
        labels, held.batches, held.truth, held.bounds, strict=True
    ):
        try:
            outputs = run(batch)
        except Exception as error:  # a runtime's own, of whatever class
            fault = f"it fails: {first_line(error, 240)}"
            differences.append(OutputDifference(what, float("inf"), 0.0, fault, ran=False))
            continue
        if held.sets:
            differences.append(_sets(what, outputs, truth, bounds[0], held))
        else:
            differences.append(_worst(what, outputs, truth, bounds))
    return differences


def parity(held: Reference, runtime: Runtime, first: tuple[Array, ...] | None = None) -> Proof:
    """Proves "parity": every output of every batch within its bound, all finite, and repeatable.

    `first` is what `runtime` gave for the first batch, where it was asked before.

    The facts also tell how many predictions would flip (the largest of a row of outputs becoming
    another) and how many rows are `close`: their two largest outputs lie within the bound, so that
    rounding alone could flip them. A fixed batch axis stands in `fixed_batch`.
    """
    start = perf_counter()
    given: list[tuple[Array, ...]] = []

    def run(batch: Batch) -> tuple[Array, ...]:
        given.append(runtime.outputs(batch) if given or first is None else first)
        return given[-1]

    gaps, again = differences(held, run), []
    for i, d in enumerate(gaps):
        if i and not d.holds and not d.fault and (own := _once_more(held, i, given[i])):
            gaps[i] = own
            again.append(d.batch)
    holds = all(d.holds for d in gaps) and not held.unsteady
    facts: dict[str, Json] = {
        "batches": {
            d.batch: {"relative": json_number(d.relative), "allowed": json_number(d.allowed)}
            for d in gaps
        },
        "native_error": [json_number(e) for e in held.native_error],
        "multiple": MULTIPLE,
        "against": held.against,
        "samples": held.samples,
        "device": runtime.device,
        "repeatable": not held.unsteady,
    }  # fmt: skip
    if not held.sets:  # of each output by itself, the widest of all batches
        facts["bounds"] = [max(b) for b in zip(*held.bounds, strict=True)]
    if again:
        facts["by_their_own_float64"] = again
    if held.refused:
        facts["refused_by_the_module"] = list(held.refused)
    if held.fixed_batch:
        facts["fixed_batch"] = held.fixed_batch
    if held.sets:
        facts["detections"] = [len(n[held.sets.index("scores")]) for n in held.native]
        facts["alone_allowed"] = held.alone
    elif len(given) == len(held.native):
        facts |= _predictions(held, given)
    return Proof(NAME, holds, _sentence(held, gaps, facts), facts, perf_counter() - start)


def elsewhere(
    held: Reference,
    module: nn.Module,
    native: TorchRuntime,
    ours: Run,
    draw: Callable[[int], Batch],
    what: str,
) -> OutputDifference | None:
    """One more input, of other sizes; None where the module itself refuses it.

    `native` runs `module`, `draw` gives an input for a seed. The bound is that of the reference's
    later batches. Where it is exceeded, a float64 run of its own judges (always, of detections);
    and where that is exceeded by little, float64 runs of a few inputs together: a single number may
    by luck be computed to its last digit, or lie near zero.
    """
    found = _answerable(native, module, draw)
    if found is None:
        return None
    batch, answer = found
    one = replace(
        held.only(len(held.batches) - 1),
        batches=(batch,), native=(answer,), truth=(answer,), labels=(what,),
    )  # fmt: skip
    if held.sets:
        one = _bounded(one, [exact(module, batch)], held.eps)
    given: list[tuple[Array, ...]] = []

    def run(given_batch: Batch) -> tuple[Array, ...]:
        given.append(ours(given_batch))
        return given[-1]

    (elsewhere,) = differences(one, run)
    if elsewhere.holds or elsewhere.fault:
        return elsewhere
    own = _once_more(one, 0, given[-1])
    if own is None or own.holds or own.fault or own.relative > MOST:
        return own or elsewhere
    return _together(held, what, native, ours, [draw(seed) for seed in range(DRAWS)]) or own


def _answerable(
    native: TorchRuntime, module: nn.Module, draw: Callable[[int], Batch]
) -> tuple[Batch, tuple[Array, ...]] | None:
    """An input that the module takes, with its answer; None if it refuses the size.

    It may refuse values (an empty sequence), or have no finite answer to them (a row that is masked
    as a whole): then a few others are drawn. The last one stands, finite or not.
    """
    found = None
    for seed in range(DRAWS):
        batch = draw(seed)
        answer = _natively(native, module, batch, must=False)
        if answer is not None:
            found = batch, answer
            if all(np.isfinite(a).all() for a in answer):
                break
        arrays = batch.values() if isinstance(batch, Mapping) else [batch]
        if all(map(is_float, arrays)):  # no other number makes a difference to what is taken
            break
    return found


def _together(
    reference: Reference, what: str, native: TorchRuntime, ours: Run, batches: Sequence[Batch]
) -> OutputDifference | None:
    """Several inputs, and the reference's first, as if they were one: the largest errors, of the
    largest output of all."""
    assert reference.widely is not None
    scales = [float(np.abs(t).max(initial=0)) for t in reference.truth[0]]
    known = zip(reference.native_error, scales, strict=True)
    sums = {i: [0.0, error * scale, scale] for i, (error, scale) in enumerate(known)}
    for batch in batches:
        truth = reference.widely(batch)
        if truth is None:
            return None
        for i, (a, b, t) in enumerate(zip(ours(batch), native.outputs(batch), truth, strict=True)):
            if a.shape != t.shape or not np.isfinite(a).all():
                return None
            errors = [float(np.abs(x.astype(np.float64) - t).max(initial=0)) for x in (a, b)]
            sums[i][:] = map(max, sums[i], (*errors, float(np.abs(t).max(initial=0))))
    least = FLOOR * reference.eps
    gaps = [
        OutputDifference(what, a / t, min(MULTIPLE * b / t + least, most(reference.eps)))
        for a, b, t in sums.values()
        if t
    ]
    return max(gaps, key=lambda d: d.relative / d.allowed) if gaps else None


def _once_more(reference: Reference, i: int, ours: tuple[Array, ...]) -> OutputDifference | None:
    """One batch by its own float64 run, where it was held against native and the bound of the
    first: how far float32 strays differs from input to input, most in deep networks.
    """
    if reference.widely is None or reference.sets or reference.against != "float64":
        return None
    wide = reference.widely(reference.batches[i])
    if wide is None:
        return None
    one = replace(reference.only(i), native=(reference.native[i],))
    bounded = _bounded(one, [wide], reference.eps)
    return _worst(reference.labels[i], ours, bounded.truth[0], bounded.bounds[0])


def _rows(batch: Batch) -> int:
    first = next(iter(batch.values())) if isinstance(batch, Mapping) else batch
    return len(first)


def _steady(
    runtime: TorchRuntime,
    batch: Batch,
    native: tuple[Array, ...],
    answered: Answered | None,
    allowed: float,
) -> bool:
    """Whether the module answers alike when it is asked a second time."""
    if answered is not None and _same_input(answered[0], batch):
        if repeated(native, answered[1], allowed):
            return True
        # What it counts or keeps has made it another module since; another device only rounds.
        if not allowed and not repeated(native, answered[1], KEPT):
            return False
    return repeated(native, runtime.outputs(batch), allowed)


def _same_input(a: Batch, b: Batch) -> bool:
    ours, theirs = (list(x.values()) if isinstance(x, Mapping) else [x] for x in (a, b))
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def _sets(
    what: str, outputs: Sequence[Array], truth: Sequence[Array], bound: float, reference: Reference
) -> OutputDifference:
    """One picture's detections against the reference's."""
    if len(outputs) != len(truth) or not all(np.isfinite(a).all() for a in outputs):
        relative = float("inf")
        return OutputDifference(what, relative, 0.0, "detections that are not finite, or not all")
    rows = {name: len(array) for name, array in zip(reference.sets, outputs, strict=True)}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{n} {name}" for name, n in rows.items())
        fault = f"as many of each are wanted, and it has {counts}"
        return OutputDifference(what, float("inf"), 0.0, fault)
    comparison = detections.apart(outputs, truth, reference.sets)
    fault = ""
    if comparison.alone > reference.alone:
        fault = (
            f"{comparison.alone} detections of {comparison.count} have no partner of their label "
            f"and place, where {reference.alone} may be without"
        )
    elif not comparison.count:
        fault = "nothing is detected, so nothing can be compared: give pictures with --data"
    return OutputDifference(what, comparison.relative, bound, fault)


def repeated(first: Sequence[Array], again: Sequence[Array], allowed: float) -> bool:
    """Whether two answers to one input are the same, NaN for NaN, or `allowed` apart (relative)."""
    if [(a.shape, a.dtype) for a in first] != [(a.shape, a.dtype) for a in again]:
        return False
    for a, b in zip(first, again, strict=True):
        same = np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
        # A module's own NaN is another fault, and not a comparison's to judge.
        if not same and not (allowed and is_float(a) and relative(a, b) <= allowed):
            return False
    return True


def _worst(
    size: str, outputs: Sequence[Array], truth: Sequence[Array], bounds: Sequence[float]
) -> OutputDifference:
    if [o.shape for o in outputs] != [t.shape for t in truth]:
        shapes = [tuple(o.shape) for o in outputs], [tuple(t.shape) for t in truth]
        fault = f"outputs of shape {shapes[0]} where the module gives {shapes[1]}"
        return OutputDifference(size, float("inf"), 0.0, fault)
    if not all(np.isfinite(a).all() for a in (*outputs, *truth)):
        return OutputDifference(size, float("inf"), 0.0, "outputs that are not finite")
    gaps = [
        OutputDifference(size, relative(o, t), bound)
        for o, t, bound in zip(outputs, truth, bounds, strict=True)
    ]
    # The output that is furthest beyond its bound, or nearest to it.
    return max(gaps, key=lambda d: d.relative / d.allowed if d.allowed else d.relative)


def relative(a: Array, b: Array) -> float:
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


def distance(a: Array, b: Array) -> float:
    """As `relative`, of arrays that may not be finite: infinite where those places differ.

    Arrays of other types than floating point are 0 apart if they are equal, else infinitely far.
    """
    if a.shape != b.shape:
        return float("inf")
    if not b.size:
        return 0.0
    if not is_float(b):
        return 0.0 if np.array_equal(a, b) else float("inf")
    wide = np.complex128 if np.iscomplexobj(b) else np.float64
    a, b = a.astype(wide), b.astype(wide)
    finite = np.isfinite(b)
    if not finite.all():  # a mask of minus infinity is alike where it is the same mask
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return float("inf")
        a, b = a[finite], b[finite]
        if not b.size:
            return 0.0
    if not np.isfinite(a).all():
        return float("inf")
    return relative(a, b)


def is_float(array: Array) -> bool:
    """Whether an output has numbers that rounding changes."""
    return np.issubdtype(array.dtype, np.inexact)


def most(eps: float) -> float:
    """The largest bound of a dtype with this rounding: beyond it nothing can be compared."""
    return float(max(MOST, eps**0.5))


def rounding(module: nn.Module) -> float:
    """The coarsest rounding among the module's floating-point tensors."""
    floats = [t.dtype for t in module.state_dict().values() if t.is_floating_point()]
    return max((torch.finfo(d).eps for d in floats), default=torch.finfo(torch.float32).eps)


def _predictions(reference: Reference, given: Sequence[tuple[Array, ...]]) -> dict[str, Any]:
    """Flips and close calls over all rows of a first output (n, classes); {} for other shapes."""
    flips = close = rows = 0
    for native, ours, bounds in zip(reference.native, given, reference.bounds, strict=True):
        if native[0].ndim != 2 or native[0].shape[1] < 2 or ours[0].shape != native[0].shape:
            return {}
        if not is_float(native[0]):  # labels and masks are no scores
            return {}
        top = np.sort(native[0], axis=1)
        reach = 2 * (bounds[0] + reference.native_error[0]) * np.abs(native[0]).max()
        close += int((top[:, -1] - top[:, -2] <= reach).sum())
        flips += int((native[0].argmax(1) != ours[0].argmax(1)).sum())
        rows += len(native[0])
    return {"predictions": rows, "flips": flips, "close": close}


def _sentence(
    reference: Reference, gaps: Sequence[OutputDifference], facts: dict[str, Json]
) -> str:
    if reference.unsteady:
        return UNSTEADY
    bad = [d for d in gaps if not d.holds]
    if bad:
        d = bad[0]
        front = "" if d.batch.startswith(SINGLE) else "batch "
        if d.fault:
            return f"{front}{d.batch}: {d.fault}"
        return (
            f"{front}{d.batch}: outputs {d.relative:.1e} of the largest apart, "
            f"where {d.allowed:.1e} is the bound"
        )
    worst = max(gaps, key=lambda d: d.relative)
    sentence = (
        f"{_at([d.batch for d in gaps])}, outputs at most {worst.relative:.1e} of the largest "
        f"apart ({worst.allowed:.1e} allowed) on {reference.samples} input"
    )
    if reference.sets:
        sentence += f"; {sum(facts['detections'])} detections matched as sets"
    if "flips" in facts:
        flips, count = facts["flips"], facts["predictions"]
        sentence += f"; {flips} of {count} predictions flip" if flips else f"; no flip in {count}"
    if reference.fixed_batch:
        sentence += f"; the graph takes batches of {reference.fixed_batch} alone"
    return sentence


def _at(batches: Sequence[str]) -> str:
    """ "at batch 1, 2 and 3" """
    plain = [b for b in batches if b.isdecimal()]
    if not plain:
        return f"on {len(batches)} inputs"
    at = plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"
    return f"at batch {at}"


def json_number(number: float) -> float | str:
    """A figure as JSON has it: "inf" and "nan" are strings."""
    return number if np.isfinite(number) else str(number)
