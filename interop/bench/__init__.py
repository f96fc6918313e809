"""Models and a labelled data set -> accuracy and latency of PyTorch and ONNX Runtime.

With two models it also says whether B can stand in for A on the task.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop.bench.accuracy import Answered, answer, between_models, between_runtimes, scores
from interop.bench.lanes import Contender, LaneSpec, prepare_contenders
from interop.bench.latency import measure as measure_latency
from interop.bench.process import measure as measure_process
from interop.bench.tasks import Task, task_for
from interop.check.inputs import dataset_hash, describe
from interop.data import Data, Preparation, open_data, preparation, preview
from interop.data.base import Array
from interop.errors import ConfigError
from interop.facts import Answer, Case, Identity, Input, Json, Measurement, Report
from interop.models.signature import drawn
from interop.rules import run
from interop.runtimes.pytorch import require_torch_device

__all__ = ["BATCHES", "Options", "bench"]

BATCHES = (1, 8, 32)
PAIR = ("pytorch", "onnxruntime")
# The same runtime against itself may differ by this much before the host counts as too noisy.
NOISE = 1.25
PREVIEWS = 24
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how.

    `task` is the Hub's word for it, where the model does not tell. `runtimes` are lanes as
    `LaneSpec` reads them, the first of which the others are held against. `batches` are the batch
    sizes for latency (none: accuracy alone), `seconds` the time spent on each, `threads` the number
    that all runtimes use, `tf32` whether CUDA may round float32 products. `columns` name a table's
    columns by their role, `split` a part of the data set. `factory`, `head`, `base`, `arch` and
    `trust_pickle` say how a module is built, as for `export`.
    """

    device: str = "cpu"
    task: str | None = None
    runtimes: Sequence[str] = PAIR
    batches: Sequence[int] = BATCHES
    seconds: float = 4.0
    threads: int | None = None
    tf32: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    factory: str | None = None
    head: str | None = None
    base: str | None = None
    arch: str | None = None
    trust_pickle: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """One model ready to be measured on one data set."""

    contender: Contender
    task: Task
    data: Data
    prepare: Preparation


def bench(
    models: Sequence[Identity],
    data: str | Path | None = None,
    *,
    options: Options | None = None,
    progress: Say | None = None,
    **given: object,
) -> Report:
    """Measure one model, or A and B, on the samples below `data`; without, their latency alone.

    Each model runs in each of the runtimes, on the same samples; a checkpoint is exported first,
    with its proofs. `options`, or its fields by name, say the rest.
    Raises ConfigError where labels or preprocessing are unknown, DataError where the data set does
    not fit, DeviceMissing where a device is not had, ModelError where no module can be made.
    """
    from dataclasses import replace

    options = replace(options or Options(), **given)  # type: ignore[arg-type]
    say = progress or (lambda _: None)
    if not 1 <= len(models) <= 2:
        raise ConfigError(f"{len(models)} models given", fix="bench takes one model, or two")
    if options.batches and min(options.batches) < 1:
        raise ConfigError("a batch size must be at least 1", where="--batch")
    if data is None and not options.batches:
        raise ConfigError("neither accuracy nor latency is asked for", fix="give --data or --batch")
    # Before the long work: a device that is not had is known at once, and a lane that is none.
    require_torch_device(options.device)
    specs = [LaneSpec.parse(text) for text in options.runtimes]
    given_inputs = tuple(describe(role, i) for role, i in zip("AB", models, strict=False))
    # What is in no file is told before a model is built, as far as the file says what it is for.
    early = [_early(identity, data, options) for identity in models]
    with tempfile.TemporaryDirectory(prefix="interop-bench-") as scratch:
        made = prepare_contenders(
            models, Path(scratch), specs=specs, options=options,
            calibration=lambda n: early[n].samples if early[n] else None, say=say,
        )  # fmt: skip
        if isinstance(made, Report):  # an export that failed its proofs is nothing to measure
            return made
        try:
            return _report(made, data, options, given_inputs, say)
        finally:
            for contender in made:
                contender.close()
