"""Models and a labelled data set -> accuracy and latency of PyTorch and ONNX Runtime."""

from interop.bench.options import BATCHES, BenchOptions
from interop.bench.pipeline import bench

__all__ = ["BATCHES", "BenchOptions", "bench"]
