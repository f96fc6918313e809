"""Models and a labelled data set -> accuracy and latency of PyTorch and ONNX Runtime.

With two models it also says whether B can stand in for A on the task.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from interop.bench.accuracy import Predictions, between_models, between_runtimes, predict, scores
from interop.bench.lanes import Contender, prepare_contenders
from interop.bench.latency import measure as measure_latency
from interop.bench.process import measure as measure_process
from interop.check.inputs import dataset_hash, describe
from interop.data import Folder
from interop.errors import ConfigError
from interop.export import Options
from interop.facts import Answer, Case, Identity, Input, Measurement, Preprocessing, Report
from interop.rules import run
from interop.runtimes.pytorch import require_torch_device

__all__ = ["bench"]

BATCHES = (1, 8, 32)
# The same runtime against itself may differ by this much before the host counts as too noisy.
NOISE = 1.25


def bench(
    models: Sequence[Identity],
    data: str | Path,
    *,
    device: str = "cpu",
    batches: Sequence[int] = BATCHES,
    threads: int | None = None,
    seconds: float = 4.0,
    factories: Sequence[str | None] = (),
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Measure one model, or A and B, on the pictures below `data`.

    Each model runs in PyTorch and in ONNX Runtime, on the same samples; a checkpoint is exported
    first, with its proofs. `batches` are the batch sizes for latency (none: accuracy alone),
    `seconds` the time spent on each, `threads` the number that both runtimes use, `factories` the
    persons' own modules.
    Raises ConfigError where labels or preprocessing are unknown, DataError where the data set does
    not fit, DeviceMissing where `device` is not had, ModelError where no module can be made.
    """
    say = progress or (lambda _: None)
    if not 1 <= len(models) <= 2:
        raise ConfigError(f"{len(models)} models given", fix="bench takes one model, or two")
    if batches and min(batches) < 1:
        raise ConfigError("a batch size must be at least 1", where="--batch")
    for identity in models:
        _need_interface(identity)
    # Before the long work: a device that is not had is known at once.
    require_torch_device(device)
    folders = [Folder(data, identity.labels.names) for identity in models]
    given = tuple(describe(role, i) for role, i in zip("AB", models, strict=False))
    with tempfile.TemporaryDirectory(prefix="interop-bench-") as scratch:
        made = prepare_contenders(
            models,
            Path(scratch),
            device=device,
            threads=threads,
            options=[Options(factory=factory) for factory in factories],
            say=say,
        )
        if isinstance(made, Report):  # an export that failed its proofs is nothing to measure
            return made
        found, predictions = _measure(made, folders, batches, seconds, say)
        measured = tuple(found)
        about = {"samples": len(folders[0]), "sha256": dataset_hash(predictions[0].hashes)}
        dataset = Input("data", str(data), f"{len(folders[0])} pictures", about)
        conditions = _conditions(made, threads)
        for contender in made:
            contender.close()
    findings, _ = run(Case(measurements=measured, budgets={"noise": NOISE}))
    noisy = next((f for f in findings if f.rule == "host-too-noisy"), None)
    return Report(
        command="bench",
        outcome=Answer.UNKNOWN if noisy else Answer.YES,
        summary=noisy.what if noisy else _summary(measured),
        inputs=(*given, dataset),
        findings=findings,
        measurements=measured,
        environment=conditions,
        details={
            "device": device,
            "conditions": {k: v for k, v in conditions.items() if not isinstance(v, dict)},
            "predictions": [p.as_json() for p in predictions],
        },
    )


def _measure(
    contenders: Sequence[Contender],
    folders: Sequence[Folder],
    batches: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
) -> tuple[list[Measurement], list[Predictions]]:
    predictions = [
        predict(contender, folder, runtime, say)
        for contender, folder in zip(contenders, folders, strict=True)
        for runtime in contender.runtimes
    ]
    found: list[Measurement] = []
    for one in predictions:
        found += scores(one)
    for contender in contenders:
        native, exported = (p for p in predictions if p.role == contender.role)
        found += between_runtimes(native, exported)
    if len(contenders) == 2:
        found += between_models(predictions[0], predictions[2])
    if not batches:
        return found, predictions
    inputs = [
        folder.spread(_prepared(contender), max(batches))
        for contender, folder in zip(contenders, folders, strict=True)
    ]
    found += measure_latency(contenders, inputs, batches, seconds, say)
    found += measure_process(contenders, inputs, say, batches)
    return found, predictions


def _prepared(contender: Contender) -> Preprocessing:
    assert contender.preprocessing is not None  # `_need_interface` has seen to it
    return contender.preprocessing


def _need_interface(identity: Identity) -> None:
    where = identity.manifest.path
    if identity.preprocessing is None:
        raise ConfigError(
            "how its inputs are prepared is unknown",
            where=where,
            fix="give it with --preprocess; any figure would be of another model",
            rule="preprocessing-unknown",
        )
    if identity.labels.names is None:
        raise ConfigError(
            "its labels are unknown, so no folder can be matched to an output",
            where=where,
            fix="give them with --labels",
            rule="labels-unknown",
        )
    if identity.head is not None and len(identity.labels.names) != identity.head.outputs:
        raise ConfigError(
            f"{len(identity.labels.names)} labels for {identity.head.outputs} outputs",
            where=where,
            fix="give as many labels as the head has outputs",
            rule="label-count-mismatch",
        )


def _conditions(contenders: Sequence[Contender], threads: int | None) -> dict[str, object]:
    found: dict[str, object] = {}
    for contender in contenders:
        for runtime in contender.runtimes:
            found[f"{contender.role} {runtime.name}"] = runtime.conditions()
    native, exported = (r.conditions() for r in contenders[0].runtimes)
    found["device"] = native.get("gpu") or native["device"]
    found["precision"] = (
        f"{native['dtype']}, TF32 {'on' if native['tf32'] else 'off'} on both sides"
    )
    found["threads"] = native["threads"]
    found["versions"] = f"torch {native['torch']}, onnxruntime {exported['onnxruntime']}"
    found["provider"] = exported["providers"][0]
    found["not on it"] = ", ".join(exported["elsewhere"]) or "no node"
    return found


def _summary(measured: Sequence[Measurement]) -> str:
    top = [m for m in measured if m.name == "top-1" and m.value is not None]
    shown = ", ".join(f"{m.conditions['of']} {100 * (m.value or 0):.2f} %" for m in top)
    return f"top-1: {shown}"
