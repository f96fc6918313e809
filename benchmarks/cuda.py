"""Export with parity, and latency of ONNX Runtime against PyTorch, on a CUDA GPU.

    python -m benchmarks.cuda                    on a machine with a GPU
    python -m benchmarks.cuda --device cpu --batch 1 4    the rehearsal, stored apart

resnet18 and resnet50 with random weights (enough for latency and parity, not for accuracy) at batch
1 and 64, bounded to 8 minutes. The result goes to benchmarks/results/cuda-<gpu>.json, after every
model, so that a run that is cut short keeps what it has. Exit 3 where there is no GPU: a figure
measured on a CPU is never called CUDA.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.process import RESULTS, ROOT, machine
from interop.errors import InteropError

MODELS = ("resnet18", "resnet50")
BATCHES = (1, 64)
BOUND_SECONDS = 480
HELDOUT = ROOT / "fixtures" / "digits" / "heldout"
LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PREPROCESS = {
    "color": "RGB",
    "resize": [224, 224],
    "interpolation": "bilinear",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def write_checkpoint(name: str, path: Path) -> None:
    """A model with random weights, and batch statistics of random inputs, as torch leaves them."""
    import torch
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, num_classes=len(LABELS)).train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(8, 3, 224, 224))
    about = {"arch": name, "labels": LABELS, "preprocess": PREPROCESS}
    torch.save({"state_dict": net.state_dict(), **about}, path)


def measure(name: str, device: str, batches: list[int], seconds: float) -> dict[str, Any]:
    """Export and bench one model; everything that bears on the figures, as JSON."""
    from interop.bench import bench
    from interop.data import Folder
    from interop.export import export
    from interop.identity import identify_file
    from interop.report.json import to_json

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, bundle = Path(folder) / f"{name}.pth", Path(folder) / name
        write_checkpoint(name, checkpoint)
        identity = identify_file(checkpoint, content_hash=True)
        assert identity.preprocessing is not None
        samples = Folder(HELDOUT, LABELS).spread(identity.preprocessing, 16)
        start = time.perf_counter()
        exported = export(identity, bundle, device=device, samples=samples)
        found: dict[str, Any] = {
            "model": name,
            "export_outcome": str(exported.outcome),
            "export_seconds": time.perf_counter() - start,
            "proofs": to_json(exported.proofs),
        }
        if exported.exit_code == 0:
            measured = bench(
                [identify_file(bundle, content_hash=True)],
                HELDOUT,
                device=device,
                batches=batches,
                seconds=seconds,
                progress=lambda line: None,
            )
            found["bench_outcome"] = str(measured.outcome)
            found["bench_summary"] = measured.summary
            found["conditions"] = to_json(measured.environment)
            found["measurements"] = [
                m
                for m in to_json(measured.measurements)
                if m["conditions"].get("group") != "accuracy"  # of random weights: no meaning
            ]
    return found


def gpu_name(device: str) -> str:
    """A file name's part for the device."""
    if device == "cpu":
        return "rehearsal-cpu"
    import torch

    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each batch size")
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--out", type=Path, help="the result's folder")
    given = parser.parse_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured", file=sys.stderr)
        return 3
    # A rehearsal's figures are nobody's evidence: they stay out of the committed results.
    folder = given.out or (RESULTS if given.device == "cuda" else ROOT / "build")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"cuda-{gpu_name(given.device)}.json"
    started = time.monotonic()
    result: dict[str, Any] = {
        "device": given.device,
        "machine": machine("torch", "torchvision", "onnx", "onnxscript"),
        "bound_seconds": BOUND_SECONDS,
        "models": [],
    }
    took = 0.0
    for name in MODELS:
        # A model that would not fit into the bound, going by the last one, is left out and said.
        if time.monotonic() - started + took > BOUND_SECONDS:
            result["models"].append({"model": name, "left_out": "no time within the bound"})
            continue
        begun = time.monotonic()
        try:
            result["models"].append(measure(name, given.device, given.batch, given.seconds))
        except InteropError as error:
            result["models"].append({"model": name, "error": str(error)})
        took = time.monotonic() - begun
        result["wall_seconds"] = time.monotonic() - started
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(line(result["models"][-1]), flush=True)
    print(f"stored in {path.name}, {result['wall_seconds']:.0f} s")
    return int(any("measurements" not in m for m in result["models"]))


def line(found: dict[str, Any]) -> str:
    """One model's outcome for the terminal."""
    if "measurements" not in found:
        return f"{found['model']}: {found.get('error') or found.get('proofs')}"
    parts = [f"{found['model']}: proofs {found['export_outcome']}"]
    for m in found["measurements"]:
        if m["name"] == "latency":
            c = m["conditions"]
            parts.append(f"{c['of']} batch {c['batch']} p50 {m['value']:.2f} ms")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
