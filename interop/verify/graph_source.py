"""An ONNX graph as a source -> a module that runs it, in float64 too, and its weights.

For proving what an optimiser or a quantiser made of it: native is ONNX Runtime without its
optimisations, the truth is onnx's own reference evaluator in float64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import nn

from interop.errors import ModelError, first_line
from interop.facts import Identity, Port
from interop.models.signature import BATCH, Argument, Signature
from interop.models.signature.types import SIDES
from interop.proof import graph as graphs
from interop.proof.accounted import Computed, Norm, SourceWeights
from interop.proof.canary import OnnxSubject, perturbed
from interop.runtimes import OnnxRuntime
from interop.runtimes.base import Array
from interop.verify.artefacts.onnx import OnnxArtefact

_FLOAT, _DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
_PICTURE, _LENGTH = 224, 16  # of an axis that no graph, file or person gives a size
_TRIAL = 0.5


class GraphModule(nn.Module):
    """A graph as a module of positional tensors. Where `precision` is widened, so is the graph.

    Raises ReadError where its external data are missing, ModelError where ONNX Runtime refuses it.
    """

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self.artefact = OnnxArtefact(identity, "cpu")
        self.register_buffer("precision", torch.zeros(1))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        path = str(self.artefact.path)
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own
            what = f"ONNX Runtime refuses the source: {first_line(error, 240)}"
            raise ModelError(what, where=path, fix="give a graph that runs") from None
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.names = [o.name for o in self.session.get_outputs()]
        self._wide: ReferenceEvaluator | None = None

    def forward(self, *given: torch.Tensor) -> dict[str, torch.Tensor]:
        fed = {n: t.detach().numpy() for n, t in zip(self.inputs, given, strict=True)}
        precision: Any = self.precision
        if precision.dtype == torch.float64:
            if self._wide is None:
                model = widened(self.artefact.model, self.artefact.path.parent)
                self._wide = ReferenceEvaluator(model, new_ops=[Conv])
            answers = self._wide.run(None, fed)
        else:
            answers = self.session.run(None, fed)
        arrays = zip(self.names, answers, strict=True)
        return {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in arrays}

    def acting(self, names: Sequence[str], given: Sequence[torch.Tensor]) -> list[str]:
        """Those of some constants on which the outputs depend."""
        subject = OnnxSubject(self.artefact.path)
        fed = {n: t.numpy() for n, t in zip(self.inputs, given, strict=True)}
        before = self.session.run(None, fed)
        subject.tensors = {n: t for n, t in subject.tensors.items() if n in names}

        def matter(group: Sequence[str]) -> bool:
            changed = onnx.ModelProto()
            changed.CopyFrom(subject.graph)
            for name in group:
                graphs.embed(changed, name, perturbed(subject.array(name), _TRIAL))
            folder = self.artefact.path.parent
            with OnnxRuntime(changed.SerializeToString(), spin=False, folder=folder) as runtime:
                after = runtime.outputs(fed)
            return any(not np.allclose(a, b, 1e-6) for a, b in zip(before, after, strict=True))

        return halved(list(subject.tensors), matter)


def halved(names: Sequence[str], matter: Callable[[Sequence[str]], bool]) -> list[str]:
    """Those of some names that matter; a group of which none does is asked about once."""
    if not names or not matter(names):
        return []
    if len(names) == 1:
        return list(names)
    middle = len(names) // 2
    return [*halved(names[:middle], matter), *halved(names[middle:], matter)]


class Conv(OpRun):  # type: ignore[misc]
    """The convolution of torch, which is thousands of times faster than the evaluator's own."""

    op_domain = ""

    def _run(
        self, x: Array, w: Array, b: Array | None = None, auto_pad: Any = None,
        dilations: Any = None, group: Any = None, kernel_shape: Any = None, pads: Any = None,
        strides: Any = None,
    ) -> tuple[Array]:  # fmt: skip
        count = x.ndim - 2
        steps, gaps = list(strides or [1] * count), list(dilations or [1] * count)
        sides = list(pads or [0] * (2 * count))
        if (way := auto_pad if isinstance(auto_pad, str) else "NOTSET").startswith("SAME"):
            sides = _same(x.shape[2:], w.shape[2:], steps, gaps, upper=way == "SAME_UPPER")
        padding = [n for i in reversed(range(count)) for n in (sides[i], sides[count + i])]
        given, kernel = (torch.from_numpy(a.astype(np.float64)) for a in (x, w))
        bias = None if b is None else torch.from_numpy(np.ascontiguousarray(b)).double()
        call: Any = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[count - 1]
        given = nn.functional.pad(given, padding)
        answer = call(given, kernel, bias, steps, 0, gaps, group or 1)
        return (answer.numpy().astype(x.dtype),)


