"""A graph and the same in a lower precision, on one set of batches -> how their answers differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from interop.errors import DataError, ModelError
from interop.facts import Group, Json, Measurement, Unit
from interop.proof import graph as graphs
from interop.proof.activation_ranges import on_the_way
from interop.runtimes import OnnxRuntime
from interop.stats.intervals import change, share

_HALF = float(np.finfo(np.float16).max)
_MARGINS = (0.0, 0.05, 0.5, 0.95)


def compare(
    native: OnnxRuntime,
    lower: OnnxRuntime,
    batches: Iterable[Any],
    labels: NDArray[np.int64] | None = None,
) -> tuple[Measurement, ...]:
    """How the lower precision's answers differ from the graph's own, on the same batches.

    Both runtimes are of files. Where the samples are those that int8-static took its ranges from,
    the figures are better than on others.

    Differences are of all outputs, each relative to its largest absolute value. Where the first
    output is (n, classes), also flips, agreement and margins (the largest class score less the
    second, in the graph's own answers); with `labels` (n,) the accuracy of both, its change and
    McNemar's exact test; of a float16 graph, how much of float16's range is used. Raises ModelError
    where an output, or in float16 any node's, is not finite, naming the first node.
    """
    given = list(batches)
    ours = [native.outputs(batch) for batch in given]
    theirs = [lower.outputs(batch) for batch in given]
    _finite(native, ours, given)
    _finite(lower, theirs, given)
    if not ours:
        raise DataError("no sample to compare on", where="--precision", fix="give --data")
    conditions: dict[str, Json] = {
        "group": Group.CHANGE_OF_PRECISION,
        "of": Path(lower.where).name,
        "against": Path(native.where).name,
        "samples": sum(len(outputs[0]) if outputs[0].ndim else 1 for outputs in ours),
    }
    measured = list(drift(ours, theirs, conditions))
    if _is_half(Path(lower.where)):
        measured.insert(2, _range_used(native, lower, given, conditions))
    if labels is not None and _scores(ours):
        first, second = (np.concatenate([o[0] for o in side]) for side in (ours, theirs))
        measured += _accuracies(first, second, labels, conditions)
    return tuple(measured)


def drift(
    ours: Sequence[tuple[NDArray[Any], ...]],
    theirs: Sequence[tuple[NDArray[Any], ...]],
    conditions: Mapping[str, Json],
) -> tuple[Measurement, ...]:
    """How answers of a lower precision differ, batch by batch, from those of the full one: the
    differences of all outputs, and flips, agreement and margins of scores (n, classes)."""
    measured = _differences(ours, theirs, conditions)
    if _scores(ours):
        first, second = (np.concatenate([o[0] for o in side]) for side in (ours, theirs))
        measured += _flips(first, second, conditions)
    return tuple(measured)


def _scores(outputs: Sequence[tuple[NDArray[Any], ...]]) -> bool:
    """Whether the first output has a row of class scores for each sample."""
    return all(o[0].ndim == 2 and o[0].shape[1] == outputs[0][0].shape[1] > 1 for o in outputs)


def _differences(
    ours: Sequence[tuple[NDArray[Any], ...]],
    theirs: Sequence[tuple[NDArray[Any], ...]],
    conditions: Mapping[str, Json],
) -> list[Measurement]:
    """The largest and the mean over an output's elements; of several outputs, the worst."""
    largest, means = [], []
    for a, b in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        # Batch by batch: texts of several lengths have outputs of several shapes.
        scale = max(float(np.abs(x).max(initial=0)) for x in a) or 1.0
        off = [np.abs(x.astype(np.float64) - y).ravel() / scale for x, y in zip(a, b, strict=True)]
        joined = np.concatenate(off)
        largest.append(float(joined.max(initial=0)))
        means.append(float(joined.mean()) if joined.size else 0.0)
    about = {**conditions, "relative_to": "the output's largest absolute value"}
    worst = {**about, "outputs": largest} if len(largest) > 1 else about
    return [
        Measurement("largest output difference", Unit.SHARE, max(largest), conditions=worst),
        Measurement("mean output difference", Unit.SHARE, max(means), conditions=about),
    ]


def _flips(a: NDArray[Any], b: NDArray[Any], conditions: Mapping[str, Json]) -> list[Measurement]:
    flipped = a.argmax(axis=1) != b.argmax(axis=1)
    best = np.sort(a, axis=1)
    margins = best[:, -1] - best[:, -2]
    kept, lost = margins[~flipped], margins[flipped]
    smallest = float(kept.min()) if kept.size else None
    largest = float(lost.max()) if lost.size else None
    return [
        Measurement("flips", Unit.COUNT, float(flipped.sum()), conditions=conditions),
        share("flipped share", flipped, conditions),
        share("agreement", ~flipped, conditions),
        _margin("margin", margins, conditions),
        _margin("margin of flipped", lost, conditions),
        Measurement("smallest margin kept", Unit.ABS, smallest, conditions=conditions),
        Measurement("largest margin that flipped", Unit.ABS, largest, conditions=conditions),
    ]


def _margin(name: str, margins: NDArray[Any], conditions: Mapping[str, Json]) -> Measurement:
    """The median, with other quantiles beside it."""
    if not margins.size:
        return Measurement(name, Unit.ABS, None, conditions=conditions)
    spread = {f"{100 * q:g} %": float(np.quantile(margins, q)) for q in _MARGINS}
    about = {**conditions, "quantiles": spread}
    return Measurement(name, Unit.ABS, float(np.median(margins)), conditions=about)


def _accuracies(
    a: NDArray[Any], b: NDArray[Any], labels: NDArray[np.int64], conditions: Mapping[str, Json]
) -> list[Measurement]:
    if len(labels) != len(a):
        what = f"{len(labels)} labels for {len(a)} samples"
        raise DataError(what, where="--data", fix="give one a sample")
    before, after = a.argmax(axis=1) == labels, b.argmax(axis=1) == labels
    return [
        share("top-1", before, {**conditions, "of": "model.onnx"}),
        share("top-1", after, conditions),
        *change(before, after, conditions),
    ]


def _finite(
    runtime: OnnxRuntime, outputs: Sequence[Sequence[NDArray[Any]]], batches: Sequence[Any]
) -> None:
    for arrays, batch in zip(outputs, batches, strict=True):
        if not all(np.isfinite(o).all() for o in arrays if o.dtype.kind == "f"):
            largest, first = on_the_way(Path(runtime.where), [batch])
            where = first if not np.isfinite(largest) else "nodes that the runtime fuses"
            raise _overflow(f"gives outputs that are not finite; the first are of {where}", runtime)


def _range_used(
    native: OnnxRuntime, lower: OnnxRuntime, batches: Sequence[Any], conditions: Mapping[str, Json]
) -> Measurement:
    """The largest value between nodes, as a share of what float16 holds.

    A CPU computes most of float16 in float32, and ONNX Runtime drops the roundings between: an
    overflow that a GPU would have need not show in the outputs.
    """
    largest, node = on_the_way(Path(lower.where), batches, Path(native.where))
    if not np.isfinite(largest):
        raise _overflow(f"a value on the way is not finite in float16: that of {node}", lower)
    about = {**conditions, "node": node}
    return Measurement("float16 range used", Unit.SHARE, largest / _HALF, conditions=about)


def _overflow(what: str, runtime: OnnxRuntime) -> ModelError:
    where = Path(runtime.where).name
    fix = "leave this --precision away: its range is too small for the model"
    return ModelError(what, where=where, fix=fix)


def _is_half(model: Path) -> bool:
    tensors = graphs.read(model).graph.initializer
    return any(t.data_type == onnx.TensorProto.FLOAT16 for t in tensors)
