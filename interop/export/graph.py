"""An exporter's graph -> the bundle's: weights by reference, nothing of the exporting machine."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript import optimizer

from interop.export.weights import TensorPlace
from interop.facts import AxisDomain, AxisState
from interop.models.load_weights import same_bits
from interop.proof import Derived

_LONG = 24  # letters of a symbol that a person still reads


def write(
    model: ir.Model,
    path: Path,
    state: Mapping[str, torch.Tensor],
    places: Mapping[str, TensorPlace],
    metadata: Mapping[str, str],
    *,
    folds: bool,
    axes: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    strip: bool = True,
) -> dict[str, Derived]:
    """Writes `model` to `path`; what it embeds comes back as derived, with how it came about.

    An initialiser becomes a reference to its place only where it equals the state dict's tensor
    of its name (else, any tensor) bit for bit: under an old name an exporter may have put other
    numbers. `folds` tells whether the route that was taken does so; one that does not has its
    shape arithmetic folded here. `aliases` are second names of tensors. `axes` says what symbols
    of shapes are to be called. `metadata` replaces the exporter's. Without `strip` what it noted on
    each node stays, for a search that needs it. Changes `model`.
    """
    if not folds:
        fold_constants(model, state)
    _merge_equal(model, state)
    derived = {}
    by_hash: dict[tuple[Any, ...], str] = {}
    for name, value in model.graph.initializers.items():
        constant = value.const_value
        assert constant is not None
        tensor = _torch(constant)
        source = _source((aliases or {}).get(name, name), tensor, state, by_hash)
        if source is not None:
            if name not in state and name not in (aliases or {}):
                # A constant that is a tensor's bytes by chance: once embedded, only this tells.
                digest = sha256(constant.tobytes()).hexdigest()
                derived[name] = Derived(f"the numbers of {source}", digest)
            place = places[source]
            shape = ir.Shape(state[source].shape)
            value.const_value = ir.ExternalTensor(
                place.file, place.offset, place.length, constant.dtype, shape=shape, name=name
            )
        elif name not in state or folds:
            # A name of the state dict with other numbers and no reason for it stays unaccounted.
            how = _how(name, tensor, state, folds)
            derived[name] = Derived(how, sha256(constant.tobytes()).hexdigest())
    if strip:
        _strip(model, axes or {})
    model.metadata_props.clear()
    model.metadata_props.update(sorted(metadata.items()))
    path.write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))
    return derived


def restrict(path: Path, domain: Sequence[AxisDomain]) -> None:
    """Writes a domain into the graph at `path`: as its property `domain`, and as the size of each
    axis that is fixed, which a runtime then asks for. No other part of the file changes."""
    model = onnx.load(str(path), load_external_data=False)
    inputs = {value.name: value.type.tensor_type.shape for value in model.graph.input}
    for d in domain:
        if d.state is AxisState.FIXED and d.min is not None and d.input in inputs:
            inputs[d.input].dim[d.axis].dim_value = d.min
    # Without the reasons: they hold measured figures, and the same model gives the same graph.
    plain = [{k: v for k, v in d.json().items() if k != "why"} for d in domain]
    stated = {p.key: p.value for p in model.metadata_props}
    onnx.helper.set_model_props(
        model, dict(sorted({**stated, "domain": json.dumps(plain)}.items()))
    )
    path.write_bytes(model.SerializeToString(deterministic=True))


def fold_constants(model: ir.Model, state: Mapping[str, torch.Tensor]) -> None:
    """Computes what follows from shapes and constants alone, and never from a weight's values.

    An exporter's graph as it comes gives each convolution a bias of zeros that is computed from the
    input's type: to ONNX Runtime that is no constant, and it then fuses no batch normalisation.
    """
    if model.functions:  # older exporters leave operators as functions, which nothing folds
        common.InlinePass()(model)
    weights = {v for n, v in model.graph.initializers.items() if n in state}
    of_weights: set[ir.Node] = set()
    for node in model.graph.all_nodes():
        if node.op_type != "Shape" and any(v in weights for v in node.inputs if v is not None):
            of_weights.add(node)
            weights.update(node.outputs)
    # onnxscript fails on some operators (SplitToSequence): what it had not folded by then stays, as
    # the exporter wrote it, and the proofs judge the whole.
    with contextlib.suppress(RuntimeError):
        optimizer.fold_constants(
            model,
            onnx_shape_inference=False,
            should_fold=lambda node: False if node in of_weights else None,
        )
    common.RemoveUnusedNodesPass()(model)


def _merge_equal(model: ir.Model, state: Mapping[str, torch.Tensor]) -> None:
    """One initialiser for each constant: folding leaves a hundred of the same zero."""
    first: dict[tuple[Any, ...], ir.Value] = {}
    for name, value in list(model.graph.initializers.items()):
        constant = value.const_value
        if name in state or constant is None or value.is_graph_output():
            continue
        key = constant.dtype, tuple(constant.shape.numpy()), constant.tobytes()
        kept = first.setdefault(key, value)
        if kept is not value:
            ir.convenience.replace_all_uses_with(value, kept)
            del model.graph.initializers[name]


def _torch(constant: Any) -> torch.Tensor:
    raw = getattr(constant, "raw", None)
    if isinstance(raw, torch.Tensor):
        return raw.detach()
    array = np.ascontiguousarray(constant.numpy())
    if array.dtype.isbuiltin != 1:  # bfloat16 and the like, which numpy knows by extension
        bits = torch.from_numpy(array.view(np.uint8).reshape(-1).copy())
        kind: torch.dtype = getattr(torch, str(array.dtype), torch.uint8)
        return bits.view(kind).reshape(array.shape)
    return torch.from_numpy(array.copy() if not array.flags.writeable else array)


def _source(
    name: str,
    tensor: torch.Tensor,
    state: Mapping[str, torch.Tensor],
    by_hash: dict[tuple[Any, ...], str],
) -> str | None:
    """The name of the state dict's tensor that this is."""
    own = state.get(name)
    if own is not None:
        same = own.data_ptr() == tensor.data_ptr() and own.shape == tensor.shape
        return name if (same and own.dtype == tensor.dtype) or same_bits(own, tensor) else None
    if tensor.numel() < 2:
        return None
    if not by_hash:
        by_hash.update((_key(t), n) for n, t in reversed(list(state.items())) if t.numel() > 1)
    return by_hash.get(_key(tensor))


