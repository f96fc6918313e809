"""A captured program, or a module -> its values within, by name, as torch computes them.

In the module's own precision and in float64, which says how far off anything in the former may be.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from interop.runtimes.base import Array

_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in a person's code a value comes from: module path, class, "file.py:line"."""

    module: str = ""
    kind: str = ""
    source: str = ""
    target: str = ""


class Captured:
    """The program that torch.export took of a module: its values by the names of its nodes."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self.nodes = {n.name: n for n in program.graph.nodes if n.op == "call_function"}

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives, in order ("" where an output is a constant)."""
        specs = self._program.graph_signature.output_specs
        kept = [s for s in specs if s.kind == OutputKind.USER_OUTPUT]
        return [str(getattr(s.arg, "name", "") or "") for s in kept]

    def values(
        self, names: Collection[str], batch: Mapping[str, Array], *, double: bool
    ) -> dict[str, Array]:
        """The tensors of those names."""
        values: dict[str, Array] = {}

        def keep(name: str, value: Any) -> None:
            if name in names and isinstance(value, torch.Tensor):
                values[name] = to_host(value)

        self._run(batch, double, keep)
        return values

    def sizes(self, batch: Mapping[str, Array]) -> dict[str, int]:
        """The bytes of each tensor that a node gives, in float32."""
        sizes: dict[str, int] = {}

        def keep(name: str, value: Any) -> None:
            if isinstance(value, torch.Tensor) and name in self.nodes:
                sizes[name] = value.nbytes

        self._run(batch, False, keep)
        return sizes

    def origin(self, name: str) -> Origin:
        """Where a value comes from."""
        node = self.nodes.get(name)
        if node is None:
            return Origin()
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", "")
        kind = kind if isinstance(kind, str) else kind.__name__
        return Origin(
            _clean(path), kind.rpartition(".")[2], _place(node.meta.get("stack_trace") or ""),
            str(node.target),
        )  # fmt: skip

    def _run(
        self, batch: Mapping[str, Array], double: bool, keep: Callable[[str, Any], None]
    ) -> None:
        with torch.no_grad():
            _Interpreter(self._program.graph_module, double, keep).run(
                *self._arguments(batch, double), enable_io_processing=False
            )

    def _arguments(self, batch: Mapping[str, Array], double: bool) -> list[Any]:
        program = self._program
        given = (torch.from_numpy(np.ascontiguousarray(a)) for a in batch.values())
        arguments: list[Any] = []
        for spec in program.graph_signature.input_specs:
            if spec.kind == InputKind.USER_INPUT:
                # A constant argument stands in the signature with its value, and is no array.
                constant = getattr(spec.arg, "value", None)
                arguments.append(next(given) if constant is None else constant)
            else:
                name = spec.target or ""
                weight = program.state_dict.get(name)
                arguments.append(weight if weight is not None else program.constants[name])
        return [_cast(a, double) for a in arguments]


class _Interpreter(torch.fx.Interpreter):
    """Runs node by node; with `double`, whatever is float32 or narrower becomes float64."""

    def __init__(
        self, module: torch.fx.GraphModule, double: bool, keep: Callable[[str, Any], None]
    ) -> None:
        super().__init__(module)
        self._double, self._keep = double, keep

    def run_node(self, n: torch.fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            value = _cast(value, self._double)
        self._keep(n.name, value)
        return value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if self._double:
            widen = torch.utils._pytree.tree_map
            args, kwargs = widen(_wide, args), widen(_wide, kwargs)
        output = super().call_function(target, args, kwargs)
        if isinstance(output, tuple | list):
            return type(output)(_cast(v, self._double) for v in output)
        return output


class Hooked:
    """A module's submodules while it runs: what each was given and gave, by its path.

    Of a submodule that is called several times nothing is kept: no name tells the calls apart.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.kinds = {path: type(m).__name__ for path, m in module.named_modules()}

    def values(
        self, batch: Mapping[str, Array], *, double: bool, only: Collection[str] | None = None
    ) -> tuple[dict[str, tuple[Array | None, Array]], list[Array]]:
        """(path -> (first input, first output), in the order in which they end; the outputs)."""
        module = copy.deepcopy(self._module).cpu().double() if double else self._module
        pairs: dict[str, tuple[Array | None, Array]] = {}
        calls: dict[str, int] = {}

        def watch(path: str) -> Any:
            def hook(part: nn.Module, given: Any, output: Any) -> None:
                calls[path] = calls.get(path, 0) + 1
                tensors = leaves(output)
                if tensors and path and (only is None or path in only):
                    first = next(iter(leaves(given)), None)
                    before = to_host(first) if first is not None else None
                    pairs[path] = before, to_host(tensors[0])

            return hook

        handles = [m.register_forward_hook(watch(p)) for p, m in module.named_modules()]
        given = [_cast(torch.from_numpy(np.ascontiguousarray(a)), double) for a in batch.values()]
        try:
            with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
                outputs = [to_host(t) for t in leaves(module(*given))]
        finally:
            for handle in handles:
                handle.remove()
        return {p: v for p, v in pairs.items() if calls[p] == 1}, outputs


def leaves(value: Any) -> list[torch.Tensor]:
    """The tensors of a nesting, in order."""
    return [t for t in torch.utils._pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def to_host(tensor: torch.Tensor) -> Array:
    """A copy: what comes after may write into the same memory."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: Array = tensor.resolve_conj().resolve_neg().numpy().copy()
    return array


def _cast(value: Any, double: bool) -> Any:
    if double and isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.double()
    return value


def _wide(value: Any) -> Any:
    narrow = (torch.float32, torch.float16, torch.bfloat16)
    return torch.float64 if value in narrow and isinstance(value, torch.dtype) else value


def _clean(path: str) -> str:
    """Without the "L['self']." that some captures write before a path."""
    return path.removeprefix("L['self'].").removeprefix("L['self']")


def _place(trace: str) -> str:
    """The innermost line of a stack trace that is neither torch's nor of no file."""
    place = ""
    for line in trace.splitlines():
        line = line.strip()
        if not line.startswith('File "'):
            continue
        file, _, rest = line[6:].partition('", line ')
        if not file.startswith((_TORCH, "<")):
            place = f"{Path(file).name}:{rest.partition(',')[0]}"
    return place
