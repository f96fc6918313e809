"""What bench itself costs: its latency loop against one by hand, and loading against running.

    python -m benchmarks.bench_overhead              stores benchmarks/results/bench_overhead.json
    python -m benchmarks.bench_overhead --pictures 200 --blocks 20 --no-store

Latency: one runner of bench, resnet18 at batch 1 on one thread, against the same runs in a loop
that calls nothing but the library, in turns of a few runs each, the order drawn anew. The 95 %
bootstrap interval of the ratio of medians is to hold 1. Loading: bench's walk over generated
pictures, and the part of its wall time in which it waits for them to be read, decoded and prepared
(a thread does so ahead) instead of running the model; it is to be at most 15 %. Exit 1 where either
is missed. The load of the host before the run is stored: on a busy one neither figure is bench's
alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cuda import there
from benchmarks.process import machine, store

MOST_LOADING = 0.15
RUNS_OF_A_BLOCK = 5
SIDE, CLASSES = 256, 10


def latency(blocks: int) -> dict[str, Any]:
    """bench's p50 by a hand-written loop's, for PyTorch and for ONNX Runtime."""
    import numpy as np
    import torch
    import torchvision

    from interop.bench.latency import TimedRunner
    from interop.runtimes import OnnxRuntime, TorchRuntime

    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = torchvision.models.resnet18(weights=None).eval()
    batch = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "resnet18.onnx"
        torch.onnx.export(
            module, (torch.from_numpy(batch),), str(graph), dynamo=True, verbose=False
        )
        session = _session(graph)
        with TorchRuntime(module, threads=1) as native, OnnxRuntime(graph, threads=1) as exported:
            name = session.get_inputs()[0].name

            def torch_by_hand() -> None:
                with torch.inference_mode():
                    module(torch.from_numpy(batch)).numpy()

            found["pytorch"] = compared(TimedRunner("A", native, batch), torch_by_hand, blocks)
            found["onnxruntime"] = compared(
                TimedRunner("A", exported, batch), lambda: session.run(None, {name: batch}), blocks
            )
    return found


def _session(graph: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def compared(runner: Any, by_hand: Callable[[], object], blocks: int) -> dict[str, Any]:
    """Blocks of runs in turns; the ratio of bench's p50 to the loop's, with its interval.

    A block's median is what is resampled: the runs of one block saw the same state of the host.
    """
    import random

    import numpy as np

    from interop.bench.latency import ratio, warm_up

    def bench() -> list[float]:
        runner.samples.clear()
        for _ in range(RUNS_OF_A_BLOCK):
            runner.sample()
        return list(runner.samples)

    def loop() -> list[float]:
        times = []
        for _ in range(RUNS_OF_A_BLOCK):
            start = time.perf_counter_ns()
            by_hand()
            times.append((time.perf_counter_ns() - start) / 1e6)
        return times

    warm_up(runner)
    loop()
    ours: list[float] = []
    theirs: list[float] = []
    order = [(bench, ours), (loop, theirs)]
    shuffle = random.Random(0).shuffle
    for _ in range(blocks):
        shuffle(order)
        for run, into in order:
            into.append(float(np.median(run())))
    value, interval = ratio(ours, theirs)
    return {
        "bench_p50_ms": float(np.median(ours)),
        "loop_p50_ms": float(np.median(theirs)),
        "ratio": value,
        "interval": interval,
        "holds": interval[0] <= 1 <= interval[1],
        "blocks": blocks,
        "runs_of_a_block": RUNS_OF_A_BLOCK,
    }


def pictures(folder: Path, count: int) -> Path:
    """`count` JPEG files of smooth noise, as large as a small photograph, in class folders."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for n in range(count):
        place = folder / f"class{n % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place / f"{n}.jpg", quality=90)
    return folder


def loading(folder: Path, threads: int) -> dict[str, Any]:
    """bench's own walk over the pictures: its wall time, and how long it waited for data."""
    import torch
    import torchvision

    from interop.bench.accuracy import answer
    from interop.data import open_data
    from interop.data.preparing import Pictures
    from interop.facts import Preprocessing
    from interop.models.signature import BATCH, Argument, Signature
    from interop.runtimes import TorchRuntime
    from interop.tasks import task

    names = tuple(f"class{n}" for n in range(CLASSES))
    how = Preprocessing((256,), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop=(224, 224))
    data = open_data(folder, "image-classification", names)
    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None, num_classes=CLASSES).eval()
    with TorchRuntime(module, threads=threads) as runtime:

        class Model:
            """What the walk needs of a contender."""

            role = "A"
            runtimes = (runtime,)
            signature = Signature((Argument("input", (BATCH, 3, 224, 224)),), {BATCH: 2})

            def named(self, runtime: TorchRuntime, batch: Any) -> dict[str, Any]:
                return {"logits": runtime.outputs(batch)[0]}

        start, busy = time.perf_counter(), time.process_time()
        _, waited = answer(
            Model(),  # type: ignore[arg-type]
            data,
            Pictures(how, ("input",)),
            task("image-classification", names),
            lambda line: None,
        )
        wall, cpu = time.perf_counter() - start, time.process_time() - busy
    share = waited / wall
    return {
        "pictures": len(data),
        "threads": threads,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "waited_for_data_seconds": waited,
        "share": share,
        "goal": MOST_LOADING,
        "holds": share <= MOST_LOADING,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1, help="of the model, while it predicts")
    parser.add_argument("--no-store", action="store_true")
    given = parser.parse_args(arguments)
    load = list(os.getloadavg())  # of the last 1, 5 and 15 minutes
    found = latency(given.blocks)
    for name, row in found.items():
        low, high = row["interval"]
        print(f"{name}: bench / loop {row['ratio']:.4f} [{low:.4f}, {high:.4f}]")
    with tempfile.TemporaryDirectory(prefix="interop-pictures-") as folder:
        loaded = loading(pictures(Path(folder), given.pictures), given.threads)
    print(f"loading: {100 * loaded['share']:.1f} % of {loaded['wall_seconds']:.1f} s")
    result = {
        "machine": machine("pillow", *there()),
        "load_before": load,
        "host_was_busy": load[0] > 0.5,
        "latency": found,
        "loading": loaded,
    }
    if not given.no_store:
        store("bench_overhead", result)
    return int(not (loaded["holds"] and all(row["holds"] for row in found.values())))


if __name__ == "__main__":
    sys.exit(main())
