"""A training that is done -> its record in the checkpoint, and the Report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from interop import __version__
from interop.facts import (
    Answer,
    Case,
    Group,
    Input,
    InputRole,
    Json,
    Measurement,
    Proof,
    Report,
    TaskName,
    Unit,
)
from interop.facts.sections.finetune import (
    BestEpoch,
    Epoch,
    FinetuneSection,
    TrainedBase,
    TrainingData,
    TrainingFigure,
)
from interop.finetune import targets
from interop.finetune.run import FinetuneRun
from interop.finetune.samples import SplitPart
from interop.identity.describe import dataset_hash, describe
from interop.models.backbone import RANDOM, PretrainedSource
from interop.rules import run

CHOSEN = (
    "the written epoch was chosen by these validation samples: bench on others says how it does on "
    "new ones"
)
MOST_SEEN = 20_000  # samples that a checkpoint lists by a piece of their hash: 160 kB
NEAR = 0.95  # of the best figure: the time to it is what says how fast a backbone is reused


def base(source: PretrainedSource, proofs: Sequence[Proof]) -> TrainedBase:
    """What was trained on top of: the name, the file's hash, and how much of it was loaded."""
    front = RANDOM if source.name.startswith(RANDOM) else ""
    name = source.name.removeprefix(RANDOM)
    facts = proofs[0].facts
    share = facts.get("backbone_fraction", facts.get("module_fraction"))
    return TrainedBase(
        front + (Path(name).name if Path(name).exists() else name),
        f"{source.library}/{source.arch}" if source.library else None,
        source.sha256,
        share,
    )


def record(work: FinetuneRun) -> dict[str, Json]:
    """What the checkpoint says of its base and its training; nothing that a clock has measured."""
    kept = work.kept
    untimed = [
        {k: v for k, v in asdict(row).items() if not k.endswith("seconds")} for row in kept.history
    ]
    return {
        "base": asdict(base(work.source, kept.proofs)),
        "training": {
            "made_by": f"interop {__version__}",
            "task": work.task,
            "settings": work.how.settings(),
            "data": {
                **_about(work.training),
                "validation": len(work.validation),
                "seen": _seen(work),
            },
            "figure": work.goal.name,
            "best": _best(work),
            "curves": untimed,
            "notes": list(kept.notes),
        },
    }


def _about(part: SplitPart) -> dict[str, Json]:
    return {"samples": len(part), "sha256": dataset_hash([r.sha256 for r in part.records])}


def _seen(work: FinetuneRun) -> str:
    """What was trained on or chosen by, so that nobody takes it for unseen: of each sample's
    content hash the first six bytes, in order, as base64; "" of more samples than a file should
    list."""
    records = [*work.training.records, *work.validation.records]
    if len(records) > MOST_SEEN:
        return ""
    return b64encode(b"".join(sorted(bytes.fromhex(r.sha256[:12]) for r in records))).decode()


def _best(work: FinetuneRun) -> dict[str, Json]:
    return {k: work.kept.best[k] for k in ("phase", "epoch", "figure")}


def report(
    work: FinetuneRun, data: str, answers: Sequence[Any], loss: float, made: dict[str, Json]
) -> Report:
    """The whole training, with its curves."""
    kept = work.kept
    measured = (*scores(work, answers), *_chance(work), *_learning(work), *_times(work))
    first = measured[0]
    about_data = {k: v for k, v in made["training"]["data"].items() if k != "seen"}
    beaten = _not_beaten(first, measured, work.goal.better)
    truths = [r.truth for r in work.validation.records]
    tables = work.goal.task.tables(_of(work), list(answers), truths)
    section = FinetuneSection(
        out=str(work.how.target),
        task=TaskName(work.task),
        labels=tuple(work.labels),
        base=base(work.source, kept.proofs),
        best=BestEpoch(**_best(work), validation_loss=loss),
        figure=TrainingFigure(work.goal.name, work.goal.unit, work.goal.better),
        curves=tuple(kept.history),
        settings=work.how.settings(),
        data=TrainingData(**about_data),
        resumed=kept.resumed,
        prepared=dict(work.prepare.said),
        conditions=_conditions(work),
        notes=(*kept.notes, CHOSEN, *beaten),
        classes=None if tables is None else (tables,),
    )
    from interop.report.units import quantity

    shown = quantity(first.value, first.unit) if first.value is not None else "not measured"
    sentence = f"{first.name} {shown} on {len(work.validation)} validation samples, {_of(work)}"
    about = f"{len(work.training)} to train on, {len(work.validation)} for validation"
    return Report(
        command="finetune",
        outcome=Answer.YES,
        summary=f"{sentence}; wrote {work.how.target}",
        inputs=inputs(work.source, data, about, about_data),
        findings=run(Case(assumptions=work.source.identity.assumptions))[0],
        proofs=tuple(kept.proofs),
        measurements=measured,
        details=section,
    )


