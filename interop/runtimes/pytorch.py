"""A torch.nn.Module -> a Runtime: native PyTorch, the side that an export is held against."""

from __future__ import annotations

import contextlib
import copy
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree

from interop.errors import ConfigError, DeviceMissing, ModelError
from interop.facts import Json
from interop.models.signature import Forward
from interop.runtimes import clock
from interop.runtimes.base import Array, Batch, Bound, Runtime, check_device

HOW: Mapping[str, str] = {"eager": "", "compile": "compile", "script": "torchscript"}
PRECISIONS = ("float32", "float16", "bfloat16")
# So many input shapes are compiled each for itself; what comes after them shares one graph of
# dynamic shapes, or texts of all lengths would be compiled for each length.
_STATIC_SHAPES = 4
_RECOMPILES = 256
# How far a trace may be from the module at a shape that it was not traced at, of the largest
# output. It is to catch a size that was baked in, not rounding.
_TRACE_TOLERANCE = 0.05
_Call = Callable[..., Any]
# Those that are open and set the process's threads, in the order in which they did.
_setters: list[TorchRuntime] = []


class TorchRuntime(Runtime):
    """The module as it is (its training flag too) under inference_mode.

    `how` is "eager"; "compile", torch.compile for each input's shape, from the fifth on with
    dynamic shapes; or "script", torch.jit.trace of the first batch, frozen, and traced again for a
    shape at which that trace answers otherwise than the module. `precision` converts a copy of the
    module; None leaves it the type that it has. `threads` is for the whole process while the
    runtime is open; None leaves torch's own number. `tf32` lets CUDA round float32 products to 10
    bits of mantissa: off, so that both runtimes compute alike.

    Raises DeviceMissing where CUDA is asked for and torch has none, ConfigError for another `how`
    or `precision`. A module that cannot be compiled or traced is a ModelError of the first run.
    """

    def __init__(
        self,
        module: nn.Module,
        device: str = "cpu",
        threads: int | None = None,
        *,
        tf32: bool = False,
        how: str = "eager",
        precision: str | None = None,
    ) -> None:
        require_torch_device(device)
        _check("how", how, HOW)
        _check("precision", precision or "float32", PRECISIONS)
        lower = precision if precision != "float32" else ""
        self.name = " ".join(filter(None, ("pytorch", HOW[how], lower)))
        self.device, self.tf32, self.how = device, tf32, how
        self._threads = torch.get_num_threads()
        if threads is not None:
            torch.set_num_threads(threads)
            _setters.append(self)
        if precision is not None and dtype_of(module) != getattr(torch, precision):
            module = copy.deepcopy(module).to(getattr(torch, precision))
        self._module: nn.Module | None = module.to(device)
        self._names = module.signature.names if isinstance(module, Forward) else ()
        self._dtype = dtype_of(module)
        self._made: dict[tuple[Any, ...], _Call] = {}
        self._any_shape: _Call | None = None
        self._graphs = 0

    def outputs(self, batch: Batch) -> tuple[Array, ...]:
        # Copied: a module may write into its input, which others are given as well.
        given = tuple(t.clone() for t in self._given(batch))
        # Copying to the host waits for the device: no further synchronisation is needed.
        return tuple(host(t) for t in tensors_of(self._run(given)))

    def bind(self, batch: Batch) -> Bound:
        given = self._given(batch)
        call = self._call(given)

        def run() -> None:
            call(given)
            if self.device == "cuda":
                torch.cuda.synchronize()

        return Bound(run)

    def ready(self, batch: Batch) -> Bound:
        given = self._given(batch)
        call = self._call(given)
        if self.device == "cpu" and self._dtype in (torch.float32, torch.float64):
            arrays = batch.values() if isinstance(batch, Mapping) else (batch,)
            addresses = {a.__array_interface__["data"][0] for a in arrays}
            # Where nothing is cast it lies there already.
            if all(t.data_ptr() in addresses for t in given):
                return Bound(lambda: call(given))
        return Bound(lambda: tuple(host(t) for t in tensors_of(call(self._given(batch)))))

    def clock(self) -> Callable[[], float] | None:
        return clock.started() if self.device == "cuda" else None

    def conditions(self) -> dict[str, Json]:
        conditions: dict[str, Json] = {
            "runtime": self.name,
            "torch": torch.__version__,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "dtype": str(self._dtype).removeprefix("torch."),
            "tf32": self.tf32,
            "how": self.how,
        }
        if self.how == "compile":
            conditions["graphs"] = self._graphs
        if self.device == "cuda":
            conditions["gpu"] = torch.cuda.get_device_name()
            conditions["cuda"] = torch.version.cuda
            conditions["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return conditions

    def close(self) -> None:
        if self._module is not None:
            self._module = None
            self._made.clear()
            self._any_shape = None
            self._put_threads_back()
            if self.device == "cuda":
                torch.cuda.empty_cache()

    def _put_threads_back(self) -> None:
        """In whatever order several are closed, the number in the end is that of the beginning."""
        if self not in _setters:
            return
        place = _setters.index(self)
        del _setters[place]
        if place == len(_setters):
            torch.set_num_threads(self._threads)
        else:
            _setters[place]._threads = self._threads

    def _given(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        if isinstance(batch, Mapping) and len(batch) > 1 and self._names:
            lacking = [n for n in self._names if n not in batch]
            if lacking:
                what = f"takes {', '.join(self._names)}, and was given no {', '.join(lacking)}"
                raise ModelError(what, fix="give an array for each input, by the input's name")
            batch = {name: batch[name] for name in self._names}
        return tensors(batch, self._dtype, self.device)

    def _call(self, given: tuple[torch.Tensor, ...]) -> Callable[[tuple[torch.Tensor, ...]], Any]:
        """What runs inputs of these shapes, and does nothing else."""
        assert self._module is not None, "the runtime is closed"
        target: _Call = self._module
        if self.how != "eager":
            self._run(given)
            target = self._made[_shapes(given)]
        if self.device != "cuda":

            def run(given: tuple[torch.Tensor, ...]) -> Any:
                with torch.inference_mode():
                    return target(*given)

            return run

        def run_there(given: tuple[torch.Tensor, ...]) -> Any:
            _set_tf32(self.tf32)  # for the whole process: another runner may have set it otherwise
            with torch.inference_mode():
                return target(*given)

        return run_there

    def _run(self, given: tuple[torch.Tensor, ...]) -> Any:
        assert self._module is not None, "the runtime is closed"
        if self.device == "cuda":
            _set_tf32(self.tf32)
        # What a person's module prints is no part of any report.
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
            if self.how == "eager":
                return self._module(*given)
            key = _shapes(given)
            if key in self._made:
                return self._made[key](*given)
            make = self._compiled if self.how == "compile" else self._scripted
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tracers warn of much; what counts is raised
                try:
                    self._made[key], output = make(given)
                except ModelError:
                    raise
                except Exception as error:  # compilers raise anything
                    raise _cannot(HOW[self.how], error) from None
            return output

    def _compiled(self, given: tuple[torch.Tensor, ...]) -> tuple[_Call, Any]:
        if self._any_shape is not None:
            return self._any_shape, self._any_shape(*given)
        import torch._dynamo

        config: Any = torch._dynamo.config
        # One code serves all models of a process, and its limit of graphs would end in eager runs
        # that pass for compiled ones.
        config.recompile_limit = max(config.recompile_limit, _RECOMPILES)
        config.fail_on_recompile_limit_hit = True
        inductor: _Call = torch._dynamo.lookup_backend("inductor")
        graphs = self._graphs

        def counted(graph: Any, inputs: Any) -> Any:
            self._graphs += 1
            return inductor(graph, inputs)

        assert self._module is not None
        dynamic = len(self._made) >= _STATIC_SHAPES
        call: _Call = torch.compile(self._module, backend=counted, dynamic=dynamic)
        output = call(*given)
        if self._graphs == graphs:
            raise ModelError(
                "compile cannot be had of this module: torch compiled nothing of it and ran it "
                "eagerly",
                fix="leave pytorch:compile away",
            )
        if dynamic:
            self._any_shape = call
        return call, output

    def _scripted(self, given: tuple[torch.Tensor, ...]) -> tuple[_Call, Any]:
        assert self._module is not None
        native = tensors_of(self._module(*given))
        if self._made:
            last = list(self._made.values())[-1]
            # A trace that fails at this shape is traced anew like one that answers otherwise.
            with contextlib.suppress(Exception):
                output = last(*given)
                if _alike(tensors_of(output), native):
                    return last, output
        jit: Any = torch.jit
        call: _Call = jit.trace(_Flat(self._module), given, check_trace=False)
        if not self._module.training:
            call = jit.freeze(call)
        output = call(*given)
        if not _alike(tensors_of(output), native):
            what = "its TorchScript trace answers otherwise than the module itself"
            raise ModelError(what, fix="leave pytorch:torchscript away")
        return call, output


class _Flat(nn.Module):
    """A module that gives its tensors in a tuple: traces know no mapping of several types."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.train(module.training)

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensors_of(self.module(*given)))


def require_torch_device(device: str) -> None:
    """DeviceMissing where CUDA is asked for and torch has none; ConfigError for no such device."""
    check_device(device)
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing(
            f"torch {torch.__version__} finds no CUDA device here",
            where="--device cuda",
            fix="run on a machine with an NVIDIA GPU and driver (interop doctor), or ask for "
            "--device cpu",
        )


def dtype_of(module: nn.Module) -> torch.dtype:
    """The floating-point type of the module's first tensor that has one, else float32."""
    floats = (t.dtype for t in module.state_dict().values() if t.is_floating_point())
    return next(floats, torch.float32)


def tensors(
    batch: Batch, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """A batch as positional arguments: numbers of floating point in `dtype`, others as they are."""
    arrays = batch.values() if isinstance(batch, Mapping) else (batch,)
    values = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    return tuple(t.to(device, dtype if t.is_floating_point() else t.dtype) for t in values)


def tensors_of(outputs: Any) -> list[torch.Tensor]:
    """The tensors in what a module gave (one, a tuple, a mapping or a nesting), in order."""
    return [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _check(what: str, given: str, known: Any) -> None:
    if given not in known:
        raise ConfigError(f"{given!r} is no {what} of PyTorch", fix=f"give {', '.join(known)}")


def _shapes(given: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
    return tuple((tuple(t.shape), t.dtype) for t in given)


def _alike(ours: list[torch.Tensor], native: list[torch.Tensor]) -> bool:
    """Whether shapes are the same, and numbers but for rounding."""
    if [t.shape for t in ours] != [t.shape for t in native]:
        return False
    for a, b in zip(ours, native, strict=True):
        if not b.numel():
            continue
        scale = float(b.double().abs().nan_to_num(0, 0, 0).max()) or 1.0
        far = (a.double() - b.double()).abs().nan_to_num(0, 0, 0).max()
        if float(far) > _TRACE_TOLERANCE * scale:
            return False
    return True


def _cannot(way: str, error: Exception) -> ModelError:
    lines = [x.strip() for x in str(error).splitlines() if x.strip()]
    why = (lines or [type(error).__name__])[0][:240]
    fix = f"leave pytorch:{way} away"
    return ModelError(f"{way} cannot be had of this module: {type(error).__name__}: {why}", fix=fix)


def host(tensor: torch.Tensor) -> Array:
    """A tensor as an array here; numbers of fewer bits than float32 as float32."""
    tensor = tensor.detach().cpu()
    keeps = not tensor.is_floating_point() or tensor.dtype == torch.float64
    array: Array = (tensor if keeps else tensor.float()).numpy()
    return array


def _set_tf32(on: bool) -> None:
    # Not by `fp32_precision`, part for part: torch.compile reads the older switches, and torch
    # refuses to answer where the two were set differently.
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on
