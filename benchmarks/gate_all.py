"""`interop gate --all` over a repository of 200 checkpoints of resnet18's size, 10 of them changed.

    python -m benchmarks.gate_all [--repeats N]

Whole processes, from the command to its exit code: the first run, and a second one that finds its
answers in the cache. Wall seconds, to benchmarks/results/gate_all.json. Exit 1 where a goal is
missed. The 190 that did not change are mostly zeros, so that the repository is quick to make; of
them nothing but the header is read. The 10 that did are random numbers, before and after.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.process import cost, machine, store

MODELS, CHANGED = 200, 10
GOAL_FIRST, GOAL_SECOND = 5.0, 1.0

WRITE = """
import sys, torch, torchvision
folder, what, models, changed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
zeros = torchvision.models.resnet18(weights=None, num_classes=10)
for value in zeros.state_dict().values():
    value.zero_()
for n in range(models if what == "before" else changed):
    torch.manual_seed(n if what == "before" else 1000 + n)
    if n < changed:
        net = torchvision.models.resnet18(weights=None, num_classes=10)
    else:
        net = zeros
        net.conv1.weight.data.normal_()
    torch.save(net.state_dict(), f"{folder}/model{n:03}.pth")
"""
POLICY = """values = false
[facts]
arch = "torchvision/resnet18"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
preprocess = {resize = [224, 224], mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2]}
"""


def make(repository: Path) -> None:
    """A repository with the models at its branch main, and the changed ones in its tree."""
    (repository / "models").mkdir(parents=True)
    (repository / "interop.toml").write_text(POLICY)
    _write(repository, "before")
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    # One that is at rest, as after a checkout: git looks again at what changes with its index.
    for arguments in (["init", "-q", "-b", "main"], ["config", "core.compression", "1"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    time.sleep(1.5)
    for arguments in (["add", "."], [*identity, "commit", "-q", "-m", "models"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    _write(repository, "after")


def _write(repository: Path, what: str) -> None:
    command = [sys.executable, "-c", WRITE, str(repository / "models"), what]
    subprocess.run([*command, str(MODELS), str(CHANGED)], check=True)
    for file in (repository / "models").iterdir():
        subprocess.run(["fallocate", "--dig-holes", str(file)], check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--repository", type=Path, help="made here before, or now, and kept")
    given = parser.parse_args()
    repeats = given.repeats
    first, second = [], []
    with tempfile.TemporaryDirectory() as folder:
        repository, cache = given.repository or Path(folder) / "repository", Path(folder) / "cache"
        if not repository.exists():
            make(repository)
        command = [sys.executable, "-m", "interop", "gate", "--all", str(repository)]
        command += ["--baseline", "git:main:", "--policy", str(repository / "interop.toml")]
        command += ["--cache", str(cache)]
        cost(command)
        for _ in range(repeats):
            shutil.rmtree(cache)
            first.append(cost(command))
            second.append(cost(command))
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
    runs = {
        name: {
            "wall_seconds": median(r[2] for r in found),
            "wall_samples": [round(r[2], 3) for r in found],
            "cpu_seconds": median(r[0] for r in found),
            "goal_seconds": goal,
        }
        for name, found, goal in (("first", first, GOAL_FIRST), ("second", second, GOAL_SECOND))
    }
    for name, one in runs.items():
        print(f"{name:7} {one['wall_seconds']:6.2f} s wall (goal {one['goal_seconds']:g})")
    print(said)
    store(
        "gate_all",
        {"machine": machine("torch"), "models": MODELS, "changed": CHANGED, "runs": runs,
         "said": said},
    )  # fmt: skip
    return int(any(one["wall_seconds"] > one["goal_seconds"] for one in runs.values()))


if __name__ == "__main__":
    sys.exit(main())
