"""A module or an ONNX file -> something that runs a batch, both behind one small interface."""

from interop.runtimes.base import Runtime
from interop.runtimes.onnx import OnnxRuntime
from interop.runtimes.pytorch import TorchRuntime

__all__ = ["OnnxRuntime", "Runtime", "TorchRuntime"]
