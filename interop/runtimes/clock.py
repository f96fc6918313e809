"""A CUDA stream -> the milliseconds that its work took, by events on the stream itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def started(stream: Any = None) -> Callable[[], float]:
    """Marks the stream (None: torch's current one) now; what comes back marks it again and gives
    the milliseconds between the two marks, waits of the stream for the host included."""
    import torch

    cuda: Any = torch.cuda
    first, last = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    first.record(stream or cuda.current_stream())

    def stop() -> float:
        last.record(stream or cuda.current_stream())
        last.synchronize()
        return float(first.elapsed_time(last))

    return stop
