"""A backbone and two parts of a data set -> what it answers on the one after training on the other.

What `finetune` does to the letter, without a checkpoint at the end: `assess` asks for it fold by
fold.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interop.data.base import Data
from interop.data.subset import Subset
from interop.facts.sections.finetune import Epoch
from interop.finetune import samples
from interop.finetune.forward import ModuleRunner, repeatable
from interop.finetune.options import FinetuneOptions
from interop.finetune.pipeline import assembled, probed, tuned
from interop.finetune.samples import Samples
from interop.finetune.training import evaluate
from interop.models.backbone import PretrainedSource


@dataclass(frozen=True, slots=True)
class FoldResult:
    """`answers` are the task's own to the test records, in order; `figure` is the task's figure of
    them, called `name`, of which more is better where `better` is 1. `history` are the epochs of
    all phases."""

    answers: list[Any]
    name: str
    figure: float
    better: int
    history: tuple[Epoch, ...]


def learned(
    source: PretrainedSource,
    data: Data,
    task: str,
    labels: tuple[str, ...],
    train: Sequence[int],
    test: Sequence[int],
    how: FinetuneOptions,
    say: Callable[[str], None] = lambda _: None,
) -> FoldResult:
    """Trains on the records `train` of `data`, of which a share is held back to choose the epoch
    by, and answers the records `test`. Raises what `finetune` raises."""
    with repeatable(), tempfile.TemporaryDirectory(prefix="interop-finetune-") as scratch:
        how = replace(how, out=Path(scratch) / "fold")
        work = assembled(source, Subset(data, train), task, labels, how, say, lambda _: None)
        for name in how.phases:
            {"probe": probed, "full": tuned}[name](work)
        part = samples.whole(Samples.read(Subset(data, test), work.prepare, say))
        runner = ModuleRunner(work.backbone.module, how.device)
        _, figure, answers = evaluate(runner, work.goal, part, how.batch)
        history = tuple(work.kept.history)
        return FoldResult(answers, work.goal.name, figure, work.goal.better, history)
