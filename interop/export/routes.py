"""A module and an example input -> an ONNX graph in memory, by the first exporter route that can.

The routes stand in the order in which they reached most models; each is proved like the first.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import onnx
import torch
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from interop.errors import without_folders
from interop.export import attention, open_sizes, recurrent, skip_decomposition
from interop.export.budget import OutOfTime, limited
from interop.export.open_sizes import Shapes
from interop.models.signature import BATCH, Forward, Signature
from interop.models.signature.forward import FRONT
from interop.models.signature.types import DETECTIONS
from interop.proof import Feed, guards
from interop.proof.guards import Guard, TooManyGuards
from interop.runtimes.pytorch import tensors

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "ROUTES", "Converted", "Learned", "OutOfTime", "Route", "TooManyGuards", "convert", "doomed",
    "fitting", "opened", "remedy", "seconds", "why",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """One way through torch's exporters.

    `folds` says that the exporter rewrites weights (constant folding), so that not all initialisers
    are the checkpoint's tensors. `open` are the axes that stay open: "all" that the signature
    names, "batch" alone, or "" for none. `plain` computes attention in single steps instead of by
    torch's fused operator.
    """

    name: str
    dynamo: bool
    open: str = "all"
    folds: bool = False
    plain: bool = False


ROUTES = (
    # Without the exporter's optimiser: exact, cheaper, and every weight stays as it is. What that
    # leaves (`graph.fold_constants`), ONNX Runtime folds and fuses when it loads the graph.
    Route("dynamo", dynamo=True),
    Route("dynamo, plain attention", dynamo=True, plain=True),
    Route("dynamo, optimised", dynamo=True, folds=True),
    Route("torchscript", dynamo=False),
    Route("dynamo, open batch", dynamo=True, open="batch"),
    Route("torchscript, open batch", dynamo=False, open="batch"),
    Route("dynamo, fixed shapes", dynamo=True, open=""),
    Route("torchscript, fixed shapes", dynamo=False, open=""),
)
SECONDS = 300  # for one route, and one more for each MILLION weights
MILLION = 1_000_000
_FEW_NUMBERS = 1024
_OF_SIZES = re.compile(r"dim|dynamic|constrain|symbol|guard|shape|size", re.IGNORECASE)
_LOGGERS = ("torch.onnx", "torch.export", "torch._dynamo", "torch.fx", "onnxscript", "onnx_ir")


@dataclass(frozen=True, slots=True)
class Converted:
    """What a route gave: the graph, under the state dict's names, and what made it.

    `program` is torch's own record of it, with the values' names (None on the older route);
    `decided` the places ("file:line") where a trace took a decision in Python for good, of which
    `decisions` tells whether on values; `axes` what each symbol of a shape is called.
    """

    model: ir.Model
    program: Any = None
    decided: tuple[str, ...] = ()
    axes: Mapping[str, str] = field(default_factory=dict)


def fitting(
    signature: Signature, *, attends: bool = True, script_first: bool = False
) -> list[Route]:
    """Return the routes that differ for a model of such inputs, the likeliest first.

    `attends` says that it has attention. With `script_first` TorchScript's go before the others.
    """
    if signature.kind == DETECTIONS:  # what is found in a picture has no fixed count
        return [r for r in ROUTES if not r.dynamo and r.open != "batch"]
    differ = [
        r for r in ROUTES if (attends or not r.plain) and (signature.varying or r.open != "batch")
    ]
    return sorted(differ, key=lambda r: r.dynamo) if script_first else differ


def doomed(route: Route, raised: Sequence[tuple[Route, str]]) -> bool:
    """Say whether a route would end as those did that `raised` an exception, each with its reason.

    The optimiser comes after the trace, which raises the same without it. What two routes of one
    exporter raised alike, the next will too, unless it is about an open axis and the next has none.
    """
    reasons = [why for one, why in raised if one.dynamo == route.dynamo]
    if route.folds and reasons:
        return True
    repeated = {why for why in reasons if reasons.count(why) > 1}
    return any(route.open or not _OF_SIZES.search(why) for why in repeated)


def convert(
    forward: Forward,
    feed: Feed,
    route: Route,
    *,
    budget: int | None = None,
    learned: Learned | None = None,
    seconds: float = SECONDS,
    sizes: Shapes | None = None,
) -> Converted:
    """The module's graph for inputs like the feed's.

    Inputs bear the signature's names, outputs those that the module's have. `budget` is the most
    guards that a trace may note. `learned` is given the guards of the trace, whether or not a graph
    comes of it. `sizes` are the shapes that
    the module read of one row, if the batch alone is open and it looks at no size of that: all
    other sizes are numbers then in a trace of TorchScript. Raises whatever the exporter raises,
    TooManyGuards, and OutOfTime after so many `seconds`.
    """
    signature = opened(forward.signature, route)
    example = feed.example(2 if signature.batched else 1)
    dtype = next((t.dtype for t in forward.parameters() if t.is_floating_point()), torch.float32)
    given = tensors(example, dtype)
    read: list[str] = []
    with (
        limited(seconds), _quiet() as complaints, torch.no_grad(),
        attention.without_fast_path(), attention.plainly(route.plain),
        skip_decomposition.unparsed(),
    ):  # fmt: skip
        if route.dynamo:
            program, read = _guarded(forward, signature, given, route, budget, learned)
            model = program.model
        else:
            with _unheard(), guards.read_as_text(read), open_sizes.held(sizes):
                program, model = None, _script(forward, signature, given)
    _rename(model, signature, forward.outputs)
    traced = [w for w in complaints if issubclass(w.category, TracerWarning)]
    places = (*(f"{Path(w.filename).name}:{w.lineno}" for w in traced), *read)
    return Converted(model, program, tuple(dict.fromkeys(places)), _axes(model, signature))


@dataclass(slots=True)
class Learned:
    """What traces told of sizes: the guards of each set of open axes that was traced."""

    by_axes: dict[tuple[str, ...], tuple[Guard, ...]] = field(default_factory=dict)

    def of(self, signature: Signature) -> tuple[Guard, ...] | None:
        """The guards of a trace with these axes open; None where there was none."""
        return self.by_axes.get(_open_axes(signature))


def guards_of(
    forward: Forward, feed: Feed, signature: Signature, *, budget: int | None = None
) -> tuple[Guard, ...] | None:
    """The guards of the module with the signature's named axes open; None if they are unknown.

    Raises TooManyGuards at the `budget`.
    """
    dtype = next((t.dtype for t in forward.parameters() if t.is_floating_point()), torch.float32)
    given = tensors(feed.example(2 if signature.batched else 1), dtype)
    shapes = _dynamic(signature)
    with (
        contextlib.suppress(Exception), _quiet(), torch.no_grad(),
        attention.without_fast_path(), recurrent.shapes_alone(), guards.captured(budget) as seen,
    ):  # fmt: skip
        torch.export.export(forward, given, dynamic_shapes=(shapes,), strict=False)
    return seen.of(signature)


def _open_axes(signature: Signature) -> tuple[str, ...]:
    return tuple(sorted({x for a in signature.arguments for x in a.axes if isinstance(x, str)}))


def _guarded(
    forward: Forward,
    signature: Signature,
    given: tuple[torch.Tensor, ...],
    route: Route,
    budget: int | None,
    learned: Learned | None,
) -> tuple[Any, list[str]]:
    """torch's own exporter, with the guards of its trace kept; where sizes were read as text.

    Traced so, a few programs cannot be exported at all: those go through as torch has it, and their
    guards are not known.
    """
    try:
        with guards.captured(budget) as seen:
            program = skip_decomposition.sparingly(_dynamo, forward, signature, given, route)
            return program, seen.read
    except Exception:
        if seen.program is not None:
            raise
    finally:
        if learned is not None and (known := seen.of(signature)) is not None:
            learned.by_axes[_open_axes(signature)] = known
    return skip_decomposition.sparingly(_dynamo, forward, signature, given, route), seen.read


def seconds(module: torch.nn.Module) -> float:
    """Return the time that a route may take to convert the module."""
    return SECONDS + sum(p.numel() for p in module.parameters()) / MILLION


def why(error: BaseException) -> str:
    """An exporter's error in one line: its first cause, without advice and without paths."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    # A first line that ends in a colon says nothing without the second.
    sentence = " ".join(lines[: 1 + lines[0].endswith(":")]) if lines else "no reason given"
    plain = re.split(r" Please feel free| *\[Caused by", sentence, maxsplit=1)[0]
    return f"{type(cause).__name__}: {without_folders(plain)[:240]}"


