"""An ONNX file -> a Runtime: ONNX Runtime on the provider that was asked for, or an error.

ONNX Runtime goes on with the CPU where CUDA cannot be had; here that is never called CUDA.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from interop.errors import DeviceMissing, ModelError
from interop.facts import Json
from interop.runtimes.base import Array, Batch, Runtime, check_device
from interop.runtimes.memory import give_back

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ASSIGNMENT = "session.record_ep_graph_assignment_info"
_FOLDER = "session.model_external_initializers_file_folder_path"
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


class OnnxRuntime(Runtime):
    """An ONNX Runtime session.

    `model` is a file, or a graph's bytes with the `folder` of its external data. `instead` are
    other values for initialisers that lie outside of the graph, by their names. `threads` is for
    this session's operators; None leaves ONNX Runtime's own number. `spin` False lets idle threads
    sleep instead of burning a core; `arena` False gives back what a run took behind it. `tf32` as
    in TorchRuntime. `elsewhere` lists the nodes that did not land on the device's provider, as
    "name (operator) on provider". Raises DeviceMissing where CUDA was asked for and its provider
    did not start or was given no node, ModelError where ONNX Runtime refuses the graph.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: str | Path | bytes,
        device: str = "cpu",
        threads: int | None = None,
        *,
        tf32: bool = False,
        spin: bool = True,
        arena: bool = True,
        folder: str | Path | None = None,
        instead: Mapping[str, Array] | None = None,
    ) -> None:
        check_device(device)
        self.device, self.tf32, self.threads = device, tf32, threads
        if device == "cuda":
            _load_cuda_libraries()
        options = _options(threads, spin, folder)
        options.enable_cpu_mem_arena = arena
        if instead:
            given = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in instead.values()]
            options.add_external_initializers(list(instead), given)
        self.where = "model.onnx" if isinstance(model, bytes) else str(model)
        self._session = self._start(model, options)
        self.elsewhere: tuple[str, ...] = self._assert_provider()
        # Copied: what the session gives out keeps all of its memory alive.
        self._inputs = {
            i.name: _Input(str(i.type), tuple(i.shape)) for i in self._session.get_inputs()
        }
        for name, port in self._inputs.items():
            if port.type not in _TYPES:
                raise ModelError(
                    f"its input {name} is a {port.type}, which is not run here",
                    where=self.where,
                    fix=f"the types are {', '.join(_TYPES)}",
                )

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
        found = self._session.run(None, given)
        return tuple(a.astype(np.float32) if a.dtype == np.float16 else a for a in found)

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
        }

    def close(self) -> None:
        if self._session is not None:
            self._session = None
            give_back()

    def _start(self, model: str | Path | bytes, options: Any) -> Any:
        try:
            return onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model),
                options,
                providers=_providers(self.device, self.tf32),
            )
        except Exception as error:  # its exceptions have no common base of their own
            raise ModelError(
                f"ONNX Runtime refuses the graph: {_first_line(error)}",
                where=self.where,
                fix="export it again, or look for an operator that ONNX Runtime lacks",
            ) from None

    def _assert_provider(self) -> tuple[str, ...]:
        wanted = PROVIDERS[self.device]
        active = self._session.get_providers()
        if wanted not in active:
            raise _missing(f"ONNX Runtime {onnxruntime.__version__} runs on {active[0]} instead")
        self._session.disable_fallback()
        landed = nodes_by_provider(self._session)
        if self.device != "cpu" and not landed.get(wanted):
            raise _missing(f"no node of {self.where} was given to {wanted}")
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
    found: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes = [f"{n.name} ({n.op_type})" for n in part.get_nodes()]
        found.setdefault(part.ep_name, []).extend(nodes)
    return found


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


def _providers(device: str, tf32: bool) -> list[Any]:
    if device == "cpu":
        return [PROVIDERS["cpu"]]
    # ONNX Runtime keeps shape arithmetic on the CPU of its own accord; `elsewhere` names it.
    return [(PROVIDERS["cuda"], {"use_tf32": str(int(tf32))}), PROVIDERS["cpu"]]


def _load_cuda_libraries() -> None:
    """Lets ONNX Runtime find the CUDA libraries that torch brought along."""
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise _missing(f"this build of ONNX Runtime {onnxruntime.__version__} has no CUDA")
    import torch

    if not torch.cuda.is_available():
        raise _missing(f"torch {torch.__version__} finds no CUDA device here")
    onnxruntime.preload_dlls()


def _missing(what: str) -> DeviceMissing:
    return DeviceMissing(
        what,
        where="--device cuda",
        fix="see interop doctor for what the CUDA provider lacks, or ask for --device cpu",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
