"""An ONNX file -> a Runtime: ONNX Runtime on the provider that was asked for, or an error.

ONNX Runtime goes on with the CPU where CUDA cannot be had; here that is never called CUDA.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from interop.errors import ConfigError, DeviceMissing, ModelError, first_line
from interop.facts import Json
from interop.reading import read
from interop.runtimes import clock
from interop.runtimes.base import Array, Batch, Bound, Runtime, check_device
from interop.runtimes.memory import give_back

HOW = ("plain", "io-binding", "cuda-graph")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ASSIGNMENT = "session.record_ep_graph_assignment_info"
_FOLDER = "session.model_external_initializers_file_folder_path"
_MOST_HELD = 16  # sets of shapes: texts have many lengths
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class _Input(NamedTuple):
    type: str
    shape: tuple[int | str | None, ...]


@dataclass(slots=True)
class _Held:
    """A session's inputs at one set of shapes, at addresses that stay.

    A CUDA graph has a number, and reads and writes these addresses: its `outputs` stay as well.
    """

    binding: Any
    inputs: dict[str, Any]
    graph: int
    outputs: list[Any] = field(default_factory=list)


class OnnxRuntime(Runtime):
    """An ONNX Runtime session.

    `model` is a file, or a graph's bytes with the `folder` of its external data. `instead` are
    other values for initialisers by their names: for those that lie outside of the graph, or that
    are all `embedded` in it, which then runs without optimisations; so does one that is not
    `optimised`, which a few runs do not pay back. `threads` is for
    this session's operators; None leaves ONNX Runtime's own number. `spin` False lets idle threads
    sleep instead of burning a core; `arena` False gives back what a run took behind it; `prepack`
    False lays no weights out anew, which for a single run costs more than it saves. `tf32` as
    in TorchRuntime. `elsewhere` lists the nodes that did not land on the provider, as "name
    (operator) on provider".

    `how` is "plain"; "io-binding", where the device's memory for inputs and outputs is taken once
    for each set of shapes and filled anew at each run; or "cuda-graph", the same with the kernels
    captured once and replayed. `provider` is another than the device's own, by its name.
    `precision` is what the graph was lowered to, for the name alone. `clocked` puts the work on a
    stream of its own, by which `clock` times it.

    Raises DeviceMissing where the provider is not in this build, did not start or was given no
    node, and for a CUDA graph without CUDA; ConfigError for another `how`; ModelError where ONNX
    Runtime refuses the graph.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        device: str = "cpu",
        threads: int | None = None,
        *,
        tf32: bool = False,
        spin: bool = True,
        arena: bool = True,
        prepack: bool = True,
        optimised: bool = True,
        folder: str | Path | None = None,
        instead: Mapping[str, Array] | None = None,
        embedded: bool = False,
        how: str = "plain",
        provider: str | None = None,
        precision: str = "",
        clocked: bool = False,
    ) -> None:
        check_device(device)
        _check_way(how, provider, device)
        self.device, self.tf32, self.threads, self.how = device, tf32, threads, how
        self.provider = provider or PROVIDERS[device]
        way = "" if how == "plain" else how
        self.name = " ".join(filter(None, ("onnxruntime", way, provider, precision)))
        self._where_asked = _lane(provider) if provider else f"--device {device}"
        self._stream: Any = None
        if device == "cuda":
            _load_cuda_libraries()
            if clocked:
                import torch

                self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._held: dict[tuple[Any, ...], _Held] = {}
        self._graphs = 0
        options = _options(threads, spin, folder)
        options.enable_cpu_mem_arena = arena
        if embedded or not optimised:  # optimisations take the numbers of the file
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        if not prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        self._instead = _replaced(options, instead or {}, embedded)
        self.where = "model.onnx" if isinstance(model, bytes) else str(model)
        self._session = self._start(model, options)
        self.elsewhere: tuple[str, ...] = self._assert_provider()
        # Copied: what the session gives out keeps all of its memory alive.
        ports = self._session.get_inputs()
        self._inputs = {i.name: _Input(str(i.type), tuple(i.shape)) for i in ports}
        for name, port in self._inputs.items():
            if port.type not in _TYPES:
                what = f"its input {name} is a {port.type}, which is not run here"
                raise ModelError(what, where=self.where, fix=f"the types are {', '.join(_TYPES)}")

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """The first input's axes: a number where fixed, a name or None where dynamic."""
        return next(iter(self.input_shapes.values()), ())

    @property
    def input_shapes(self) -> dict[str, tuple[int | str | None, ...]]:
        """Each input's axes, by its name."""
        return {name: i.shape for name, i in self._inputs.items()}

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs' names, in their order."""
        assert self._session is not None, "the runtime is closed"
        return tuple(o.name for o in self._session.get_outputs())

    def outputs(self, batch: Batch) -> tuple[Array, ...]:
        assert self._session is not None, "the runtime is closed"
        given = self._given(batch)
        arrays = self._session.run(None, given) if self.how == "plain" else self._held_run(given)
        return tuple(a.astype(np.float32) if a.dtype == np.float16 else a for a in arrays)

    def _held_run(self, given: Mapping[str, Array]) -> Any:
        memory = self._hold(given)
        if self.how == "io-binding":  # new memory: what the last run gave out is its caller's
            self._bind_outputs(memory)
        self._replay(memory)
        return memory.binding.copy_outputs_to_cpu()

    def bind(self, batch: Batch) -> Bound:
        """Inputs and outputs stay on the device; on the CPU without io-binding as of `outputs`."""
        if self.how == "plain" and self.device == "cpu":
            return super().bind(batch)
        memory = self._hold(self._given(batch))
        return Bound(lambda: self._replay(memory))

    def ready(self, batch: Batch) -> Bound:
        assert self._session is not None, "the runtime is closed"
        given = self._given(batch)
        arrays = batch.values() if isinstance(batch, Mapping) else (batch,)
        cast = {id(a) for a in given.values()} - {id(a) for a in arrays}
        if cast or any(o.type == "tensor(float16)" for o in self._session.get_outputs()):
            return super().ready(batch)
        if self.how == "plain":
            session = self._session
            return Bound(lambda: session.run(None, given))
        return Bound(lambda: self._held_run(given))

    def clock(self) -> Callable[[], float] | None:
        return clock.started(self._stream) if self._stream is not None else None

    def _given(self, batch: Batch) -> dict[str, Array]:
        if not isinstance(batch, Mapping):
            batch = {next(iter(self._inputs)): batch}
        elif len(batch) == len(self._inputs) == 1:  # the only one, whatever it is called
            batch = dict(zip(self._inputs, batch.values(), strict=True))
        # What the answer does not depend on, an exporter leaves out of the graph.
        given: dict[str, Array] = {
            name: np.ascontiguousarray(array, dtype=_TYPES[self._inputs[name].type])
            for name, array in batch.items()
            if name in self._inputs
        }
        return given

    def _hold(self, given: Mapping[str, Array]) -> _Held:
        """Memory on the device for these shapes, with this batch's numbers in it."""
        key = tuple((name, a.shape) for name, a in given.items())
        if (memory := self._held.get(key)) is not None:
            for name, value in memory.inputs.items():
                value.update_inplace(given[name])
            return memory
        assert self._session is not None, "the runtime is closed"
        binding = self._session.io_binding()
        # Copied: on the CPU the value would be a view of the batch itself.
        inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(a.copy(), self.device, 0)
            for name, a in given.items()
        }
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        self._graphs += 1
        memory = _Held(binding, inputs, self._graphs)
        self._bind_outputs(memory)
        # The first run tells the outputs' shapes; -1 keeps it from being captured.
        self._replay(memory, graph=-1)
        if self.how == "cuda-graph":
            memory.outputs = list(binding.get_outputs())
            binding.clear_binding_outputs()
            for name, value in zip(self.output_names, memory.outputs, strict=True):
                binding.bind_ortvalue_output(name, value)
        if len(self._held) == _MOST_HELD:
            del self._held[next(iter(self._held))]
        self._held[key] = memory
        return memory

    def _bind_outputs(self, memory: _Held) -> None:
        memory.binding.clear_binding_outputs()
        for name in self.output_names:
            memory.binding.bind_output(name, self.device, 0)

    def _replay(self, memory: _Held, graph: int | None = None) -> None:
        assert self._session is not None, "the runtime is closed"
        if self.how == "cuda-graph":
            options = onnxruntime.RunOptions()
            number = memory.graph if graph is None else graph
            options.add_run_config_entry("gpu_graph_id", str(number))
            self._session.run_with_iobinding(memory.binding, options)
        else:
            self._session.run_with_iobinding(memory.binding)
        if self.device == "cuda":
            memory.binding.synchronize_outputs()

    def conditions(self) -> dict[str, Json]:
        assert self._session is not None, "the runtime is closed"
        return {
            "runtime": self.name,
            "onnxruntime": onnxruntime.__version__,
            "device": self.device,
            "providers": list(self._session.get_providers()),
            "elsewhere": list(self.elsewhere),
            "threads": self._session.get_session_options().intra_op_num_threads or "default",
            "dtype": _dtype(self._inputs.values()),
            "tf32": self.tf32,
            "how": self.how,
        }

    def close(self) -> None:
        if self._session is not None:
            self._held.clear()
            self._session = None
            give_back()

    def _start(self, model: str | Path | bytes, options: Any) -> Any:
        try:
            # What a provider that does not load has to say, it prints on stdout: a report's place.
            with contextlib.redirect_stdout(sys.stderr):
                providers = self._providers()
                return onnxruntime.InferenceSession(
                    model if isinstance(model, bytes) else str(model),
                    options,
                    providers=providers,
                    disabled_optimizers=list(_unsafe(model)) if self.device == "cpu" else None,
                )
        except Exception as error:  # its exceptions have no common base of their own
            what = f"ONNX Runtime refuses the graph: {first_line(error, 1000)}"
            fix = "export it again, or look for an operator that ONNX Runtime lacks"
            raise ModelError(what, where=self.where, fix=fix) from None

    def _providers(self) -> list[Any]:
        """The one that was asked for, then those that may take what it leaves."""
        # ONNX Runtime keeps shape arithmetic on the CPU of its own accord; `elsewhere` names it.
        providers: list[Any] = [] if self.provider in PROVIDERS.values() else [self.provider]
        if self.device == "cuda":
            options = {"use_tf32": str(int(self.tf32))}
            if self.how == "cuda-graph":
                options["enable_cuda_graph"] = "1"
            if self._stream is not None:
                stream = {"user_compute_stream": str(self._stream.cuda_stream)}
                options |= stream
                providers = [(p, stream) for p in providers]
            providers.append((PROVIDERS["cuda"], options))
        return [*providers, PROVIDERS["cpu"]]

    def _assert_provider(self) -> tuple[str, ...]:
        wanted = self.provider
        active = self._session.get_providers()
        if wanted not in active:
            raise _missing(
                f"{wanted} does not start: ONNX Runtime {onnxruntime.__version__} runs on "
                f"{active[0]} instead",
                self._where_asked,
            )
        self._session.disable_fallback()
        landed = nodes_by_provider(self._session)
        if wanted != PROVIDERS["cpu"] and not landed.get(wanted):
            raise _missing(f"no node of {self.where} was given to {wanted}", self._where_asked)
        return tuple(
            f"{node} on {provider}"
            for provider, nodes in landed.items()
            if provider != wanted
            for node in nodes
        )


