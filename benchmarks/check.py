"""`interop check` of two resnet18 files against the script that people write with torch.

    python -m benchmarks.check [--repeats N]

And against a floor: a script of the standard library alone that does no more than Python must to
compare the two. Whole processes, run in turns: CPU seconds and peak memory of each run, and the
ratios of their medians, to benchmarks/results/check.json. Exit 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.process import interleaved, machine, store

# The ratios of ours to theirs, at most.
GOALS = {"cpu": 1 / 20, "cpu_to_floor": 2.5, "peak_memory": 1 / 8}

# What a careful person writes: safe loading, names and shapes compared.
SCRIPT = """
import sys, torch
a, b = (torch.load(p, weights_only=True) for p in sys.argv[1:])
missing, extra = a.keys() - b.keys(), b.keys() - a.keys()
shapes = [k for k in a.keys() & b.keys() if a[k].shape != b[k].shape]
print(sorted(missing), sorted(extra), sorted(shapes))
"""

# The least that any Python can do: the zip directories, and pickles of which nothing but names,
# shapes and dtypes is kept.
FLOOR = """
import pickle, sys, zipfile

class Tensor:
    def __init__(self, storage, offset, size, *rest):
        self.dtype, self.shape = storage[1], tuple(size)

class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return Tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, key):
        return key

def read(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
        with archive.open(name) as file:
            return Unpickler(file).load()

a, b = map(read, sys.argv[1:])
missing, extra = a.keys() - b.keys(), b.keys() - a.keys()
both = a.keys() & b.keys()
differ = [k for k in both if (a[k].shape, a[k].dtype) != (b[k].shape, b[k].dtype)]
print(sorted(missing), sorted(extra), sorted(differ))
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
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("a.pth", "b.pth")]
        subprocess.run([sys.executable, "-c", WRITE, *files], check=True)
        found = interleaved(
            {
                "interop check": [sys.executable, "-m", "interop", "check", *files],
                "torch script": [sys.executable, "-c", SCRIPT, *files],
                "floor": [sys.executable, "-c", FLOOR, *files],
            },
            repeats,
        )
    ours, theirs, floor = (found[name] for name in ("interop check", "torch script", "floor"))
    ratios = {
        "cpu": ours["cpu_seconds"] / theirs["cpu_seconds"],
        "cpu_to_floor": ours["cpu_seconds"] / floor["cpu_seconds"],
        "peak_memory": ours["peak_bytes"] / theirs["peak_bytes"],
    }
    for name, one in found.items():
        print(f"{name:15} {one['cpu_seconds']:7.3f} CPU-s {one['peak_bytes'] / 1e6:8.1f} MB")
    for name, ratio in ratios.items():
        print(f"{name:15} {ratio:7.3f}  (goal at most {GOALS[name]:.3f})")
    store("check", {"machine": machine("torch"), "runs": found, "ratios": ratios})
    return int(any(ratio > GOALS[name] for name, ratio in ratios.items()))


if __name__ == "__main__":
    sys.exit(main())
