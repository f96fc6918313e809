"""A command -> what its whole process costs: CPU seconds and peak memory, measured from outside."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
ROOT = RESULTS.parents[1]


def cost(command: Sequence[str]) -> tuple[float, int, float]:
    """CPU seconds (user and system), peak resident bytes and wall seconds of one run of a command.

    The answer comes from wait4, so it holds the whole process with its start and its imports. The
    caller must be small itself: until it starts the command, a new process counts its parent's.
    RuntimeError, with what the command said, where it fails with anything but 0 or 1.
    """
    # A user's Python keeps compiled modules, so the variable that forbids it is left out.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, cwd=ROOT
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return used.ru_utime + used.ru_stime, used.ru_maxrss * unit, wall


def interleaved(commands: dict[str, Sequence[str]], repeats: int) -> dict[str, dict[str, Any]]:
    """Median cost of each command, run in turns after one uncounted run of each."""
    for command in commands.values():
        cost(command)
    runs: dict[str, list[tuple[float, int, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            runs[name].append(cost(command))
    return {
        name: {
            "cpu_seconds": median(r[0] for r in found),
            "peak_bytes": int(median(r[1] for r in found)),
            "wall_seconds": median(r[2] for r in found),
            "cpu_samples": [round(r[0], 4) for r in found],
            "peak_samples": [r[1] for r in found],
            "wall_samples": [round(r[2], 4) for r in found],
        }
        for name, found in runs.items()
    }


def machine(*packages: str) -> dict[str, Any]:
    """Where a figure was measured."""
    from importlib.metadata import version

    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    return {
        "processor": model or platform.processor(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def store(name: str, result: dict[str, Any]) -> None:
    """Write a result beside the others, whole or not at all."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    part.replace(path)
    print(f"stored in benchmarks/results/{path.name}")