def _not_beaten(first: Measurement, measured: Sequence[Measurement], better: int) -> list[str]:
    """What is to be said where one answer for all would have done as well."""
    chance = next((m for m in measured if m.name == "chance"), None)
    if chance is None or first.value is None or chance.value is None:
        return []
    if better * first.value > better * chance.value:
        return []
    return [f"no better than chance ({chance.conditions['of']}): nothing of use was learned"]


def inputs(
    source: PretrainedSource, data: str, about: str, facts: dict[str, Json] | None = None
) -> tuple[Input, ...]:
    """How the report speaks of the backbone and of the data set."""
    if source.random:
        description = f"{source.library}/{source.arch}  weights drawn at random"
        backbone = Input(InputRole.BACKBONE, source.name, description)
    else:
        backbone = describe(InputRole.BACKBONE, source.identity)
    return backbone, Input(InputRole.DATA, data, about, facts or {})


def scores(work: FinetuneRun, answers: Sequence[Any]) -> list[Measurement]:
    """The task's figures of the written weights on the validation set, each with its interval."""
    truths = [r.truth for r in work.validation.records]
    conditions = {"group": Group.VALIDATION, "of": _of(work), "samples": len(truths)}
    return [
        Measurement(s.name, s.unit, s.value if isfinite(s.value) else None, s.interval,
                    conditions={**conditions, "better": s.better})
        for s in work.goal.task.scores(answers, truths)
    ]  # fmt: skip


def _of(work: FinetuneRun) -> str:
    best = work.kept.best
    return f"{best['phase']}, epoch {best['epoch']}"


def _chance(work: FinetuneRun) -> list[Measurement]:
    guess = targets.chance(work.goal, work.training, work.validation)
    if guess is None:
        return []
    how, value = guess
    conditions = {"group": Group.VALIDATION, "of": how, "samples": len(work.validation),
                  "better": work.goal.better}  # fmt: skip
    return [Measurement("chance", work.goal.unit, value, conditions=conditions)]


def _learning(work: FinetuneRun) -> list[Measurement]:
    """The last value of each curve, with all of them as samples."""
    measurements = []
    for phase in work.how.phases:
        rows = work.kept.of(phase)
        names = {"train_loss": "training loss", "validation_loss": "validation loss"}
        if phase != "pretrain":
            names["figure"] = f"{work.goal.name} by epoch"
        for key, name in names.items():
            values = tuple(float(getattr(r, key)) for r in rows)
            unit = work.goal.unit if key == "figure" else Unit.ABS
            measurements.append(Measurement(name, unit, values[-1], samples=values,
                                    conditions={"group": Group.LEARNING, "of": phase}))  # fmt: skip
    return measurements


def _times(work: FinetuneRun) -> list[Measurement]:
    """Seconds of the wall and of the processor, an epoch each, and those to 95 % of the best."""
    times = []
    for phase in work.how.phases:
        rows = work.kept.of(phase)
        for name, key in (("time", "seconds"), ("processor time", "cpu_seconds")):
            values = tuple(float(getattr(r, key)) for r in rows)
            times.append(Measurement(name, Unit.SECONDS, sum(values), samples=values,
                                    conditions={"group": Group.TRAINING, "of": phase}))  # fmt: skip
    rows = [r for r in work.kept.history if r.phase != "pretrain"]
    place = reached(rows, work.goal.better)
    of = f"{rows[place].phase}, epoch {rows[place].epoch}"
    for name, key in (("time to 95 % of the best", "seconds"),
                      ("processor time to 95 % of the best", "cpu_seconds")):  # fmt: skip
        spent = sum(float(getattr(r, key)) for r in rows[: place + 1])
        conditions = {"group": Group.TRAINING, "of": of}
        times.append(Measurement(name, Unit.SECONDS, spent, conditions=conditions))
    return times


def reached(rows: Sequence[Epoch], better: int) -> int:
    """The place of the first epoch that has 95 % of the best figure: at least so much of it where
    more is better, at most the best by 0.95 where less is."""
    figures = [r.figure for r in rows]
    if better > 0:
        return next(i for i, f in enumerate(figures) if f >= NEAR * max(figures))
    return next(i for i, f in enumerate(figures) if f <= min(figures) / NEAR)


def _conditions(work: FinetuneRun) -> dict[str, Json]:
    name = torch.cuda.get_device_name() if work.how.device == "cuda" else work.how.device
    return {
        "device": name,
        "precision": work.how.precision,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
