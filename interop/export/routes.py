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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import onnx_ir as ir
import torch
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from interop.export import skip_decomposition
from interop.models.signature import BATCH, Forward, Signature
from interop.models.signature.forward import FRONT
from interop.models.signature.types import DETECTIONS
from interop.proof import Feed, guards
from interop.proof.guards import Guard, TooManyGuards
from interop.runtimes.pytorch import tensors

__all__ = [
    "ROUTES", "Converted", "Learned", "Route", "TooManyGuards", "convert", "fitting", "opened",
    "remedy", "why",
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


def fitting(forward: Forward, attention: bool) -> list[Route]:
    """The routes that differ for a module of such inputs; `attention` says that it has some.

    A TorchScript program goes through TorchScript's own exporter: torch.export takes none.
    """
    signature = forward.signature
    if isinstance(forward.model, torch.jit.ScriptModule):
        return [r for r in ROUTES if not r.dynamo and (signature.varying or r.open != "batch")]
    if signature.kind == DETECTIONS:  # what is found in a picture has no fixed count
        return [r for r in ROUTES if not r.dynamo and r.open != "batch"]
    return [
        r for r in ROUTES if (attention or not r.plain) and (signature.varying or r.open != "batch")
    ]


def convert(
    forward: Forward,
    feed: Feed,
    route: Route,
    *,
    budget: int | None = None,
    learned: Learned | None = None,
) -> Converted:
    """The module's graph for inputs like the feed's.

    Inputs bear the signature's names, outputs those that the module's have. `budget` is the most
    guards that a trace may note. `learned` is given the guards of the trace, whether or not a graph
    comes of it. Raises whatever the exporter raises, and TooManyGuards.
    """
    signature = opened(forward.signature, route)
    example = feed.example(2 if any(BATCH in a.axes for a in signature.arguments) else 1)
    dtype = next((t.dtype for t in forward.parameters() if t.is_floating_point()), torch.float32)
    given = tensors(example, dtype)
    read: list[str] = []
    unparsed = skip_decomposition.unparsed()
    with _quiet() as complaints, torch.no_grad(), _attention(route.plain), unparsed:
        if route.dynamo:
            program, read = _guarded(forward, signature, given, route, budget, learned)
            model = program.model
        else:
            with _unheard(), guards.read_as_text(read):
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


def guards_of(forward: Forward, feed: Feed, signature: Signature) -> tuple[Guard, ...]:
    """The guards of the module with the signature's named axes open; () where none can be had."""
    dtype = next((t.dtype for t in forward.parameters() if t.is_floating_point()), torch.float32)
    given = tensors(feed.example(2 if signature.batched else 1), dtype)
    shapes = _dynamic(signature)
    with contextlib.suppress(Exception), _quiet(), torch.no_grad(), guards.captured() as seen:
        torch.export.export(forward, given, dynamic_shapes=(shapes,), strict=False)
    return seen.of(signature) or ()


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


def why(error: BaseException) -> str:
    """An exporter's error in one line: its first cause, without advice and without paths."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    # A first line that ends in a colon says nothing without the second.
    sentence = " ".join(lines[: 1 + lines[0].endswith(":")]) if lines else "no reason given"
    text = re.sub(r"(?:/[\w.+-]+)+/", "", sentence)
    return f"{type(cause).__name__}: {text[:240]}"


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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(
            forward.model if program else forward,
            given,
            str(path),
            dynamo=False,
            input_names=list(signature.names),
            output_names=list(forward.outputs),
            dynamic_axes={name: named for name, named in axes.items() if named},
            # Both would fold batch normalisation into other weights under other names.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            verbose=False,
        )
        model = ir.load(path)
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
    return model


def _rename(model: ir.Model, signature: Signature, outputs: tuple[str, ...]) -> None:
    """Weights under the state dict's names, outputs under the module's."""
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
def _attention(plain: bool) -> Iterator[None]:
    """With `plain`, attention over any number of axes in single steps, as its documentation has it.

    The exporters know the fused operator for four axes alone.
    """
    if not plain:
        yield
        return

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if enable_gqa and key.shape[-3] != query.shape[-3]:
            times = query.shape[-3] // key.shape[-3]
            key, value = (t.repeat_interleave(times, -3) for t in (key, value))
        scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            allowed = torch.ones_like(scores, dtype=torch.bool).tril()
            scores = scores.masked_fill(~allowed, float("-inf"))
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        return scores.softmax(-1) @ value

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attend):
        yield


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
