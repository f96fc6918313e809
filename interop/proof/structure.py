"""An ONNX file -> is it a sound graph that ONNX Runtime loads and that gives finite numbers?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx

from interop.errors import ModelError
from interop.facts import Json, Proof, ProofName
from interop.proof import graph as graphs
from interop.proof.feed import Feed
from interop.runtimes import OnnxRuntime
from interop.runtimes.base import Array

NAME = ProofName.STRUCTURE
_SHOWN = 4
_HIDDEN = 1 / 8  # of the numbers of a mask are -inf, at the least
RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
     "Multinomial")
)  # fmt: skip


def structure(
    model: Path,
    feed: Feed,
    *,
    width: int | None = None,
    device: str = "cpu",
    weights: Collection[str] | None = None,
    graph: onnx.ModelProto | None = None,
    opened: OnnxRuntime | None = None,
) -> tuple[Proof, OnnxRuntime | None, tuple[Array, ...]]:
    """Proves "structure"; gives the session that it had to open (None where that failed), too, and
    what that answered to the first batch (() where it did not).

    onnx.checker passes, no node draws random numbers, ONNX Runtime loads the graph on `device`,
    every float initialiser and the outputs for the first batch of `feed` are finite, and the first
    output is as wide as the head has rows (`width`; None: the model has no head): along axis 1, or
    along the last one where it gives a row for each place of a sequence. `weights` are the names of
    the checkpoint's own numbers; other initialisers are constants of the code, of which -inf is a
    mask. None: no name says which is which, and all are held to be weights. `graph` is what was
    read of the file already, `opened` the session that runs it. Raises DeviceMissing.
    """
    start = perf_counter()
    faults: list[str] = []
    facts: dict[str, Json] = {"width": width, "device": device}
    try:
        onnx.checker.check_model(str(model))
    except onnx.checker.ValidationError as error:
        faults.append(f"onnx.checker refuses it: {graphs.line(error)}")
    graph = graph if graph is not None else graphs.read(model)
    facts["opset"] = {o.domain or "ai.onnx": o.version for o in graph.opset_import}
    facts["nodes"] = len(graph.graph.node)
    faults += _faults_of_weights(graph, model.parent, weights, facts)
    drawing = [f"{n.name or n.output[0]} ({n.op_type})" for n in graphs.nodes_of(graph.graph)
               if n.op_type in RANDOM]  # fmt: skip
    if drawing:
        faults.append(
            f"it draws random numbers at each run: {', '.join(drawing[:_SHOWN])}; leave what is "
            "random in training out of the module"
        )
    runtime: OnnxRuntime | None = None
    outputs: tuple[Array, ...] = ()
    try:
        runtime = opened or OnnxRuntime(model, device, spin=False, arena=False)
        outputs = runtime.outputs(feed.one(runtime.input_shapes))
        faults += _faults_of_outputs(outputs, width, facts)
    except ModelError as error:
        faults.append(error.what)
    except Exception as error:  # ONNX Runtime's own
        faults.append(f"ONNX Runtime cannot run it: {graphs.line(error)}")
    if faults:
        what = "; ".join(faults)
        return Proof(NAME, False, what, facts, perf_counter() - start), runtime, outputs
    wide = f", outputs as wide as the head ({width})" if width is not None else ""
    what = f"onnx.checker passes, ONNX Runtime loads it{wide}, weights and outputs are finite"
    return Proof(NAME, True, what, facts, perf_counter() - start), runtime, outputs


def _faults_of_outputs(
    outputs: tuple[Array, ...], width: int | None, facts: dict[str, Json]
) -> list[str]:
    faults = []
    facts["outputs"] = [list(o.shape) for o in outputs]
    if not outputs:
        faults.append("no outputs")
    elif width is not None and width not in _widths(outputs[0].shape):
        own_width = outputs[0].shape[1] if outputs[0].ndim > 1 else outputs[0].shape
        faults.append(f"output width {own_width}, the head has {width} rows")
    if not all(np.isfinite(o).all() for o in outputs):
        faults.append("outputs that are not finite")
    return faults


def _widths(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes on which an output may have a number for each row of the head."""
    return shape[1:2] if len(shape) == 2 else (*shape[1:2], *shape[-1:]) if len(shape) > 2 else ()


def _faults_of_weights(
    graph: onnx.ModelProto, folder: Path, weights: Collection[str] | None, facts: dict[str, Json]
) -> list[str]:
    wrong: dict[str, bool] = {}
    try:
        for t in graph.graph.initializer:
            if graphs.DTYPES.get(t.data_type) in graphs.FLOATS:
                own = weights is None or t.name in weights
                if not (_sound if own else _constant)(graphs.values(t, folder)):
                    wrong[t.name] = own
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        return [f"its weights cannot be read: {graphs.line(error)}"]
    if weights is not None:
        facts["broken_weights"] = [name for name, own in wrong.items() if own]
    return [f"weights that are not finite: {', '.join(list(wrong)[:_SHOWN])}"] if wrong else []


def _sound(numbers: Array) -> bool:
    """Whether all numbers are finite, or the tensor is a mask: -inf and one finite number."""
    finite = np.isfinite(numbers)
    if finite.all():
        return True
    kept = numbers[finite]
    return bool(np.isneginf(numbers[~finite]).all() and kept.size and kept.min() == kept.max())


def _constant(numbers: Array) -> bool:
    """Whether a constant of the code is one that arithmetic can go on with: -inf hides places, and
    not only here and there, as where numbers overflowed."""
    hidden = np.isneginf(numbers)
    return _sound(numbers) or bool(
        (np.isfinite(numbers) | hidden).all() and hidden.mean() >= _HIDDEN
    )
