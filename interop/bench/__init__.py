"""Models and a labelled data set -> accuracy and latency of PyTorch and ONNX Runtime."""

from interop.bench.pipeline import BATCHES, Options, bench

__all__ = ["BATCHES", "Options", "bench"]