def _dtype(inputs: Iterable[_Input]) -> str:
    """The type of the first input of floating point, else of the first, in ONNX's words."""
    types: list[str] = [i.type.removeprefix("tensor(").rstrip(")") for i in inputs]
    floats = [t for t in types if t in ("float", "float16", "double")]
    return (floats or types or [""])[0]


def nodes_by_provider(session: Any) -> Mapping[str, list[str]]:
    """The nodes of the optimised graph, as "name (operator)", by the provider that runs them."""
    nodes_by_provider: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes = [f"{n.name} ({n.op_type})" for n in part.get_nodes()]
        nodes_by_provider.setdefault(part.ep_name, []).extend(nodes)
    return nodes_by_provider


def _unsafe(model: str | Path | bytes) -> tuple[str, ...]:
    """The optimisers of ONNX Runtime that may crash the process on this graph.

    Its layout of blocked channels is for float32; on convolutions of float16 it writes past its
    memory (seen in 1.31 on a vision transformer).
    """
    if isinstance(model, bytes):
        import onnx

        graph = onnx.load_model_from_string(model).graph
        half = any(t.data_type == onnx.TensorProto.FLOAT16 for t in graph.initializer)
    else:
        tensors = (t for s in read(str(model)).state_dicts for t in s.tensors)
        half = any(t.dtype == "float16" for t in tensors)
    return ("NchwcTransformer",) if half else ()


