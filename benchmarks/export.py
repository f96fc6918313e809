"""What an export costs -> ratios of CPU time against torch's own exporter, in one run.

    python benchmarks/export.py [MODEL ...] [--repeats N]

Every measurement is a process of its own with one thread, on torchvision models with random
weights. Per model: `bare`, torch.onnx.export(module, args, file, dynamo=True) with its defaults on
a module that is built and loaded; `conversion` and `proofs`, the two parts of interop.export from
the checkpoint's path on. Imports are counted on neither side. The figures go to
benchmarks/results/export.json; exit 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "export.json"
SIZE = 224
# conversion / bare, at most; proofs / conversion, at most.
GOALS = {"resnet18": 1.1, "swin_t": 0.8}
PROOFS_GOAL = 1.5


def make(name: str, path: Path) -> None:
    """A checkpoint of a random module."""
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)


def bare(name: str, path: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of torch's exporter as people call it."""
    import torch
    import torchvision

    torch.set_num_threads(1)
    module = torchvision.models.get_model(name, weights=None).eval()
    module.load_state_dict(torch.load(path, weights_only=True))
    example = (torch.randn(2, 3, SIZE, SIZE),)
    start = process_time()
    torch.onnx.export(module, example, str(folder / "bare.onnx"), dynamo=True)
    return {"bare": process_time() - start}


def ours(name: str, path: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of interop.export, its conversion and its proofs apart."""
    import torch
    import torchvision  # noqa: F401 - it is imported on the other side too

    from interop.export import export
    from interop.identity import identify
    from interop.reading import read

    torch.set_num_threads(1)
    report = export(identify(read(path), arch=name), folder / "bundle")
    assert report.exit_code == 0, report.summary
    return {
        "conversion": report.details["conversion_cpu_seconds"],
        "proofs": report.details["proof_cpu_seconds"],
    }


def measure(what: str, name: str, path: Path) -> dict[str, float]:
    """One measurement in a fresh process."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--one", what, str(path), folder, name],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{what} {name} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def study(name: str, path: Path, repeats: int) -> dict[str, object]:
    """Both sides in turns; the medians and their ratios."""
    samples: dict[str, list[float]] = {"bare": [], "conversion": [], "proofs": []}
    for _ in range(repeats):
        for what in ("bare", "ours"):
            for key, value in measure(what, name, path).items():
                samples[key].append(round(value, 3))
    middle = {key: median(values) for key, values in samples.items()}
    return {
        "cpu_seconds": samples,
        "conversion_to_bare": round(middle["conversion"] / middle["bare"], 3),
        "proofs_to_conversion": round(middle["proofs"] / middle["conversion"], 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", default=list(GOALS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models:
            path = Path(folder, f"{name}.pth")
            make(name, path)
            figures = found[name] = study(name, path, given.repeats)
            ratio, proofs = figures["conversion_to_bare"], figures["proofs_to_conversion"]
            goal = GOALS.get(name)
            figures |= {"conversion_goal": goal, "proofs_goal": PROOFS_GOAL}
            wanted = f" (goal {goal})" if goal else ""
            print(f"{name}: conversion {ratio} x bare{wanted}, proofs {proofs} x conversion "
                  f"(goal {PROOFS_GOAL})", flush=True)  # fmt: skip
            if (goal and ratio > goal) or proofs > PROOFS_GOAL:
                missed.append(name)
    from interop.export.documents import environment

    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"environment": environment(), "machine": machine, "models": found}
    given.out.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        what, checkpoint, folder, name = sys.argv[2:6]
        result = (
            bare(name, Path(checkpoint), Path(folder))
            if what == "bare"
            else ours(name, Path(checkpoint), Path(folder))
        )
        print(json.dumps(result))
    else:
        sys.path.insert(0, str(HERE.parent))
        sys.exit(main())
