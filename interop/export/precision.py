"""An exported graph -> a second one beside it in float16 or int8, and how their answers differ.

The conversion is ONNX Runtime's and onnxconverter-common's; what is added is that it says what was
converted, gives the same bytes again, and is measured.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from interop.errors import ConfigError, DataError, ExtraMissing, InteropError, ModelError
from interop.export import embed
from interop.facts import Json, Measurement
from interop.proof import graph as graphs
from interop.proof.statistics import change, share
from interop.runtimes import OnnxRuntime

# The names that the Hub's libraries look for.
FILES: Mapping[str, str] = {
    "float16": "model_fp16.onnx",
    "int8": "model_int8.onnx",
    "int8-static": "model_int8_static.onnx",
}
Batch = Mapping[str, NDArray[Any]]
_HALF = float(np.finfo(np.float16).max)
_TINY = 5.96e-8  # float16's smallest positive number
_PRODUCTS = ("MatMul", "Gemm")
_MARGINS = (0.0, 0.05, 0.5, 0.95)
_FEW = 4
_NEVER = 1e30  # a mask's, no sum's


def lower(
    model: Path, out: Path, precision: str, calibration: Sequence[Batch] | None = None
) -> dict[str, Json]:
    """Writes `model` in a lower precision to `out`; what was done comes back as facts.

    "float16": weights and arithmetic in float16, inputs and outputs stay what they are. "int8":
    weights of products in int8, activations scaled anew at each run; convolutions, which are slow
    that way on a CPU, only where there is no product. "int8-static": whatever ONNX Runtime can, a
    scale a channel, by the ranges that `calibration` (batches by input name) shows.

    The graph holds its weights itself (beside it where they are over 1.8 GB), and has the same
    inputs, outputs and properties. Raises InteropError where it cannot be made.
    """
    makers: dict[str, Callable[[], tuple[onnx.ModelProto, dict[str, Json]]]] = {
        "float16": lambda: _float16(model, out.name),
        "int8": lambda: _int8(model, out.name),
        "int8-static": lambda: _int8_static(model, out.name, calibration),
    }
    if precision not in makers:
        raise ConfigError(
            f"{precision!r} is no precision",
            where="--precision",
            fix=f"give one of {', '.join(makers)}",
        )
    before = embed.nbytes(model)
    made, facts = makers[precision]()
    _as_the_original(made, graphs.read(model))
    after = embed.save(made, out)
    try:
        onnx.checker.check_model(str(out))
    except onnx.checker.ValidationError as error:
        out.unlink()
        raise _cannot(precision, out.name, error) from None
    files = {"precision": precision, "file": out.name}
    return {**files, **facts, "bytes_before": before, "bytes_after": after}


# ---------------------------------------------------------------- the conversions


def _float16(model: Path, name: str) -> tuple[onnx.ModelProto, dict[str, Json]]:
    try:
        from onnxconverter_common import float16
    except ImportError:
        raise ExtraMissing(
            "needs onnxconverter-common",
            where="--precision float16",
            fix="pip install 'model-interop[precision]'",
        ) from None
    given = _typed(model)
    clipped = _beyond_half(given, name)
    with _quiet(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            made = float16.convert_float_to_float16(
                given,
                min_positive_val=_TINY,
                max_finite_val=_HALF,
                keep_io_types=True,
                disable_shape_infer=True,  # `_typed` has: this one serialises, and stops at 2 GB
            )
        except Exception as error:  # the converter's own
            raise _cannot("float16", name, error) from None
    halves = {
        v.name
        for v in (*made.graph.value_info, *made.graph.output)
        if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    }
    done = Counter(n.op_type for n in made.graph.node if halves.intersection(n.output))
    facts: dict[str, Json] = {
        "tool": "onnxconverter-common",
        "version": version("onnxconverter-common"),
        "operators": {k: done[k] for k in sorted(done) if k != "Cast"},
        "raised_to_smallest": sum("truncated" in str(w.message) for w in told),
        "clipped": clipped,
    }
    return made, facts


def _int8(model: Path, name: str) -> tuple[onnx.ModelProto, dict[str, Json]]:
    from onnxruntime.quantization import quantize_dynamic

    def quantize(given: Path, made: Path, large: bool) -> None:
        quantize_dynamic(
            given, made, op_types_to_quantize=list(kinds), use_external_data_format=large
        )

    with _prepared("int8", model, name) as (given, folder, large):
        constant = _with_constant_weights(graphs.read(given))
        kinds = _PRODUCTS if any(constant[k] for k in _PRODUCTS) else ("Conv",)
        if not any(constant[k] for k in kinds):
            raise InteropError(
                "the graph has no MatMul, Gemm or Conv with constant weights, so int8 changes "
                "nothing",
                where=name,
                fix="leave --precision int8 away",
            )
        made = _quantized("int8", name, quantize, given, folder, large)
    facts = _tool()
    facts["operators"] = _integer_operators(made)
    facts["of"] = {k: constant[k] for k in sorted(constant)}
    # One scale for a whole batch of activations: what else is in it moves each answer a little.
    facts["scales"] = "taken over the whole batch at each run"
    if kinds == ("Conv",):
        facts["note"] = (
            "the graph has no MatMul or Gemm with constant weights: its convolutions were "
            "quantised, which is slow on a CPU; int8-static is the usual way for those"
        )
    return made, facts


def _int8_static(
    model: Path, name: str, calibration: Sequence[Batch] | None
) -> tuple[onnx.ModelProto, dict[str, Json]]:
    if not calibration:
        raise DataError(
            "needs samples, whose ranges give the scales",
            where="--precision int8-static",
            fix="give a folder of pictures with --data, or take --precision int8",
        )
    from onnxruntime.quantization import QuantFormat, quantize_static

    def quantize(given: Path, made: Path, large: bool) -> None:
        quantize_static(
            given,
            made,
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=masked,
            use_external_data_format=large,
        )

    with _prepared("int8-static", model, name) as (given, folder, large):
        constant = _with_constant_weights(graphs.read(given))
        try:
            masked = _masked(given, calibration)
        except Exception as error:  # ONNX Runtime's own, where samples do not fit
            raise _cannot("int8-static", name, error) from None
        made = _quantized("int8-static", name, quantize, given, folder, large)
    facts = _tool()
    facts["operators"] = _between_scales(made)
    facts["of"] = {k: constant[k] for k in sorted(constant)}
    facts["left_for_masks"] = len(masked)
    facts["calibration"] = {
        "batches": len(calibration),
        "samples": sum(len(next(iter(b.values()))) for b in calibration),
        "method": "MinMax",
    }
    return made, facts


def _tool() -> dict[str, Json]:
    return {"tool": "onnxruntime.quantization", "version": onnxruntime.__version__}


def _quantized(
    precision: str,
    name: str,
    quantize: Callable[[Path, Path, bool], None],
    given: Path,
    folder: Path,
    large: bool,
) -> onnx.ModelProto:
    made = folder / "quantized.onnx"
    with _quiet():
        try:
            quantize(given, made, large)
        except Exception as error:  # the quantiser's own
            raise _cannot(precision, name, error) from None
    return embed.whole(made)


@contextlib.contextmanager
def _prepared(precision: str, model: Path, name: str) -> Iterator[tuple[Path, Path, bool]]:
    """The graph as the quantiser wants it, in a folder of its own: the tool's preprocessing, which
    infers shapes and puts each batch normalisation into its convolution."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory(prefix="interop-") as place:
        folder = Path(place)
        given, ready = folder / "given.onnx", folder / "ready.onnx"
        large = embed.nbytes(model) > embed.ROOM
        graph = embed.whole(model)
        # The exporter's notes of weights' shapes turn false where a Gemm's is transposed.
        del graph.graph.value_info[:]
        embed.save(graph, given)
        with _quiet():
            try:
                # Symbolic shape inference knows fewer forms of Constant than the exporter writes.
                quant_pre_process(
                    given, ready, skip_symbolic_shape=True, save_as_external_data=large
                )
            except Exception as error:  # the tool's own
                raise _cannot(precision, name, error) from None
        yield ready, folder, large


