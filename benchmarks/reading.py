"""What reading costs: large files, many tensors, and the values, against what people do instead.

    python -m benchmarks.reading [--repeats N] [--folder FOLDER]

Whole processes, run in turns. The files are made anew (about 16 GB of room is wanted for the
largest two, which are sparse and take little of it, and 11 GB are written): each run, and the
ratios of the medians, to benchmarks/results/reading.json. Exit 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.check import SCRIPT
from benchmarks.check import WRITE as RESNET18
from benchmarks.process import interleaved, machine, store

GOALS = {  # (our figure, theirs, what is compared, at most)
    "8 GB pair to resnet18 pair": ("8 GB pair", "resnet18 pair", "cpu_seconds", 1.5),
    "resnet152 pair to torch script": ("resnet152 pair", "resnet152 torch", "cpu_seconds", 1 / 20),
    "46,000 tensors to torch.load": ("46,000 tensors", "46,000 torch", "cpu_seconds", 1 / 4),
    "values to cmp": ("values .safetensors", "cmp .safetensors", "wall_seconds", 1 / 0.8),
    "values of .pth to cmp": ("values .pth", "cmp .pth", "wall_seconds", 0.9),
    "values to torch.equal": ("values .pth", "torch.equal", "wall_seconds", 1.0),
    "ONNX of 1.8 GB to onnx.load": ("ONNX 1.8 GB", "onnx.load", "cpu_seconds", 1 / 10),
}

# Two safetensors files of 8 GB in bfloat16, sparse on the disk: their headers alone are written.
LARGE = """
import json, sys
for path in sys.argv[1:]:
    size, header, at = 2048 * 2048 * 2, {}, 0
    for i in range(1000):
        header[f"layers.{i}.weight"] = {
            "dtype": "BF16", "shape": [2048, 2048], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
"""
RESNET152 = RESNET18.replace("resnet18", "resnet152")
MANY = """
import sys, torch
state = {f"model.layers.{i // 400}.experts.{i % 400}.weight_{i}": torch.zeros(2, 3)
         for i in range(46_000)}
torch.save(state, sys.argv[1])
"""
# Four files of 2.5 GB: two by torch, two by safetensors, the same random values in all.
VALUES = """
import shutil, sys, torch
from safetensors.torch import save_file
torch.manual_seed(0)
state = {f"layers.{i}.weight": torch.randn(2048, 2048) for i in range(150)}
torch.save(state, sys.argv[1])
shutil.copy(sys.argv[1], sys.argv[2])
save_file(state, sys.argv[3])
shutil.copy(sys.argv[3], sys.argv[4])
"""
GRAPH = """
import sys, numpy, onnx
from onnx import helper, numpy_helper
weights = [numpy_helper.from_array(numpy.zeros((2048, 2048), "f4"), f"w{i}") for i in range(107)]
nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(107)]
port = lambda name: helper.make_tensor_value_info(name, 1, ["n", 2048])
graph = helper.make_graph(nodes, "g", [port("x0")], [port("x107")], weights)
onnx.save(helper.make_model(graph), sys.argv[1])
"""
TORCH_LOAD = "import sys, torch; torch.load(sys.argv[1], weights_only=True)"
# The fastest that torch offers: both files mapped, nothing copied.
TORCH_EQUAL = """
import sys, torch
a, b = (torch.load(p, weights_only=True, mmap=True) for p in sys.argv[1:])
print(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a))
"""
ONNX_LOAD = "import sys, onnx; print(len(onnx.load(sys.argv[1]).graph.initializer))"

Commands = Mapping[str, list[str]]


def _python(script: str, *arguments: Path) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def _interop(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "interop", *map(str, arguments)]


def _run(script: str, files: list[Path], commands: Commands, repeats: int) -> dict[str, Any]:
    """Make the files, measure, and remove them."""
    subprocess.run(_python(script, *files), check=True)
    try:
        return interleaved(dict(commands), repeats)
    finally:
        for file in files:
            file.unlink()


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    """The cost of each process by its name."""
    found: dict[str, Any] = {}
    small = [folder / f"small-{x}.pth" for x in "ab"]
    large = [folder / f"large-{x}.safetensors" for x in "ab"]
    subprocess.run(_python(RESNET18, *small), check=True)
    commands = {"8 GB pair": _interop("check", *large), "resnet18 pair": _interop("check", *small)}
    found |= _run(LARGE, large, commands, repeats)
    wide = [folder / f"wide-{x}.pth" for x in "ab"]
    commands = {
        "resnet152 pair": _interop("check", *wide),
        "resnet152 torch": _python(SCRIPT, *wide),
    }
    found |= _run(RESNET152, wide, commands, repeats)
    many = folder / "many.pth"
    commands = {
        "46,000 tensors": _interop("inspect", many),
        "46,000 torch": _python(TORCH_LOAD, many),
    }
    found |= _run(MANY, [many], commands, repeats)
    pth = [folder / f"values-{x}.pth" for x in "ab"]
    safe = [folder / f"values-{x}.safetensors" for x in "ab"]
    commands = {
        "values .pth": _interop("check", "--values", *pth),
        "cmp .pth": ["cmp", *map(str, pth)],
        "values .safetensors": _interop("check", "--values", *safe),
        "cmp .safetensors": ["cmp", *map(str, safe)],
        "torch.equal": _python(TORCH_EQUAL, *pth),
    }
    found |= _run(VALUES, [*pth, *safe], commands, repeats)
    graph = folder / "graph.onnx"
    commands = {"ONNX 1.8 GB": _interop("inspect", graph), "onnx.load": _python(ONNX_LOAD, graph)}
    found |= _run(GRAPH, [graph], commands, repeats)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are made for the while")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        found = measure(folder, given.repeats)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = {
        name: found[ours][unit] / found[theirs][unit]
        for name, (ours, theirs, unit, _) in GOALS.items()
    }
    for name, one in found.items():
        cpu, wall = one["cpu_seconds"], one["wall_seconds"]
        print(f"{name:20} {cpu:7.2f} CPU-s {wall:7.2f} s {one['peak_bytes'] / 1e6:8.0f} MB")
    missed = 0
    for name, ratio in ratios.items():
        goal = GOALS[name][3]
        missed += ratio > goal
        print(f"{name:32} {ratio:6.3f}  (goal at most {goal:.3f})")
    store("reading", {"machine": machine("torch", "onnx"), "runs": found, "ratios": ratios})
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
