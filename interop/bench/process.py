"""One runtime in a process of its own -> its cold start and peak memory.

In a shared process the second runtime would look small: the first has paid for what both use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time

import numpy as np
from numpy.typing import NDArray

import interop
from interop.bench.contender import Contender
from interop.errors import ModelError
from interop.facts import Json, Measurement

TIMEOUT_SECONDS = 300
CHILD = "interop.runtimes.child"


def measure(
    contenders: Sequence[Contender],
    inputs: Sequence[NDArray[np.float32]],
    say: Callable[[str], None],
) -> list[Measurement]:
    """Cold start (process start to first answer) and peak memory at batch 1."""
    found: list[Measurement] = []
    for contender, samples in zip(contenders, inputs, strict=True):
        for runtime in contender.runtimes:
            say(f"{contender.role} {runtime.name}: a process of its own")
            figures = _child(contender, runtime.name, runtime.device, samples[:1])
            conditions: dict[str, Json] = {
                "group": "own process",
                "of": f"{contender.role} {runtime.name}",
                "model": contender.role,
                "runtime": runtime.name,
            }
            for name, unit, key in (
                ("cold start", "ms", "cold_ms"),
                ("peak memory", "bytes", "peak_bytes"),
                ("peak device memory", "bytes", "device_bytes"),
            ):
                if key in figures:
                    found.append(Measurement(name, unit, figures[key], conditions=conditions))
    return found


def _child(
    contender: Contender, runtime: str, device: str, sample: NDArray[np.float32]
) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="interop-child-") as folder:
        array = Path(folder) / "input.npy"
        np.save(array, sample)
        identity = contender.identity
        model = identity.manifest.path + (f"#{identity.place}" if identity.place else "")
        order = {
            "runtime": runtime,
            "device": device,
            "model": model if runtime == "pytorch" else str(contender.onnx),
            "factory": contender.factory,
            "input": str(array),
            "threads": contender.native.conditions()["threads"],
        }
        started = time()
        done = subprocess.run(
            # -P: a file of the working directory must not stand in for a library.
            [sys.executable, "-P", "-m", CHILD, json.dumps({**order, "started": started})],
            env={**os.environ, "PYTHONPATH": _python_path()},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ModelError(
            f"{runtime} failed in a process of its own: {lines[-1] if lines else done.returncode}",
            where=model,
        )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _python_path() -> str:
    """Where this very package lies, before what was set already."""
    ours = str(Path(interop.__file__).resolve().parents[1])
    return os.pathsep.join(p for p in (ours, os.environ.get("PYTHONPATH", "")) if p)
