"""An ONNX file -> a Runtime: OpenVINO on the CPU, in float32, as a second opinion of a graph.

OpenVINO rounds to bfloat16 of its own accord where the processor can; here it is told not to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interop.errors import DeviceMissing, ExtraMissing, ModelError, without_folders
from interop.facts import Json
from interop.runtimes.base import Array, Runtime, check_device

_PRECISION = "INFERENCE_PRECISION_HINT"
_THREADS = "INFERENCE_NUM_THREADS"


class OpenVinoRuntime(Runtime):
    """A compiled OpenVINO model.

    `model` is a file: its external data are read from where they lie, at an offset within
    model.safetensors too. `threads` is for this model's operators; None leaves OpenVINO's own
    number. `instead` are other values for constants, by their friendly names. Raises ExtraMissing
    without OpenVINO, DeviceMissing for any device but the CPU, and ModelError where OpenVINO
    refuses the graph.
    """

    name = "openvino"

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        *,
        instead: Mapping[str, Array] | None = None,
    ) -> None:
        check_device(device)
        if device != "cpu":
            what = f"OpenVINO is run on the CPU alone here, not on {device}"
            fix = "leave openvino out, or ask for it alone with --device cpu"
            raise DeviceMissing(what, where="openvino", fix=fix)
        self._openvino = _imported()
        self.device, self.where = device, str(model)
        self._compiled = self._compile(threads, instead or {})
        self._types = {p.get_any_name(): _dtype(p) for p in self._compiled.inputs}

    @property
    def input_shapes(self) -> dict[str, tuple[int | str | None, ...]]:
        """Each input's axes by its name: a number where fixed, None where dynamic."""
        assert self._compiled is not None, "the runtime is closed"
        return {p.get_any_name(): _axes(p) for p in self._compiled.inputs}

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """The first input's axes: a number where fixed, None where dynamic."""
        return next(iter(self.input_shapes.values()))

    def outputs(self, batch: Array | Mapping[str, Array]) -> tuple[Array, ...]:
        """As of every runtime; several inputs come as a mapping by name."""
        assert self._compiled is not None, "the runtime is closed"
        if not isinstance(batch, Mapping):
            batch = {next(iter(self._types)): batch}
        given = {
            name: np.ascontiguousarray(array, dtype=self._types.get(name, array.dtype))
            for name, array in batch.items()
        }
        answer = self._compiled(given)
        # What comes back is a view of memory that the next call writes into.
        return tuple(_host(answer[port]) for port in self._compiled.outputs)

    def conditions(self) -> dict[str, Json]:
        assert self._compiled is not None, "the runtime is closed"
        return {
            "runtime": self.name,
            "openvino": str(self._openvino.__version__),
            "device": self.device,
            "threads": int(self._compiled.get_property(_THREADS)),
            "dtype": ", ".join(dict.fromkeys(map(str, self._types.values()))),
            "precision": self._compiled.get_property(_PRECISION).to_string(),
            "tf32": False,
        }

    def close(self) -> None:
        self._compiled = None

    @staticmethod
    def read(model: str | Path) -> Any:
        """OpenVINO's own model of a file. Raises ExtraMissing and ModelError."""
        try:
            return _imported().Core().read_model(str(model))
        except RuntimeError as error:
            fix = "convert the model again"
            what = f"OpenVINO cannot read it: {_reason(error)}"
            raise ModelError(what, where=str(model), fix=fix) from None

    def _compile(self, threads: int | None, instead: Mapping[str, Array]) -> Any:
        settings: dict[str, Any] = {_PRECISION: "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings[_THREADS] = threads
        try:
            core = self._openvino.Core()
            model = core.read_model(self.where)
            for op in model.get_ordered_ops() if instead else ():
                if op.get_friendly_name() in instead:
                    array = np.ascontiguousarray(instead[op.get_friendly_name()])
                    constant = self._openvino.opset13.constant(array)
                    for taken in op.output(0).get_target_inputs():
                        taken.replace_source_output(constant.output(0))
            return core.compile_model(model, "CPU", settings)
        except Exception as error:  # its exceptions are plain RuntimeErrors
            raise ModelError(
                f"OpenVINO refuses the graph: {_reason(error)}",
                where=self.where,
                fix="check it with ONNX Runtime (interop verify), or look for an operator that "
                "OpenVINO lacks",
            ) from None


def _imported() -> Any:
    try:
        import openvino
    except ImportError:
        what = "OpenVINO is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[openvino]'") from None
    return openvino


def _dtype(port: Any) -> Any:
    return np.dtype(port.get_element_type().to_dtype())


def _axes(port: Any) -> tuple[int | None, ...]:
    return tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())


def _host(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array.copy()


def _reason(error: Exception) -> str:
    """The last line that says something: OpenVINO puts its own source places first."""
    lines = [x.strip() for x in str(error).splitlines() if x.strip()]
    causes = [x for x in lines if not x.startswith(("Exception from", "Check "))]
    return without_folders((causes or lines or [type(error).__name__])[0])[:240]