def _same(
    shape: Sequence[int], kernel: Sequence[int], steps: Sequence[int], gaps: Sequence[int], *,
    upper: bool,
) -> list[int]:  # fmt: skip
    before, after = [], []
    for n, k, step, gap in zip(shape, kernel, steps, gaps, strict=True):
        total = max((-(-n // step) - 1) * step + (k - 1) * gap + 1 - n, 0)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return [*before, *after]


def widened(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The graph with float64 for each float32, its weights embedded."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    _widen(wide.graph, folder)
    for function in wide.functions:
        for node in function.node:
            _widen_node(node, folder)
    return wide


def _widen(graph: onnx.GraphProto, folder: Path) -> None:
    for tensor in graph.initializer:
        array = graphs.values(tensor, folder)
        wide = array.astype(np.float64) if array.dtype == np.float32 else array
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    del graph.value_info[:]
    for port in (*graph.input, *graph.output):
        if port.type.tensor_type.elem_type == _FLOAT:
            port.type.tensor_type.elem_type = _DOUBLE
    for node in graph.node:
        _widen_node(node, folder)


def _widen_node(node: onnx.NodeProto, folder: Path) -> None:
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype", "stash_type") and attribute.i == _FLOAT:
            attribute.i = _DOUBLE
        if attribute.HasField("t") and attribute.t.data_type == _FLOAT:
            array = graphs.values(attribute.t, folder).astype(np.float64)
            attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))
        if attribute.name == "value_float":
            attribute.CopyFrom(_tensor(np.float64(attribute.f)))
        elif attribute.name == "value_floats":
            attribute.CopyFrom(_tensor(np.array(attribute.floats, np.float64)))
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            _widen(inner, folder)


def _tensor(value: Any) -> onnx.AttributeProto:
    return onnx.helper.make_attribute("value", numpy_helper.from_array(np.asarray(value)))


def graph_signature(
    module: GraphModule, given: Sequence[tuple[Argument, Mapping[str, int]]], ports: Sequence[Port]
) -> Signature:
    """What the graph takes: as a person described it, else as it states, in the sizes of the
    artefact's `ports` where it leaves them open."""
    described = {argument.name: (argument, sizes) for argument, sizes in given}
    theirs = {p.name: p for p in ports}
    rows = _rows(module.artefact.model.graph)
    arguments: list[Argument] = []
    sizes: dict[str, int] = {}
    for place, port in enumerate(module.artefact.ports):
        if port.name in described or (described and len(module.artefact.ports) == 1):
            argument, known = described.get(port.name) or next(iter(described.values()))
            arguments.append(replace(argument, name=port.name))
            sizes |= known
            continue
        other = theirs.get(port.name) or (ports[place] if place < len(ports) else port)
        axes: list[int | str] = []
        for i, axis in enumerate(port.shape):
            there = other.shape[i] if i < len(other.shape) else axis
            if isinstance(axis, int) or (i and isinstance(there, int)):
                axes.append(axis if isinstance(axis, int) else there)
                continue
            picture = len(port.shape) == 4 and i > 1
            name = BATCH if not i else SIDES[i - 2] if picture else re.sub(r"\W", "_", str(axis))
            sizes.setdefault(name, 2 if not i else _PICTURE if picture else _LENGTH)
            axes.append(name)
        arguments.append(_drawn(port, tuple(axes), rows))
    sizes.pop(BATCH, None)
    others = {axis: n + max(n // 2, 1) for axis, n in sizes.items()}
    return Signature(tuple(arguments), sizes, others)


def _drawn(port: Port, axes: tuple[int | str, ...], rows: Mapping[str, int]) -> Argument:
    if "float" in port.dtype:
        return Argument(port.name, axes)
    if port.dtype == "uint8":
        return Argument(port.name, axes, "uint8", "whole", 0, 256)
    if "mask" in port.name or port.dtype == "bool":
        return Argument(port.name, axes, port.dtype, "mask" if "mask" in port.name else "rows")
    return Argument(port.name, axes, port.dtype, "whole", 0, rows.get(port.name, 2))


def _rows(graph: onnx.GraphProto) -> dict[str, int]:
    """How many rows the table has that an input's numbers pick from."""
    sizes = {t.name: t.dims[0] for t in graph.initializer if len(t.dims) > 1}
    names = {i.name: i.name for i in graph.input}
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in names:
            names[node.output[0]] = names[node.input[0]]
        if node.op_type == "Gather" and node.input[0] in sizes and node.input[1] in names:
            found.setdefault(names[node.input[1]], sizes[node.input[0]])
    return found


# ---------------------------------------------------------------- its weights


def graph_weights(module: GraphModule) -> SourceWeights:
    """The graph's constants of floating point, its batch normalisations, and what follows from
    constants alone."""
    artefact = module.artefact
    tensors = {n: a for n, a in artefact.weights().tensors if a.dtype.kind == "f"}
    norms = []
    for node in graphs.nodes_of(artefact.model.graph):
        if node.op_type == "BatchNormalization" and all(n in tensors for n in node.input[1:5]):
            eps = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            scale, shift, mean, variance = node.input[1:5]
            norms.append(Norm(scale, shift, mean, variance, float(eps)))
    return SourceWeights(tensors, norms, lambda: list(_folded(artefact)))


def _folded(artefact: OnnxArtefact) -> Iterator[Computed]:
    """What nodes give that take constants alone."""
    of: dict[str, tuple[str, ...]] = {n: (n,) for n in artefact.constants}
    model = onnx.ModelProto()
    model.CopyFrom(artefact.model)
    del model.graph.node[:], model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    inner: list[onnx.NodeProto] = []
    for node in artefact.model.graph.node:
        if node.op_type == "Constant":
            model.graph.node.append(node)
            continue
        taken = [n for n in node.input if n]
        if (
            taken
            and all(n in of for n in taken)
            and not any(a.HasField("g") for a in node.attribute)
        ):
            model.graph.node.append(node)
            inner.append(node)
            of |= {o: tuple(dict.fromkeys(x for n in taken for x in of[n])) for o in node.output}
    names = [o for node in inner for o in node.output if o]
    if not names:
        return
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    key = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(key, str(artefact.path.parent.resolve()))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for name, value in zip(names, session.run(names, {}), strict=True):
        if getattr(value, "dtype", np.dtype("O")).kind == "f" and value.size > 1:
            yield Computed(value, of[name], name)