def _reader(batches: Sequence[Batch]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the batches, one after the other."""

        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self._left, None)
            return None if batch is None else dict(batch)

    return Reader()


def _typed(model: Path) -> onnx.ModelProto:
    """The graph in memory, every value's type written down; shapes follow without the weights."""
    try:
        graph = onnx.shape_inference.infer_shapes(graphs.read(model))
    except Exception as error:  # onnx's own
        raise _cannot("float16", model.name, error) from None
    return embed.filled(graph, model)


def _beyond_half(graph: onnx.ModelProto, name: str) -> list[str]:
    """Names of masks that float16 clips; ModelError for a weight that it cannot hold."""
    lowest = float(np.finfo(np.float32).min)
    clipped = []
    for tensor in graph.graph.initializer:
        if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            continue
        held = onnx.numpy_helper.to_array(tensor)
        over = held[np.abs(held) > _HALF]
        if not over.size:
            continue
        # "As small as can be" means "never": it means the same at float16's lowest.
        if ((over == -np.inf) | (over == lowest)).all():
            clipped.append(tensor.name)
            continue
        worst = over.flat[int(np.abs(over).argmax())]
        raise ModelError(
            f"{tensor.name} holds {worst:.4g}, and float16 ends at {_HALF:.0f}",
            where=name,
            fix="leave --precision float16 away",
        )
    return clipped


def _as_the_original(made: onnx.ModelProto, given: onnx.ModelProto) -> None:
    """Its properties, and nothing of the tools': their marks, and domains that no node is of."""
    del made.metadata_props[:]
    made.metadata_props.extend(given.metadata_props)
    made.doc_string = ""
    used = {n.domain for n in made.graph.node} | {f.domain for f in made.functions} | {""}
    kept = sorted((o for o in made.opset_import if o.domain in used), key=lambda o: o.domain)
    opsets = [onnx.helper.make_opsetid(o.domain, o.version) for o in kept]
    del made.opset_import[:]
    made.opset_import.extend(opsets)


def _cannot(precision: str, name: str, error: Exception) -> ModelError:
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return ModelError(
        f"{precision} cannot be made of this graph: {line}",
        where=name,
        fix=f"leave --precision {precision} away",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong is raised; standard output belongs to the report."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        root.setLevel(level)


# ---------------------------------------------------------------- what was quantised


def _with_constant_weights(graph: onnx.ModelProto) -> Counter[str]:
    """How many products and convolutions act with weights of the graph, by operator."""
    held = {t.name for t in graph.graph.initializer}
    kinds = (*_PRODUCTS, "Conv")
    return Counter(n.op_type for n in graph.graph.node if n.op_type in kinds and n.input[1] in held)


def _integer_operators(graph: onnx.ModelProto) -> dict[str, int]:
    """Operators that compute on integers."""
    found = Counter(n.op_type for n in graph.graph.node if "Integer" in n.op_type)
    return dict(sorted(found.items()))


def _between_scales(graph: onnx.ModelProto) -> dict[str, int]:
    """Operators whose data come from a DequantizeLinear, which a runtime fuses with them."""
    scaled = {o for n in graph.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    found = Counter(
        n.op_type
        for n in graph.graph.node
        if n.input and n.input[0] in scaled and not n.op_type.endswith("antizeLinear")
    )
    return dict(sorted(found.items()))


# ---------------------------------------------------------------- what it did to the answers


def compare(
    native: OnnxRuntime,
    lower: OnnxRuntime,
    batches: Iterable[Any],
    labels: NDArray[np.int64] | None = None,
) -> tuple[Measurement, ...]:
    """How the lower precision's answers differ from the graph's own, on the same batches.

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
    samples = sum(len(outputs[0]) if outputs[0].ndim else 1 for outputs in ours)
    conditions: dict[str, Json] = {
        "group": "change of precision",
        "of": f"{Path(lower.where).name} against {Path(native.where).name}",
        "samples": samples,
    }
    measured = _differences(ours, theirs, conditions)
    if _is_half(Path(lower.where)):
        measured.append(_range_used(native, lower, given, conditions))
    if all(o[0].ndim == 2 and o[0].shape[1] == ours[0][0].shape[1] > 1 for o in ours):
        first, second = (np.concatenate([o[0] for o in side]) for side in (ours, theirs))
        measured += _flips(first, second, conditions)
        if labels is not None:
            measured += _accuracies(first, second, labels, conditions)
    return tuple(measured)


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
        Measurement("largest output difference", "share", max(largest), conditions=worst),
        Measurement("mean output difference", "share", max(means), conditions=about),
    ]


def _flips(a: NDArray[Any], b: NDArray[Any], conditions: Mapping[str, Json]) -> list[Measurement]:
    flipped = a.argmax(axis=1) != b.argmax(axis=1)
    best = np.sort(a, axis=1)
    margins = best[:, -1] - best[:, -2]
    kept, lost = margins[~flipped], margins[flipped]
    count = Measurement("flips", "count", float(flipped.sum()), conditions=conditions)
    return [
        count,
        share("flipped share", flipped, conditions),
        share("agreement", ~flipped, conditions),
        _margin("margin", margins, conditions),
        _margin("margin of flipped", lost, conditions),
        Measurement(
            "smallest margin that did not flip",
            "abs",
            float(kept.min()) if kept.size else None,
            conditions=conditions,
        ),
        Measurement(
            "largest margin that flipped",
            "abs",
            float(lost.max()) if lost.size else None,
            conditions=conditions,
        ),
    ]


def _margin(name: str, margins: NDArray[Any], conditions: Mapping[str, Json]) -> Measurement:
    """The median, with other quantiles beside it."""
    if not margins.size:
        return Measurement(name, "abs", None, conditions=conditions)
    spread = {f"{100 * q:g} %": float(np.quantile(margins, q)) for q in _MARGINS}
    return Measurement(
        name, "abs", float(np.median(margins)), conditions={**conditions, "quantiles": spread}
    )


def _accuracies(
    a: NDArray[Any],
    b: NDArray[Any],
    labels: NDArray[np.int64],
    conditions: Mapping[str, Json],
) -> list[Measurement]:
    if len(labels) != len(a):
        raise DataError(
            f"{len(labels)} labels for {len(a)} samples", where="--data", fix="give one a sample"
        )
    before, after = a.argmax(axis=1) == labels, b.argmax(axis=1) == labels
    return [
        share("top-1", before, {**conditions, "of": "model.onnx"}),
        share("top-1", after, conditions),
        *change(before, after, conditions),
    ]


def _finite(
    runtime: OnnxRuntime, outputs: Sequence[Sequence[NDArray[Any]]], batches: Sequence[Any]
) -> None:
    for found, batch in zip(outputs, batches, strict=True):
        if not all(np.isfinite(o).all() for o in found if o.dtype.kind == "f"):
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
    return Measurement("float16 range used", "share", largest / _HALF, conditions=about)


def _overflow(what: str, runtime: OnnxRuntime) -> ModelError:
    return ModelError(
        what,
        where=Path(runtime.where).name,
        fix="leave this --precision away: its range is too small for the model",
    )


def _is_half(model: Path) -> bool:
    tensors = graphs.read(model).graph.initializer
    return any(t.data_type == onnx.TensorProto.FLOAT16 for t in tensors)


def on_the_way(
    model: Path, batches: Iterable[Any], native: Path | None = None
) -> tuple[float, str]:
    """The largest absolute value that any node gives, and that node as "name (operator)".

    Where a value is not finite: infinity and, of the first batch that shows one, the first node.
    Of values that mean "never" in the graph `native` (masks of attention) none counts. Each batch
    is cut to a few samples, since every node's output is held at once.
    """
    largest, of = 0.0, ""
    ours = _values(model, batches)
    theirs = _values(native, batches) if native else iter(lambda: {}, None)
    for found, meant in zip(ours, theirs, strict=False):
        for output, (node, value) in found.items():
            if output in meant and meant[output][1].shape == value.shape:
                value = value[np.abs(meant[output][1]) < _NEVER]
            most = float(np.abs(value).max(initial=0))
            name = f"{node.name or output} ({node.op_type})"
            if not np.isfinite(most):
                return float("inf"), name
            if most > largest:
                largest, of = most, name
    return largest, of


def _masked(model: Path, batches: Iterable[Batch]) -> list[str]:
    """Names of nodes that take or give what means "never": no scale has room for that."""
    names: set[str] = set()
    for found in _values(model, batches):
        beyond = {o for o, (_, v) in found.items() if (np.abs(v) >= _NEVER).any()}
        nodes = {id(n): n for n, _ in found.values()}.values()
        names |= {n.name for n in nodes if n.name and beyond.intersection((*n.input, *n.output))}
    return sorted(names)


def _values(
    model: Path, batches: Iterable[Any]
) -> Iterator[dict[str, tuple[onnx.NodeProto, NDArray[Any]]]]:
    """For each batch, of every value of a floating-point type between nodes: whose and what."""
    graph = graphs.read(model)
    known = {o.name for o in graph.graph.output}
    nodes = {o: n for n in graph.graph.node for o in n.output if o}
    graph.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(o) for o in nodes if o not in known
    )
    session = _as_written(graph, model.parent)
    for batch in batches:
        found = session.run(list(nodes), _few(session, batch))
        yield {
            output: (nodes[output], value)
            for output, value in zip(nodes, found, strict=True)
            if getattr(value, "dtype", np.dtype(int)).kind == "f"
        }


def _few(session: Any, batch: Any) -> dict[str, NDArray[Any]]:
    first = session.get_inputs()[0]
    named = batch if isinstance(batch, Mapping) else {first.name: batch}
    fixed = isinstance(first.shape[0], int) if first.shape else True
    return {n: v if fixed else v[:_FEW] for n, v in named.items()}


def _as_written(graph: onnx.ModelProto, folder: Path) -> Any:
    """A session that runs each node by itself: fused ones have other outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    place = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(place, str(folder.resolve()))
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
