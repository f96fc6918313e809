"""An exported graph -> a second one beside it in float16 or int8.

The conversion is ONNX Runtime's and onnxconverter-common's; what is added is that it says what was
converted, gives the same bytes again, and is measured.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from interop.errors import (
    ConfigError,
    DataError,
    ExtraMissing,
    InteropError,
    ModelError,
    first_line,
)
from interop.export import embed
from interop.facts import Json
from interop.proof import graph as graphs
from interop.proof.activation_ranges import masked
from interop.proof.precision import compare

__all__ = ["FILES", "compare", "lower"]

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
        what = f"{precision!r} is no precision"
        raise ConfigError(what, where="--precision", fix=f"give one of {', '.join(makers)}")
    before = embed.nbytes(model)
    converted, facts = makers[precision]()
    _as_the_original(converted, graphs.read(model))
    after = embed.save(converted, out)
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
        what = "needs onnxconverter-common"
        fix = "pip install 'model-interop[precision]'"
        raise ExtraMissing(what, where="--precision float16", fix=fix) from None
    given = _typed(model)
    clipped = _beyond_half(given, name)
    with _quiet(), warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        try:
            converted = float16.convert_float_to_float16(
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
        for v in (*converted.graph.value_info, *converted.graph.output)
        if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    }
    done = Counter(n.op_type for n in converted.graph.node if halves.intersection(n.output))
    facts: dict[str, Json] = {
        "tool": "onnxconverter-common",
        "version": version("onnxconverter-common"),
        "operators": {k: done[k] for k in sorted(done) if k != "Cast"},
        "raised_to_smallest": sum("truncated" in str(w.message) for w in complaints),
        "clipped": clipped,
    }
    return converted, facts


def _int8(model: Path, name: str) -> tuple[onnx.ModelProto, dict[str, Json]]:
    from onnxruntime.quantization import quantize_dynamic

    def quantize(given: Path, target: Path, large: bool) -> None:
        quantize_dynamic(
            given, target, op_types_to_quantize=list(kinds), use_external_data_format=large
        )

    with _prepared("int8", model, name) as (given, folder, large):
        constant = _with_constant_weights(graphs.read(given))
        kinds = _PRODUCTS if any(constant[k] for k in _PRODUCTS) else ("Conv",)
        if not any(constant[k] for k in kinds):
            what = (
                "the graph has no MatMul, Gemm or Conv with constant weights, so int8 changes "
                "nothing"
            )
            raise InteropError(what, where=name, fix="leave --precision int8 away")
        quantized = _quantized("int8", name, quantize, given, folder, large)
    facts = _tool()
    facts["operators"] = _integer_operators(quantized)
    facts["of"] = {k: constant[k] for k in sorted(constant)}
    # One scale for a whole batch of activations: what else is in it moves each answer a little.
    facts["scales"] = "taken over the whole batch at each run"
    if kinds == ("Conv",):
        facts["note"] = (
            "the graph has no MatMul or Gemm with constant weights: its convolutions were "
            "quantised, which is slow on a CPU; int8-static is the usual way for those"
        )
    return quantized, facts


def _int8_static(
    model: Path, name: str, calibration: Sequence[Batch] | None
) -> tuple[onnx.ModelProto, dict[str, Json]]:
    if not calibration:
        what = "needs samples, whose ranges give the scales"
        fix = "give a folder of pictures with --data, or take --precision int8"
        raise DataError(what, where="--precision int8-static", fix=fix)
    from onnxruntime.quantization import QuantFormat, quantize_static

    def quantize(given: Path, target: Path, large: bool) -> None:
        quantize_static(
            given,
            target,
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=left,
            use_external_data_format=large,
        )

    with _prepared("int8-static", model, name) as (given, folder, large):
        constant = _with_constant_weights(graphs.read(given))
        try:
            left = masked(given, calibration)
        except Exception as error:  # ONNX Runtime's own, where samples do not fit
            raise _cannot("int8-static", name, error) from None
        quantized = _quantized("int8-static", name, quantize, given, folder, large)
    facts = _tool()
    facts["operators"] = _between_scales(quantized)
    facts["of"] = {k: constant[k] for k in sorted(constant)}
    facts["left_for_masks"] = len(left)
    facts["calibration"] = {
        "batches": len(calibration),
        "samples": sum(len(next(iter(b.values()))) for b in calibration),
        "method": "MinMax",
    }
    return quantized, facts


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
    target = folder / "quantized.onnx"
    with _quiet():
        try:
            quantize(given, target, large)
        except Exception as error:  # the quantiser's own
            raise _cannot(precision, name, error) from None
    return embed.whole(target)


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
        values = onnx.numpy_helper.to_array(tensor)
        over = values[np.abs(values) > _HALF]
        if not over.size:
            continue
        # "As small as can be" means "never": it means the same at float16's lowest.
        if ((over == -np.inf) | (over == lowest)).all():
            clipped.append(tensor.name)
            continue
        worst = over.flat[int(np.abs(over).argmax())]
        what = f"{tensor.name} holds {worst:.4g}, and float16 ends at {_HALF:.0f}"
        raise ModelError(what, where=name, fix="leave --precision float16 away")
    return clipped


def _as_the_original(converted: onnx.ModelProto, given: onnx.ModelProto) -> None:
    """Its properties, and nothing of the tools': their marks, and domains that no node is of."""
    del converted.metadata_props[:]
    converted.metadata_props.extend(given.metadata_props)
    converted.doc_string = ""
    used = {n.domain for n in converted.graph.node} | {f.domain for f in converted.functions} | {""}
    kept = sorted((o for o in converted.opset_import if o.domain in used), key=lambda o: o.domain)
    opsets = [onnx.helper.make_opsetid(o.domain, o.version) for o in kept]
    del converted.opset_import[:]
    converted.opset_import.extend(opsets)


def _cannot(precision: str, name: str, error: Exception) -> ModelError:
    line = first_line(error)
    fix = f"leave --precision {precision} away"
    return ModelError(f"{precision} cannot be made of this graph: {line}", where=name, fix=fix)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong is raised; standard output belongs to the report."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


# ---------------------------------------------------------------- what was quantised


def _with_constant_weights(graph: onnx.ModelProto) -> Counter[str]:
    """How many products and convolutions act with weights of the graph, by operator."""
    weights = {t.name for t in graph.graph.initializer}
    kinds = (*_PRODUCTS, "Conv")
    return Counter(
        n.op_type for n in graph.graph.node if n.op_type in kinds and n.input[1] in weights
    )


def _integer_operators(graph: onnx.ModelProto) -> dict[str, int]:
    """Operators that compute on integers."""
    counts = Counter(n.op_type for n in graph.graph.node if "Integer" in n.op_type)
    return dict(sorted(counts.items()))


def _between_scales(graph: onnx.ModelProto) -> dict[str, int]:
    """Operators whose data come from a DequantizeLinear, which a runtime fuses with them."""
    scaled = {o for n in graph.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    counts = Counter(
        n.op_type
        for n in graph.graph.node
        if n.input and n.input[0] in scaled and not n.op_type.endswith("antizeLinear")
    )
    return dict(sorted(counts.items()))
