"""Models and a labelled data set -> accuracy and latency of PyTorch and ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.bench.options import BATCHES, BenchOptions

if TYPE_CHECKING:
    from interop.bench.pipeline import bench

__all__ = ["BATCHES", "BenchOptions", "bench"]


def __getattr__(name: str) -> Any:
    """Options are had without torch; what runs is imported when it is asked for."""
    if name != "bench":
        raise AttributeError(name)
    from interop.bench.pipeline import bench

    return bench
