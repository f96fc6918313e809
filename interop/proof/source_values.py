"""A source -> the values that it computes on the way, each with what it is computed from.

A source is a PyTorch module, or an ONNX file that another one was made from.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.weak import WeakIdKeyDictionary

from interop.models.signature import Forward, unmarked
from interop.proof.float64_reference import exact
from interop.proof.intermediates_onnx import CHUNK, Observed
from interop.proof.intermediates_torch import leaves, to_host
from interop.proof.parity import distance
from interop.runtimes.base import Array
from interop.runtimes.pytorch import tensors

INPUT = "input"  # the kind of a value that the source is given

_aten = torch.ops.aten
# Converters often write these as several nodes: their parts have values that can be compared.
_PARTS = get_decompositions([
    _aten.native_layer_norm, _aten.native_group_norm, _aten._softmax, _aten._log_softmax,
    _aten.gelu, _aten.silu, _aten.hardswish, _aten.hardsigmoid, _aten.mish, _aten.addmm,
    _aten.baddbmm, _aten._scaled_dot_product_flash_attention_for_cpu,
])  # fmt: skip

# What torch itself writes as other operators (a linear layer as a product and a sum).
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@dataclass(frozen=True, slots=True)
class SourceValue:
    """One value: number `index` in the order in which the source computes its values.

    `module` is the path of the module that computes it ("layer3.0.conv2"), `kind` the module's
    class; of an ONNX file they are the node's name and its operator. `inputs` are the indices of
    the values that it is computed from. `native` is how far off the source's own precision is, as
    a share of the largest value; None if that is unknown.
    """

    index: int
    name: str
    module: str
    kind: str
    array: Array
    inputs: tuple[int, ...]
    native: float | None = None


Take = Callable[[SourceValue], None]


class SourceValues(Protocol):
    """Whatever can compute a source's values for a batch, the same ones each time."""

    def visit(self, batch: Mapping[str, Array], take: Take) -> None:
        """Call `take` with each value that depends on the input, in the order of computation.

        The first values are the inputs themselves, of the kind INPUT. An index of 0 starts anew:
        what came before belongs to a run that failed.
        """


