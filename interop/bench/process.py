"""One runtime in a process of its own -> cold start, peak memory, and first runs of new shapes.

In a shared process the second runtime would look small: the first has paid for what both use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any

import numpy as np

import interop
from interop.bench.latency import filled, sizes
from interop.bench.runners import WAYS, Contender, Runner
from interop.errors import ModelError, without_folders
from interop.facts import Group, Json, Measurement, Unit
from interop.models.signature import drawn
from interop.runtimes.base import Array, Batch

TIMEOUT_SECONDS = 300
CHILD = "interop.runtimes.child"
_FIGURES = (
    ("cold start", Unit.MS, "cold_ms"),
    ("peak memory", Unit.BYTES, "peak_bytes"),
    ("peak device memory", Unit.BYTES, "device_bytes"),
)


def measure(
    contenders: Sequence[Contender],
    inputs: Sequence[Batch],
    say: Callable[[str], None],
    batches: Sequence[int] = (),
) -> list[Measurement]:
    """Cold start (process start to first answer) and peak memory at batch 1, then first runs.

    A "first run" is that of a shape the process has not seen: each of `batches` but 1 and, where
    other axes vary, another length. Its condition `steady_ms` is the median of the five runs after
    it, `shape` what the sizes were.
    """
    measurements: list[Measurement] = []
    for contender, samples in zip(contenders, inputs, strict=True):
        shapes = _shapes(contender, samples, batches)
        for runner in contender.runners:
            say(f"{contender.role} {runner.runtime.name}: a process of its own")
            figures = _child(contender, runner, [batch for _, _, batch in shapes])
            measurements += _measured(contender, runner, figures, shapes[1:])
    return measurements


_Shape = tuple[int, dict[str, int], Mapping[str, Array]]


def _shapes(contender: Contender, samples: Batch, batches: Sequence[int]) -> list[_Shape]:
    """Batch 1, then every shape that is new to a process that has seen the ones before."""
    takes = contender.signature
    known: Mapping[str, Array]
    known = samples if isinstance(samples, Mapping) else {takes.names[0]: samples}
    shapes: list[_Shape] = []
    for size in dict.fromkeys((1, *sizes([contender], batches))):
        batch = filled(known, size, takes)
        assert isinstance(batch, Mapping)
        shapes.append((size, {}, batch))
    if takes.varying and takes.others:
        shapes.append((1, dict(takes.others), drawn(takes, 1, takes.others)))
    return shapes


def _measured(
    contender: Contender, runner: Runner, figures: Mapping[str, Any], shapes: Sequence[_Shape]
) -> list[Measurement]:
    conditions: dict[str, Json] = {
        "group": Group.OWN_PROCESS,
        "of": f"{contender.role} {runner.runtime.name}",
        "model": contender.role,
        "runtime": runner.runtime.name,
    }
    measurements = [
        Measurement(name, unit, figures[key], conditions=conditions)
        for name, unit, key in _FIGURES
        if figures.get(key) is not None
    ]
    for (size, axes, _), (first, steady) in zip(shapes, figures["first_runs"], strict=True):
        more: dict[str, Json] = {"batch": size, "shape": axes, "steady_ms": steady}
        measurements.append(
            Measurement("first run", Unit.MS, first, conditions={**conditions, **more})
        )
    return measurements


def _child(
    contender: Contender, runner: Runner, batches: Sequence[Mapping[str, Array]]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="interop-child-") as folder:
        arrays = Path(folder) / "inputs.npz"
        named = {f"{n} {name}": a for n, batch in enumerate(batches) for name, a in batch.items()}
        np.savez(arrays, **named)  # type: ignore[arg-type]
        order = _order(contender, runner, arrays)
        started = time()
        try:
            done = subprocess.run(
                # -P: a file of the working directory must not stand in for a library.
                [sys.executable, "-P", "-m", CHILD, json.dumps({**order, "started": started})],
                env={**os.environ, "PYTHONPATH": _python_path()},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _failed(contender, runner, f"no answer within {TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise _failed(contender, runner, lines[-1] if lines else f"exit {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _order(contender: Contender, runner: Runner, inputs: Path) -> dict[str, Json]:
    """What the child is told; see `interop.runtimes.child.main`."""
    identity, options, spec = contender.identity, contender.options, runner.spec
    model = identity.manifest.path + (f"#{identity.place}" if identity.place else "")
    how = spec.how or next(iter(WAYS[spec.runtime]), "")
    return {
        "runtime": spec.runtime,
        "how": WAYS[spec.runtime].get(how, ""),
        "provider": spec.provider or None,
        "precision": spec.precision if spec.precision != "float32" else None,
        "device": runner.runtime.device,
        "threads": contender.threads,
        "tf32": contender.tf32,
        "model": model if runner.graph is None else str(runner.graph),
        "options": {
            "factory": options.factory,
            "head": options.head,
            "base": options.base,
            "arch": options.arch,
            "trust": options.trust,
        },
        "signature": contender.signature.json(),
        "inputs": str(inputs),
    }


def _failed(contender: Contender, runner: Runner, why: str) -> ModelError:
    return ModelError(
        f"{runner.runtime.name} failed in a process of its own: {without_folders(why)}",
        where=contender.identity.manifest.path,
        fix=f"leave {runner.spec} away",
    )


def _python_path() -> str:
    """Where this very package lies, before what was set already."""
    ours = str(Path(interop.__file__).resolve().parents[1])
    return os.pathsep.join(p for p in (ours, os.environ.get("PYTHONPATH", "")) if p)
