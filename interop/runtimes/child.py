"""One model in one runtime in this process alone: one answer, and what it took; then new shapes.

`bench` starts it; it lies here because whoever imports `bench` imports torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import Any

STEADY_RUNS = 5


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Run the first input once, then the others. Nothing of another runtime is imported.

    `order` has the runner (`runtime`, `how`, `provider`, `precision`, `device`, `threads`, `tf32`),
    the `model` (a graph, or a checkpoint with the `options` by which its module is built and the
    `signature` by which it is called), the `inputs` (an .npz file whose arrays are called
    "0 input_ids", "1 input_ids", …) and when this process was `started`.

    What comes back: `cold_ms` from the process's start to the first answer; `peak_bytes` of host
    memory by then; `device_bytes` that are taken on the GPU; and for each further input
    `first_runs`, the milliseconds of its first run and the median of five runs after it.
    """
    inputs = _inputs(order["inputs"])
    before = _device_memory(order["device"])
    runtime = _runtime(order)
    runtime.outputs(inputs[0])
    cold = (time() - order["started"]) * 1000
    figures = {"cold_ms": cold, "peak_bytes": _peak_memory()}
    after = _device_memory(order["device"])
    if before is not None and after is not None:
        figures["device_bytes"] = before - after
    figures["first_runs"] = [_first(runtime, given) for given in inputs[1:]]
    return figures


def _first(runtime: Any, given: Any) -> list[float]:
    """The first run of a shape, and the median of those after it, in milliseconds."""
    times = []
    for _ in range(1 + STEADY_RUNS):
        start = perf_counter()
        runtime.outputs(given)
        times.append((perf_counter() - start) * 1000)
    return [times[0], median(times[1:])]


def _inputs(path: str) -> list[dict[str, Any]]:
    import numpy as np

    batches: dict[int, dict[str, Any]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            place, _, name = key.partition(" ")
            batches.setdefault(int(place), {})[name] = arrays[key]
    return [batches[place] for place in sorted(batches)]


def _runtime(order: dict[str, Any]) -> Any:
    device, threads, tf32 = order["device"], order["threads"], order["tf32"]
    if order["runtime"] == "openvino":
        from interop.runtimes.openvino import OpenVinoRuntime

        return OpenVinoRuntime(order["model"], device, threads)
    if order["runtime"] == "onnxruntime":
        from interop.runtimes.onnx import OnnxRuntime

        how, provider = order["how"], order["provider"]
        return OnnxRuntime(
            order["model"], device, threads, tf32=tf32, spin=False, how=how, provider=provider
        )
    assert order["runtime"] == "pytorch", f"{order['runtime']} is not opened here"
    from interop.runtimes.pytorch import TorchRuntime

    how, precision = order["how"], order["precision"]
    return TorchRuntime(_forward(order), device, threads, tf32=tf32, how=how, precision=precision)


def _forward(order: dict[str, Any]) -> Any:
    """The module as the export had it, called as the signature says."""
    import torch

    from interop.identity import identify_file
    from interop.identity.user_facts import UserFacts
    from interop.models import built
    from interop.models.signature import Forward, Signature
    from interop.runtimes.pytorch import dtype_of

    options = order["options"]
    module, _, _ = built(identify_file(order["model"], UserFacts(arch=options["arch"])), **options)
    if dtype_of(module) == torch.bfloat16:
        module.float()
    return Forward(module, Signature.from_json(order["signature"]))


def _peak_memory() -> int | None:
    """The most bytes that were resident since this program started; None on Windows, where Python
    does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: its maximum outlives exec and holds what the parent process had taken.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _device_memory(device: str) -> int | None:
    """Free bytes on the GPU, which sees what every library took."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0])


if __name__ == "__main__":
    found = main(json.loads(sys.argv[1]))
    print()  # after what the libraries wrote without ending their line
    print(json.dumps(found))