def remedy(reasons: Iterable[str]) -> str:
    """What to do where no route is left, as far as the exporters' reasons tell."""
    if any("No ONNX function" in why or "UnsupportedOperator" in why for why in reasons):
        return "write that step with operators that ONNX has, or keep it out of the module"
    return "leave out of the module what the exporters name, or export the part that is deployed"


def opened(signature: Signature, route: Route) -> Signature:
    """The signature with only those axes named that the route leaves open."""
    if route.open == "all":
        return signature
    fixed = signature.fixed(*signature.varying)
    if route.open == "batch":
        return fixed
    return replace(fixed, sizes={**fixed.sizes, BATCH: 1}).fixed(BATCH)


def _dynamo(
    forward: Forward, signature: Signature, given: tuple[torch.Tensor, ...], route: Route
) -> Any:
    shapes = _dynamic(signature)
    program = torch.onnx.export(
        forward,
        given,
        dynamo=True,
        optimize=route.folds,
        dynamic_shapes=(shapes,) if any(shapes) else None,
        input_names=list(signature.names),
        verbose=False,
    )
    assert program is not None
    return program


def _dynamic(signature: Signature) -> tuple[dict[int, Any], ...]:
    """The named axes as torch.export has them, an argument each."""
    return tuple(
        {i: torch.export.Dim.DYNAMIC for i, axis in enumerate(a.axes) if isinstance(axis, str)}
        for a in signature.arguments
    )


