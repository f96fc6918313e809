"""A phase of a training -> its epochs, one after the other, each kept when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.bench.accuracy import ahead
from interop.data.base import Prepared
from interop.errors import ModelError
from interop.facts.sections.finetune import Epoch
from interop.finetune import optim
from interop.finetune.forward import SIDE, ModuleRunner, explained, seed_all
from interop.finetune.objectives import Goal
from interop.finetune.options import PHASES, FinetuneOptions
from interop.finetune.resume import Kept
from interop.finetune.samples import SplitPart, cut
from interop.runtimes import clock

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: `runner` runs the module that is trained, part of `whole`, whose weights are kept.

    `groups` are its parameters with their rates; `learning` the modules that are in training mode
    meanwhile, all others are as in use. `spent` are seconds of the wall and the processor that went
    before; they count as the first epoch's.
    """

    name: str
    runner: ModuleRunner
    whole: nn.Module
    goal: Goal
    training: SplitPart
    validation: SplitPart
    groups: list[optim.Group]
    learning: Sequence[nn.Module]
    epochs: int
    spent: tuple[float, float] = (0.0, 0.0)


def train(phase: Phase, how: FinetuneOptions, kept: Kept, say: Say) -> None:
    """Runs the phase's epochs that are not done yet; leaves its best weights in `phase.whole`.

    Raises ModelError where the loss is no number any more.
    """
    optimizer = optim.optimizer(phase.groups, how)
    scaler = torch.amp.GradScaler("cuda", enabled=how.precision == "float16")
    phase.whole.requires_grad_(False)
    for tensor in (p for g in phase.groups for p in g["params"]):
        tensor.requires_grad_(True)
    done = len(kept.of(phase.name))
    if done:
        phase.whole.load_state_dict(kept.latest["module"])
        optimizer.load_state_dict(kept.latest["optimizer"])
        scaler.load_state_dict(kept.latest["scaler"])
    for epoch in range(done, phase.epochs):
        if _is_over(kept.of(phase.name), phase.goal.better, how.patience):
            break
        before = (0.0, 0.0) if epoch else phase.spent
        wall, cpu = perf_counter() - before[0], process_time() - before[1]
        stop = clock.started() if how.device == "cuda" else None
        loss = _epoch(phase, epoch, how, optimizer, scaler)
        validation_loss, figure, _ = evaluate(phase.runner, phase.goal, phase.validation, how.batch)
        if not isfinite(loss) or not isfinite(validation_loss):
            what = f"the loss of epoch {epoch + 1} ({phase.name}) is no number"
            raise ModelError(what, fix="begin anew with --restart and a lower --rate")
        row = Epoch(
            phase.name, epoch + 1, loss, validation_loss, figure,
            max(g["lr"] for g in optimizer.param_groups),
            perf_counter() - wall, process_time() - cpu,
            None if stop is None else stop() / 1000,
        )  # fmt: skip
        kept.add(row, phase.whole, optimizer, scaler, phase.goal.better)
        say(
            f"{phase.name} {epoch + 1}/{phase.epochs}: loss {loss:.4f}, "
            f"validation {validation_loss:.4f}, {phase.goal.name} {figure:.4f}, {row.seconds:.1f} s"
        )
    phase.whole.load_state_dict(kept.best["module"])


def evaluate(
    runner: ModuleRunner, goal: Goal, part: SplitPart, size: int
) -> tuple[float, float, list[Any]]:
    """The mean loss over a part, the figure, and the answers, the module as in use."""
    runner.module.eval()
    total, count = 0.0, 0
    answers: list[Any] = []
    with torch.no_grad():
        for picks in part.batches(size):
            batch = part.samples.take(picks)
            outputs = runner(batch.inputs)[0]
            total += float(goal.loss(outputs, batch))
            count += goal.count(batch)
            answers += goal.answers(outputs, batch)
    return total / count, goal.figure(answers, part.records), answers


def _is_over(rows: Sequence[Epoch], better: int, patience: int | None) -> bool:
    """Whether the last `patience` epochs brought nothing better."""
    if patience is None or len(rows) <= patience:
        return False
    marks = [(better * r.figure, -r.validation_loss) for r in rows]
    return max(marks[-patience:]) <= max(marks[:-patience])


def _epoch(
    phase: Phase, epoch: int, how: FinetuneOptions, optimizer: torch.optim.Optimizer, scaler: Any
) -> float:
    """All of the training set once, in an order of its own; the mean loss."""
    random = seed_all(how.seed, PHASES.index(phase.name), epoch)
    phase.runner.module.eval()
    for module in phase.learning:
        module.train()
    steps = cut(random.permutation(phase.training.picks), how.batch * how.accumulate)
    total, count = 0.0, 0
    for i, parts in enumerate(_fetched(phase.training, steps, how.batch)):
        factor = optim.factor(epoch * len(steps) + i, phase.epochs * len(steps), how)
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
        counts = [phase.goal.count(batch) for batch in parts]
        for batch in parts:
            loss = _loss(phase, batch)
            total += float(loss.detach())
            with explained(phase.runner.module):
                scaler.scale(loss / sum(counts)).backward()
        count += sum(counts)
        if how.clip:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_([p for g in phase.groups for p in g["params"]], how.clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    return total / count


def _loss(phase: Phase, batch: Prepared) -> torch.Tensor:
    main, *sides = phase.runner(batch.inputs)
    loss = phase.goal.loss(main, batch)
    for side in sides:
        loss = loss + SIDE * phase.goal.loss(side, batch)
    return loss


def _fetched(
    part: SplitPart, steps: Sequence[np.ndarray[Any, Any]], size: int
) -> Iterator[list[Prepared]]:
    """The batches of each step; what has to be read or made is, while the one before is trained."""
    batches = (
        [part.samples.take(p) for p in cut(step, min(size, part.samples.most or size))]
        for step in steps
    )
    return batches if part.samples.kept else ahead(batches)
