"""`interop check` of two resnet18 files against the script that people write with torch.

    python -m benchmarks.check [--repeats N]

Whole processes, run in turns: CPU seconds and peak memory, and their ratios, to
benchmarks/results/check.json. Exit 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.process import interleaved, machine, store

GOAL_CPU, GOAL_MEMORY = 1 / 15, 1 / 8

# What a careful person writes: safe loading, names and shapes compared.
SCRIPT = """
import sys, torch
a, b = (torch.load(p, weights_only=True) for p in sys.argv[1:])
missing, extra = a.keys() - b.keys(), b.keys() - a.keys()
shapes = [k for k in a.keys() & b.keys() if a[k].shape != b[k].shape]
print(sorted(missing), sorted(extra), sorted(shapes))
"""


# Two resnet18 checkpoints with random weights; one has a head of 7 classes.
WRITE = """
import sys, torch, torchvision
for path, classes in zip(sys.argv[1:], (1000, 7)):
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None, num_classes=classes)
    torch.save(net.state_dict(), path)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("a.pth", "b.pth")]
        subprocess.run([sys.executable, "-c", WRITE, *files], check=True)
        found = interleaved(
            {
                "interop check": [sys.executable, "-m", "interop", "check", *files],
                "torch script": [sys.executable, "-c", SCRIPT, *files],
            },
            repeats,
        )
    ours, theirs = found["interop check"], found["torch script"]
    ratios = {
        "cpu": ours["cpu_seconds"] / theirs["cpu_seconds"],
        "peak_memory": ours["peak_bytes"] / theirs["peak_bytes"],
    }
    for name, one in found.items():
        print(f"{name:15} {one['cpu_seconds']:7.3f} CPU-s {one['peak_bytes'] / 1e6:8.1f} MB")
    print(f"CPU time     1/{1 / ratios['cpu']:.1f} (goal 1/15)")
    print(f"peak memory  1/{1 / ratios['peak_memory']:.1f} (goal 1/8)")
    store("check", {"machine": machine("torch"), "runs": found, "ratios": ratios})
    return int(ratios["cpu"] > GOAL_CPU or ratios["peak_memory"] > GOAL_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
