"""What converting a recurrent module costs, by the number of frames -> results/recurrent.json.

    python -m benchmarks.recurrent [--repeats N]

Each module (random weights, classes in a file of their own) is saved and exported by `interop` as a
whole process, with all proofs; beside it `torch.onnx.export(..., dynamo=False)` of the same module
on the same frames, alone in its process. `conversion` is what the export says that it spent before
proving, in CPU seconds, with the building of the module and the loading of libraries. `growth` is
what it costs beyond the same with the fewest frames, to the plain call: exit 1 where that is over
10.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import ROOT, machine, store

GOAL = 10
FRAMES = (10, 100, 1000, 4000)
NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, kind, **more):
        super().__init__()
        self.core = kind(40, 64, batch_first=True, **more)
        self.head = nn.Linear(64 * (1 + self.core.bidirectional), 12)
    def forward(self, x):
        return self.head(self.core(x)[0].mean(1))

def lstm(): return Net(nn.LSTM)
def deep(): return Net(nn.LSTM, num_layers=3, bidirectional=True)
def gru(): return Net(nn.GRU, num_layers=2)
def rnn(): return Net(nn.RNN)
"""
KINDS = ("lstm", "deep", "gru", "rnn")
PLAIN = """
import sys, time, warnings
warnings.simplefilter("ignore")
import torch, nets, onnx
net = getattr(nets, sys.argv[1])().eval()
net.load_state_dict(torch.load(sys.argv[2], weights_only=True))
x = torch.randn(2, int(sys.argv[3]), 40)
began = time.process_time()
torch.onnx.export(net, (x,), sys.argv[4], dynamo=False, input_names=["x"],
                  dynamic_axes={"x": {0: "batch", 1: "frames"}})
print(time.process_time() - began)
"""


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def measure(kind: str, frames: int, folder: Path) -> dict[str, float]:
    """CPU seconds of the plain call, and of interop's conversion and proofs."""
    file, out = folder / f"{kind}.pth", folder / "out"
    plain = run([sys.executable, "-c", PLAIN, kind, str(file), str(frames), "plain.onnx"], folder)
    command = [sys.executable, "-m", "interop", "export", str(file), "--model", f"nets:{kind}"]
    command += ["--input", f"x=float32(batch,frames:{frames},40)", "-o", str(out), "--force"]
    report = json.loads(run([*command, "--format", "json"], folder))["details"]
    return {
        "plain": float(plain),
        "conversion": report["conversion_cpu_seconds"],
        "proofs": report["proof_cpu_seconds"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    models: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "nets.py").write_text(NETS, "utf-8")
        for kind in KINDS:
            save = f"import torch, nets; torch.save(nets.{kind}().state_dict(), '{kind}.pth')"
            run([sys.executable, "-c", save], folder)
            for frames in FRAMES:
                runs = [measure(kind, frames, folder) for _ in range(repeats)]
                found = {key: median(r[key] for r in runs) for key in runs[0]}
                fewest = models.get(kind, {}).get(FRAMES[0], found)["conversion"]
                found["growth"] = max(0.0, found["conversion"] - fewest) / found["plain"]
                samples = {key: [round(r[key], 3) for r in runs] for key in runs[0]}
                models.setdefault(kind, {})[frames] = found | {"samples": samples}
                print(kind, frames, {k: round(v, 2) for k, v in found.items()}, flush=True)
    store("recurrent", {"machine": machine("torch", "onnx"), "goal": GOAL, "models": models})
    return int(any(f["growth"] > GOAL for m in models.values() for f in m.values()))


if __name__ == "__main__":
    sys.exit(main())
