"""A module or an ONNX file -> something that runs a batch, both behind one small interface.

Each runtime is loaded when it is first named: a process that runs the one must not pay for, nor be
measured with, the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interop.runtimes.base import Bound, Runtime

if TYPE_CHECKING:
    from interop.runtimes.onnx import OnnxRuntime
    from interop.runtimes.openvino import OpenVinoRuntime
    from interop.runtimes.pytorch import TorchRuntime

__all__ = ["Bound", "OnnxRuntime", "OpenVinoRuntime", "Runtime", "TorchRuntime"]

_MODULES = {
    "OnnxRuntime": "interop.runtimes.onnx",
    "OpenVinoRuntime": "interop.runtimes.openvino",
    "TorchRuntime": "interop.runtimes.pytorch",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(name)