def _options(threads: int | None, spin: bool, folder: str | Path | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry(_ASSIGNMENT, "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if not spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if folder is not None:
        options.add_session_config_entry(_FOLDER, str(Path(folder).resolve()))
    return options


def _replaced(options: Any, instead: Mapping[str, Array], embedded: bool) -> list[Any]:
    """Other values for initialisers; what is given back has to live as long as the session."""
    given = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in instead.values()]
    if embedded:
        for name, value in zip(instead, given, strict=True):
            options.add_initializer(name, value)
    elif given:
        options.add_external_initializers(list(instead), given)
    return given


def _check_way(how: str, provider: str | None, device: str) -> None:
    if how not in HOW:
        raise ConfigError(f"{how!r} is no way of ONNX Runtime", fix=f"give {', '.join(HOW)}")
    available = onnxruntime.get_available_providers()
    if provider is not None and provider not in available:
        raise _missing(
            f"this build of ONNX Runtime {onnxruntime.__version__} has no {provider}; it has "
            + ", ".join(available),
            _lane(provider),
        )
    asked = "a CUDA graph" if how == "cuda-graph" else provider
    if device != "cuda" and (how == "cuda-graph" or provider == PROVIDERS["cuda"]):
        raise _missing(f"{asked} needs CUDA, and the device is {device}", _lane(provider, how))


def _load_cuda_libraries() -> None:
    """Lets ONNX Runtime find the CUDA libraries that torch brought along."""
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise _missing(f"this build of ONNX Runtime {onnxruntime.__version__} has no CUDA")
    import torch

    if not torch.cuda.is_available():
        raise _missing(f"torch {torch.__version__} finds no CUDA device here")
    onnxruntime.preload_dlls()


def _lane(provider: str | None, how: str = "") -> str:
    """What a person asks for with --runtime."""
    way = how if how != "plain" else ""
    return ":".join(filter(None, ("onnxruntime", provider, way)))


def _missing(what: str, where: str = "--device cuda") -> DeviceMissing:
    """What was asked for by its device, or by a runner's name: then another device is no answer."""
    fix = "see interop doctor for what the CUDA provider lacks, or ask for --device cpu"
    if not where.startswith("--device"):
        needs = "a build of ONNX Runtime, its libraries and a device that have it are"
        if where.endswith(":cuda-graph") or "CUDA" in where:
            needs = "a CUDA device is, with --device cuda"
        elif "Tensorrt" in where or "TensorRT" in where:
            needs = "TensorRT's libraries and a CUDA device are"
        fix = f"leave {where} out, or run it where {needs} (interop doctor)"
    return DeviceMissing(what, where=where, fix=fix)
