"""A module and an example input -> an ONNX graph in memory, by the first exporter route that can.

The routes stand in the order in which they reached most models; each is proved like the first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from interop.runtimes.pytorch import tensors_of


@dataclass(frozen=True, slots=True)
class Route:
    """One way through torch's exporters.

    `folds` says that the exporter rewrites weights (constant folding), so that not all initialisers
    are the checkpoint's tensors; `dynamic` that the batch axis stays open.
    """

    name: str
    dynamo: bool
    dynamic: bool
    folds: bool = False


ROUTES = (
    # Without the exporter's optimiser: exact, cheaper, and every weight stays as it is. What that
    # leaves (`graph.fold_constants`), ONNX Runtime folds and fuses when it loads the graph.
    Route("dynamo", dynamo=True, dynamic=True),
    Route("dynamo, optimised", dynamo=True, dynamic=True, folds=True),
    Route("torchscript", dynamo=False, dynamic=True),
    Route("dynamo, fixed batch", dynamo=True, dynamic=False),
    Route("torchscript, fixed batch", dynamo=False, dynamic=False),
)
_LOGGERS = ("torch.onnx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir")


def convert(
    module: nn.Module, example: torch.Tensor, route: Route
) -> tuple[ir.Model, tuple[str, ...]]:
    """The module's graph for inputs like `example` (batch of 2 or more for a dynamic route).

    The input is called "input", a single output "output". With it come the places ("file:line")
    where a trace took a decision in Python for good; `decisions` tells whether on values.
    Raises whatever the exporter raises.
    """
    if not route.dynamic:
        example = example[:1]
    with _quiet() as said, torch.no_grad():
        model = _dynamo(module, example, route) if route.dynamo else _script(module, example, route)
    outputs = model.graph.outputs
    for i, value in enumerate(outputs):
        value.name = "output" if len(outputs) == 1 else f"output_{i}"
    traced = [w for w in said if issubclass(w.category, TracerWarning)]
    return model, tuple(dict.fromkeys(f"{Path(w.filename).name}:{w.lineno}" for w in traced))


def why(error: BaseException) -> str:
    """An exporter's error in one line, without its advice and without paths."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = re.sub(r"(?:/[\w.+-]+)+/", "", lines[0]) if lines else "no reason given"
    return f"{type(cause).__name__}: {text[:240]}"


def _dynamo(module: nn.Module, example: torch.Tensor, route: Route) -> ir.Model:
    batch = ({0: torch.export.Dim.DYNAMIC},) if route.dynamic else None
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        optimize=route.folds,
        dynamic_shapes=batch,
        input_names=["input"],
        verbose=False,
    )
    assert program is not None
    return program.model


def _script(module: nn.Module, example: torch.Tensor, route: Route) -> ir.Model:
    names = [f"output_{i}" for i in range(len(tensors_of(module(example))))]
    axes = {name: {0: "batch"} for name in ("input", *names)} if route.dynamic else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=False,
            input_names=["input"],
            output_names=names,
            dynamic_axes=axes,
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


@contextlib.contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """The exporters print and warn about themselves: nothing is shown, the warnings are given."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with (
            warnings.catch_warnings(record=True) as said,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("always")
            yield said
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