class ModuleValues:
    """The values of a module that takes positional tensors: of each operator that it runs.

    They are in float64 if the module runs in float64, else in its own precision. The paths are
    those of the model within a `Forward`.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._root = next((m.model for m in module.modules() if isinstance(m, Forward)), module)
        floats = (t.dtype for t in module.state_dict().values() if t.is_floating_point())
        self._dtype = next(floats, torch.float32)
        self._measured: tuple[list[Array], dict[str, float] | None] | None = None

    def visit(self, batch: Mapping[str, Array], take: Take) -> None:
        """Call `take` with each value. Raises what the module raises."""
        errors = self._errors(batch)
        if errors is None:
            self._natively(batch, take)
            return

        def measured(value: SourceValue) -> None:
            take(replace(value, native=errors.get(value.name)))

        exact(self._module, batch, lambda: self._watched(measured))

    def _errors(self, batch: Mapping[str, Array]) -> dict[str, float] | None:
        """How far native is from float64 at each value, by name; None if float64 is unavailable."""
        arrays = list(batch.values())
        if self._measured is not None:
            of, errors = self._measured
            if len(of) == len(arrays) and all(a is b for a, b in zip(of, arrays, strict=True)):
                return errors
        self._measured = arrays, self._measure(batch)
        return self._measured[1]

    def _measure(self, batch: Mapping[str, Array]) -> dict[str, float] | None:
        errors: dict[str, float] = {}
        done = False
        start = 0
        while not done:  # as many values at a time as memory should hold
            held: dict[str, Array] = {}
            size, stop = 0, None

            def keep(value: SourceValue, held: dict[str, Array] = held, start: int = start) -> None:
                nonlocal size, stop
                if value.index < start or stop is not None:
                    return
                if held and size + value.array.nbytes > CHUNK:
                    stop = value.index
                    return
                size += value.array.nbytes
                held[value.name] = value.array

            def compare(value: SourceValue, held: dict[str, Array] = held) -> None:
                if value.name in held:
                    errors[value.name] = distance(held[value.name], value.array)

            self._natively(batch, keep)
            if exact(self._module, batch, lambda see=compare: self._watched(see)) is None:  # type: ignore[misc]
                return None
            done, start = stop is None, stop or 0
        return errors

    def _natively(self, batch: Mapping[str, Array], take: Take) -> None:
        quiet = contextlib.redirect_stdout(sys.stderr)
        with unmarked(self._module), torch.inference_mode(), quiet:
            given = [t.clone() for t in tensors(batch, self._dtype)]
            with self._watched(take):
                self._module(*given)

    @contextlib.contextmanager
    def _watched(self, take: Take) -> Iterator[None]:
        watch = _Watch(take, type(self._root).__name__)
        handles = [self._module.register_forward_pre_hook(lambda _, given: watch.start(given))]
        for path, part in self._root.named_modules():
            here = path, type(part).__name__
            handles += [
                part.register_forward_pre_hook(lambda *_, here=here: watch.where.append(here)),  # type: ignore[misc]
                part.register_forward_hook(
                    lambda *_: watch.where.pop() and None, always_call=True
                ),
            ]  # fmt: skip
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole encoder layer
        try:
            with watch:
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for handle in handles:
                handle.remove()


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives each tensor that an operator computes from the input, with what it is computed from."""

    def __init__(self, take: Take, kind: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.where = [("", kind)]
        self._take = take
        self._count = 0
        self._names: Counter[str] = Counter()
        # The values that a tensor is, and the last one that was written into a memory.
        self._known: Any = WeakIdKeyDictionary()
        self._written: dict[int, int] = {}

    def start(self, given: tuple[Any, ...]) -> None:
        """Take the tensors that the module is given as the first values."""
        with _disable_current_modes():
            for tensor in leaves(given):
                self._give(tensor, INPUT, (), INPUT)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        parts = _PARTS.get(func)
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE.name):
            parts = partial(func._op_dk, _COMPOSITE)
        if parts is not None:
            with self:
                output = parts(*args, **kwargs)
            if output is not NotImplemented:
                return output
        given = leaves((args, kwargs))
        memories = {_memory(t) for t in given}
        inputs = {i for t in given for i in self._known.get(t, ())}
        inputs |= {self._written[m] for m in memories if m in self._written}
        output = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        for tensor in leaves(output):
            memory = _memory(tensor)
            if inputs:
                self._give(tensor, name, tuple(sorted(inputs)), self.where[-1][1])
                if memory not in memories or func._schema.is_mutable:
                    self._written[memory] = self._known[tensor][0]
            elif memory not in memories:  # freed memory is used again
                self._written.pop(memory, None)
        return output

    def _give(
        self, tensor: torch.Tensor, operator: str, inputs: tuple[int, ...], kind: str
    ) -> None:
        path = self.where[-1][0]
        front = f"{path}:{operator}"
        self._names[front] += 1
        self._known[tensor] = (self._count,)
        name = f"{front}:{self._names[front]}"
        self._take(SourceValue(self._count, name, path, kind, to_host(tensor), inputs))
        self._count += 1


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class GraphValues:
    """The values of another ONNX file: all outputs of its nodes, without graph optimisation."""

    def __init__(self, path: Path) -> None:
        self._graph = Observed(path)

    def visit(self, batch: Mapping[str, Array], take: Take) -> None:
        """Call `take` with each value. Raises what ONNX Runtime raises."""
        index: dict[str, int] = {}
        for name, array in zip(self._graph.inputs, batch.values(), strict=True):
            take(SourceValue(len(index), name, "", INPUT, array, ()))
            index[name] = len(index)
        for values in self._graph.parts(self._graph.dependent, batch):
            for name, array in values.items():
                node = self._graph.producer[name]
                inputs = tuple(index[n] for n in self._graph.taken(name) if n in index)
                path = node.name or node.output[0]
                take(SourceValue(len(index), name, path, node.op_type, array, inputs))
                index[name] = len(index)