def _key(tensor: torch.Tensor) -> tuple[Any, ...]:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tuple(tensor.shape), sha256(flat.numpy().data).digest()


def _how(name: str, tensor: torch.Tensor, state: Mapping[str, torch.Tensor], folds: bool) -> str:
    if tensor.ndim == 2:
        for other, weight in state.items():
            if weight.shape == tensor.shape[::-1] and same_bits(weight.t().contiguous(), tensor):
                return f"{other} transposed"
    if name in state:
        return "rewritten under its own name by the exporter's optimiser"
    if folds:
        return "a constant, or computed from weights by the exporter's optimiser"
    return "a constant, of no weight"


def _strip(model: ir.Model, axes: Mapping[str, str]) -> None:
    """Removes stack traces, class names and paths, and gives the open axes their names."""
    model.doc_string = None
    graphs: list[Any] = [model.graph, *model.functions.values()]
    for graph in graphs:
        graph.doc_string = None
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs):
            _clean(value, axes)
        for value in graph.outputs:
            _simply(value)
        for node in graph.all_nodes():
            node.doc_string = None
            node.metadata_props.clear()
            for value in node.outputs:
                _clean(value, axes)
    for value in model.graph.initializers.values():
        _clean(value, axes)


def _simply(value: ir.Value) -> None:
    """An output's axis that follows from others by a long reckoning, under a name of its own."""
    if value.shape is None:
        return
    dims: list[Any] = []
    for i, d in enumerate(value.shape):
        long = isinstance(d, ir.SymbolicDim) and d.value and len(d.value) > _LONG
        dims.append(f"{value.name}_axis_{i}" if long else d)
    value.shape = ir.Shape(dims)


def _clean(value: ir.Value, axes: Mapping[str, str]) -> None:
    value.doc_string = None
    value.metadata_props.clear()
    if value.shape is None or not axes:
        return
    word = re.compile(rf"\b({'|'.join(map(re.escape, axes))})\b")
    dims = [
        word.sub(lambda m: axes[m[0]], d.value) if isinstance(d, ir.SymbolicDim) and d.value else d
        for d in value.shape
    ]
    value.shape = ir.Shape(dims)