def _script(forward: Forward, signature: Signature, given: tuple[torch.Tensor, ...]) -> ir.Model:
    try:
        return _scripted(forward, forward, signature, given)
    except (RuntimeError, IndexError) as error:  # which of the two, torch 2.14 and 2.15 differ in
        if "_M_range_check" not in str(error):
            raise
    model = _scripted(recurrent.WithPacked(forward), forward, signature, given)
    del model.graph.outputs[len(forward.outputs) :]
    for name, value in list(model.graph.initializers.items()):
        value.name = name.removeprefix(recurrent.FRONT)
    from onnx_ir.passes import common

    common.RemoveUnusedNodesPass()(model)
    return model


def _scripted(
    traced: torch.nn.Module, forward: Forward, signature: Signature, given: tuple[torch.Tensor, ...]
) -> ir.Model:
    axes: dict[str, dict[int, str]] = {
        a.name: {i: axis for i, axis in enumerate(a.axes) if isinstance(axis, str)}
        for a in signature.arguments
    }
    if signature.kind == DETECTIONS:
        axes |= {name: {0: "detections"} for name in forward.outputs}
    elif any(BATCH in a.axes for a in signature.arguments):
        axes |= {name: {0: BATCH} for name in forward.outputs}
    # A program is exported as it is: a trace of what calls it would not go into it.
    program = isinstance(forward.model, torch.jit.ScriptModule)
    ranks = _ranks() if program else contextlib.nullcontext()
    exported = forward.model if program else traced
    with ranks, _small_constants(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(
            exported,
            given,
            str(path),
            dynamo=False,
            input_names=list(signature.names),
            output_names=list(forward.outputs),
            dynamic_axes={name: named for name, named in axes.items() if named},
            # As inputs: written into the file, a gigabyte of them is copied again and again.
            export_params=False,
            # Both would fold batch normalisation into other weights under other names.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            verbose=False,
        )
        import onnx_ir as ir

        model = ir.from_proto(onnx.load(path))
    _fill(model, exported.state_dict(), signature)
    return model


def _fill(model: ir.Model, state: Mapping[str, torch.Tensor], signature: Signature) -> None:
    """Gives a graph its weights, which it has as inputs, where they are: none is copied."""
    from onnx_ir.tensor_adapters import TorchTensor

    for value in list(model.graph.inputs):
        name = value.name or ""
        if name in state and name not in signature.names:
            model.graph.inputs.remove(value)
            value.const_value = TorchTensor(state[name].detach(), name=name)
            model.graph.register_initializer(value)


@contextlib.contextmanager
def _small_constants() -> Iterator[None]:
    """Within it, TorchScript's exporter finds shapes with small constants alone (it copies what it
    is given, weights too, of which no shape follows), and merges no equal weights."""
    name = "_jit_pass_onnx_graph_shape_type_inference"
    infer = getattr(torch._C, name, None)

    def small(graph: Any, constants: Mapping[str, Any], *options: Any) -> Any:
        assert infer is not None
        kept = {n: c for n, c in constants.items() if _numbers_in(c) <= _FEW_NUMBERS}
        return infer(graph, kept, *options)

    def unmerged(graph: Any, state: Mapping[str, Any], *options: Any) -> Any:
        return state

    with contextlib.ExitStack() as stack:
        instead = {name: small, "_jit_pass_onnx_deduplicate_initializers": unmerged}
        for known, function in instead.items():
            if hasattr(torch._C, known):  # private: a version may have none
                stack.enter_context(mock.patch.object(torch._C, known, function))
        yield


def _numbers_in(constant: Any) -> int:
    return constant.numel() if isinstance(constant, torch.Tensor) else 0


@contextlib.contextmanager
def _ranks() -> Iterator[None]:
    """Within it, the exporter knows how many axes `unflatten` gives, which a program does not say.

    Attention splits its projections so, and cannot be exported without.
    """
    from torch.onnx import symbolic_helper, symbolic_opset13

    onnx: Any = torch.onnx

    def unflatten(g: Any, input: Any, dim: Any, sizes: Any) -> Any:
        value = symbolic_opset13.unflatten(g, input, dim, sizes)
        rank = symbolic_helper._get_tensor_rank(input)
        if rank is not None and symbolic_helper._is_packed_list(sizes):
            count = len(symbolic_helper._unpack_list(sizes))
            value.setType(value.type().with_sizes([None] * (rank + count - 1)))
        return value

    name = "aten::unflatten"
    onnx.register_custom_op_symbolic(name, unflatten, 13)
    try:
        yield
    finally:
        onnx.unregister_custom_op_symbolic(name, 13)


def _rename(model: ir.Model, signature: Signature, outputs: tuple[str, ...]) -> None:
    """Weights under the state dict's names, outputs under the module's."""
    import onnx_ir as ir

    taken = {*signature.names, *outputs}
    for name, value in list(model.graph.initializers.items()):
        own = name.removeprefix(FRONT)
        if own != name and own not in taken and own not in model.graph.initializers:
            value.name = own
    given: set[int] = set()
    for i, (value, name) in enumerate(zip(model.graph.outputs, outputs, strict=True)):
        # What has a name of its own already, as an input, a weight or another output, is handed on.
        if value.is_graph_input() or value.is_initializer() or id(value) in given:
            node = ir.node("Identity", [value])
            output = node.outputs[0]
            output.type, output.shape = value.type, value.shape
            model.graph.append(node)
            model.graph.outputs[i] = value = output
        value.name = name
        given.add(id(value))


def _axes(model: ir.Model, signature: Signature) -> dict[str, str]:
    """What the exporter called each named axis -> its name."""
    import onnx_ir as ir

    axes: dict[str, str] = {}
    arguments = {a.name: a for a in signature.arguments}
    for value in model.graph.inputs:
        argument = arguments.get(value.name or "")
        if argument is None or value.shape is None:
            continue
        for axis, symbol in zip(argument.axes, value.shape, strict=False):
            if isinstance(axis, str) and isinstance(symbol, ir.SymbolicDim) and symbol.value:
                axes.setdefault(symbol.value, axis)
    return axes


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """What torch's own C++ prints goes nowhere: of a graph that it gives up, all of it on stdout,
    where the report is to stand."""
    kept: list[tuple[int, int]] = []
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            with contextlib.suppress(OSError):  # it is closed: then nobody hears it anyway
                kept.append((stream, os.dup(stream)))
                os.dup2(nowhere, stream)
        yield
    finally:
        _flush()
        for stream, before in kept:
            os.dup2(before, stream)
            os.close(before)
        os.close(nowhere)


def _flush() -> None:
    """Writes out what Python and C hold back."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # none, a closed one, or somebody's own
            stream.flush()
    with contextlib.suppress(Exception):  # a system whose C library is found otherwise
        ctypes.CDLL(None).fflush(None)


@contextlib.contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """The exporters print and warn about themselves: nothing is shown, the warnings are given."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with (
            warnings.catch_warnings(record=True) as complaints,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("always")
            yield complaints
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
