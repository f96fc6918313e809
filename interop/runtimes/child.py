"""One model in one runtime in this process alone: one answer, and what it took.

`bench` starts it; it lies here because whoever imports `bench` imports torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import time
from typing import Any


def main(order: dict[str, Any]) -> dict[str, float]:
    """Run the input once. Nothing of the other runtime is imported."""
    import numpy as np

    batch = np.load(order["input"])
    before = _device_memory(order["device"])
    runtime = _runtime(order)
    runtime.run(batch)
    cold = (time() - order["started"]) * 1000
    figures = {"cold_ms": cold, "peak_bytes": _peak_memory()}
    after = _device_memory(order["device"])
    if before is not None and after is not None:
        figures["device_bytes"] = before - after
    return figures


def _runtime(order: dict[str, Any]) -> Any:
    if order["runtime"] == "onnxruntime":
        from interop.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(order["model"], order["device"], order["threads"], spin=False)
    from interop.identity import identify_file
    from interop.models import build, load
    from interop.runtimes.pytorch import TorchRuntime

    identity = identify_file(order["model"])
    module = build(identity, factory=order["factory"])
    load(module, identity)
    return TorchRuntime(module, order["device"], order["threads"])


def _peak_memory() -> int:
    """The most bytes that were resident since this program started."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: its maximum outlives exec and holds what the parent process had taken.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _device_memory(device: str) -> int | None:
    """Free bytes on the GPU, which sees what every library took."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0])


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
