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

import numpy as np

from interop.data import preparation
from interop.data.base import Data
from interop.data.class_names import CLASSIFIED
from interop.data.subset import Subset
from interop.facts import Identity, Labels
from interop.finetune import (
    Work,
    _built,
    _probed,
    _scalable,
    _settings,
    _tuned,
    goals,
    samples,
    wanted,
)
from interop.finetune.options import Options
from interop.finetune.running import Runner, repeatable
from interop.finetune.samples import Samples
from interop.finetune.state import Epoch, Kept
from interop.finetune.training import evaluate
from interop.models.backbone import Source, input_names


@dataclass(frozen=True, slots=True)
class Learned:
    """`answers` are the task's own to the test records, in order; `figure` is the task's figure of
    them, called `name`, of which more is better where `better` is 1. `history` are the epochs of
    all phases."""

    answers: list[Any]
    name: str
    figure: float
    better: int
    history: tuple[Epoch, ...]


def learned(
    source: Source,
    data: Data,
    task: str,
    labels: tuple[str, ...],
    train: Sequence[int],
    test: Sequence[int],
    how: Options,
    say: Callable[[str], None] = lambda _: None,
) -> Learned:
    """Trains on the records `train` of `data`, of which a share is held back to choose the epoch
    by, and answers the records `test`. Raises what `finetune` raises."""
    with repeatable(), tempfile.TemporaryDirectory(prefix="interop-finetune-") as scratch:
        work = _work(source, Subset(data, train), task, labels, how, Path(scratch), say)
        for name in how.phases:
            {"probe": _probed, "full": _tuned}[name](work)
        held = samples.whole(Samples.read(Subset(data, test), work.prepare, say))
        runner = Runner(work.backbone.module, how.device)
        _, figure, answers = evaluate(runner, work.goal, held, how.batch)
        return Learned(answers, work.goal.name, figure, work.goal.better, tuple(work.kept.history))


def _work(
    source: Source,
    data: Data,
    task: str,
    labels: tuple[str, ...],
    how: Options,
    scratch: Path,
    say: Callable[[str], None],
) -> Work:
    outputs = len(labels)
    if task == "regression":
        outputs = int(np.size(next(iter(data.records([0]))).truth))
    backbone = _built(source, task, labels, outputs, how)
    prepare = preparation(
        source.identity,
        task,
        input_names(source, backbone),
        folder=wanted.folder(source),
        kind=data.kind,
    )
    wanted.padded(prepare)
    read = Samples.read(data, prepare, say)
    by_class = task in CLASSIFIED and task != "token-classification"
    training, validation = samples.parted(read, how.share or 0.2, how.seed, by_class=by_class)
    wanted.unmasked(backbone.module, prepare, training.records + validation.records)
    goal = wanted.goal_of(task, labels, prepare, training, backbone.module)
    if isinstance(goal, goals.Numbers):
        _scalable(backbone, goal, training)
    settings = _settings(source, task, labels, training, validation, how)
    kept = Kept(scratch / "fold", settings)
    known = Labels(labels, "the data set") if labels else Labels(None, task, applicable=False)
    return Work(how, source, task, labels, outputs, backbone, _relabelled(source, known), prepare,
                training, validation, goal, kept, say, lambda _: None)  # fmt: skip


def _relabelled(source: Source, labels: Labels) -> Identity:
    return replace(source.identity, labels=labels, head=None)
