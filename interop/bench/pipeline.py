"""Models and a labelled data set -> accuracy and latency of PyTorch and ONNX Runtime.

With two models it also says whether B can stand in for A on the task.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interop.bench.accuracy import Answered, answer, between_models, between_runtimes, scores
from interop.bench.latency import measure as measure_latency
from interop.bench.options import BenchOptions
from interop.bench.process import measure as measure_process
from interop.bench.runners import Contender, parse, prepare_contenders
from interop.check.pairing import pair
from interop.data import open_data, preparation
from interop.data.arrays import TARGETS, ArrayData, Inputs
from interop.data.arrays import task_of as task_of_arrays
from interop.data.base import Array, Data, Preparation
from interop.data.preview import preview
from interop.data.tokens import unread
from interop.errors import ConfigError
from interop.export import ExportOptions
from interop.export.pipeline import ExportRun, Samples
from interop.facts import (
    Answer,
    Case,
    Finding,
    Group,
    Identity,
    Input,
    InputRole,
    Intent,
    Measurement,
    Report,
)
from interop.facts.sections.bench import BenchSection, ClassTables, Pace, SamplePreview
from interop.identity.describe import dataset_hash, describe
from interop.imprint import divergence
from interop.imprint import note as measured_note
from interop.models.build_module import as_built
from interop.models.signature import Forward, Signature, drawn
from interop.models.signature.types import DETECTIONS
from interop.rules import all_rules, run
from interop.runtimes.pytorch import require_torch_device
from interop.tasks import Task
from interop.tasks import task as task_of
from interop.tasks.infer import NAMED, need_interface, task_name

# The same runtime against itself may differ by this much before the host counts as too noisy.
NOISE = 1.25
PREVIEWS = 24
CALIBRATION = 64
REMEMBERED = 64  # inputs that are compared with what the weights remember
SAMPLES = 16  # batches of 1, 2 and 3 use each once
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """What a model is measured at: its task, and the data set with the labels as the model has
    them. `note` says what was taken from the data alone."""

    task: Task
    data: Data
    note: str = ""


def bench(
    models: Sequence[Identity],
    data: str | Path | None = None,
    options: BenchOptions | None = None,
    *,
    exports: Sequence[ExportRun | None] = (),
    progress: Say | None = None,
) -> Report:
    """Measure one model, or A and B, on the samples of `data`; without, their latency alone.

    Each model runs in each of the runtimes, on the same samples; a checkpoint is exported first,
    with its proofs, unless `exports` holds, by its place, the export that was made of it before.
    Raises ConfigError where the task, labels or preprocessing are unknown, DataError where the data
    set does not fit, DeviceMissing where a device is not had, ModelError where no module can be
    made.
    """
    options = options or BenchOptions()
    say = progress or (lambda _: None)
    _check(models, data, options)
    models = _settled(models, options)
    # Before the long work: what is not had, or stands in no file, is known at once.
    require_torch_device(options.device)
    specs = parse(options.runtimes)
    wanted = _wanted(models, data, options) if data is not None else []
    if len(tasks := {one.task.name for one in wanted}) > 1:
        what = f"A and B are for different tasks ({', '.join(sorted(tasks))})"
        raise ConfigError(what, fix="give the one that both are to be measured at with --task")
    with tempfile.TemporaryDirectory(prefix="interop-bench-") as scratch:
        contenders = prepare_contenders(
            models,
            Path(scratch),
            specs=specs,
            device=options.device,
            threads=options.threads,
            tf32=options.tf32,
            options=ExportOptions(
                device=options.device,
                factory=options.factory,
                base=options.base,
                arch=options.arch,
                strict=options.strict,
                trust=options.trust,
                inputs=options.inputs,
            ),
            samples=_samples(models, wanted, options),
            exports=exports,
            calibrate=_calibration(models, wanted),
            say=say,
        )
        if isinstance(contenders, Report):  # an export that failed its proofs is nothing to measure
            return contenders
        try:
            return _report(contenders, wanted, data, options, say)
        finally:
            for contender in contenders:
                contender.close()


def _check(models: Sequence[Identity], data: str | Path | None, options: BenchOptions) -> None:
    if not 1 <= len(models) <= 2:
        raise ConfigError(f"{len(models)} models given", fix="bench takes one model, or two")
    options.check()
    if data is None and not options.batches:
        raise ConfigError("neither accuracy nor latency is asked for", fix="give --data or --batch")


def _settled(models: Sequence[Identity], options: BenchOptions) -> Sequence[Identity]:
    """The models under the architectures that they are built of."""
    if options.factory is not None:
        return models
    beside = (*models[1:], *models[:-1]) or (None,)
    return [
        as_built(m, options.arch, strict=options.strict, beside=o)
        for m, o in zip(models, beside, strict=True)
    ]


def _wanted(
    models: Sequence[Identity], data: str | Path, options: BenchOptions
) -> list[BenchTarget]:
    """What each model is measured at. Arrays are inputs that are ready, and class numbers in them
    say which task it is, if nothing else does."""
    ready = str(data).endswith(".npz") and Path(data).is_file()
    otherwise = task_of_arrays(Inputs(data, TARGETS)) if ready and not options.task else ""
    numbered = all(identity.labels.names is None for identity in models)
    wanted = []
    for identity in models:
        name = task_name(identity, options.task, otherwise)
        need_interface(identity, name, ready=ready, numbered=numbered)
        labels = identity.labels.names or ()
        opened = open_data(data, name, labels, columns=options.columns, split=options.split)
        note = "" if labels or not ready else f"{name}: classes are compared by their numbers"
        wanted.append(BenchTarget(task_of(name, labels), opened, note if name in NAMED else ""))
    return wanted


def _samples(
    models: Sequence[Identity], wanted: Sequence[BenchTarget], options: BenchOptions
) -> list[Samples | None]:
    """What the proofs of an export are fed, by the model's place: pictures of the data.

    Of a module of one's own nothing says what it takes, but for the arrays that it is given.
    """
    samples: list[Samples | None] = []
    for identity, one in zip(models, wanted, strict=False):
        own: Samples | None = None
        if one.data.kind == "pictures":
            prepare = preparation(identity, one.task.name, ("input",), kind="pictures")
            if prepare.most is None:
                own = prepare(one.data.spread(SAMPLES)).inputs["input"]
        if isinstance(one.data, ArrayData) and options.factory and not options.inputs:
            own = one.data.inputs.spread(SAMPLES)
        samples.append(own)
    return samples


def _calibration(
    models: Sequence[Identity], wanted: Sequence[BenchTarget]
) -> Callable[[str, Signature], list[Mapping[str, Array]]] | None:
    """Batches of the data set, for runners that set their ranges by some."""
    if not wanted:
        return None

    def batches(role: str, takes: Signature) -> list[Mapping[str, Array]]:
        n = "AB".index(role)
        prepare = _prepared(models[n], wanted[n], takes)
        records = wanted[n].data.spread(CALIBRATION)
        size = prepare.most or 8
        return [prepare(records[i : i + size]).inputs for i in range(0, len(records), size)]

    return batches


def _prepared(identity: Identity, wanted: BenchTarget, takes: Signature) -> Preparation:
    return preparation(identity, wanted.task.name, takes.names, kind=wanted.data.kind)


# ---------------------------------------------------------------- the measuring itself


def _report(
    contenders: Sequence[Contender],
    wanted: Sequence[BenchTarget],
    data: str | Path | None,
    options: BenchOptions,
    say: Say,
) -> Report:
    pairs = zip(contenders, wanted, strict=False)
    prepares = [_prepared(c.identity, w, c.signature) for c, w in pairs]
    measurements: list[Measurement] = []
    pace: dict[str, Pace] = {}
    # Before the answers are waited for: texts that no tokenizer knows are not worth the wait.
    known = [_unread(c, w, p, data) for c, w, p in zip(contenders, wanted, prepares, strict=False)]
    answered: list[list[Answered]] = []
    unlike: list[Measurement] = []
    for contender, one, prepare in zip(contenders, wanted, prepares, strict=False):
        answers, waited = answer(contender, one.data, prepare, one.task, say)
        answered.append(answers)
        pace[contender.role] = _pace(answers, waited)
        unlike += _divergence(contender, one, prepare)
    measurements += [*_accuracy(answered), *unlike]
    if options.batches:
        inputs = _inputs(contenders, wanted, prepares, max(options.batches))
        measurements += measure_latency(contenders, inputs, options.batches, options.seconds, say)
        measurements += measure_process(contenders, inputs, say, options.batches)
    measured = tuple(measurements)
    conditions = _conditions(contenders)
    if not wanted:
        conditions["inputs"] = _drawn(contenders)
    noise, _ = run(Case(measurements=measured, budgets={"noise": NOISE}))
    noisy = next((f for f in noise if f.rule == "host-too-noisy"), None)
    assumed = tuple(a for c in contenders for a in c.identity.assumptions)
    findings = (
        *noise,
        *run(Case(assumptions=assumed))[0],
        *_interface([c.identity for c in contenders]),
    )
    notes = [f"{c.role}: {n}" for c in contenders for n in c.notes]
    notes += [f"{c.role}: {words}" for c in contenders for words in measured_note(c.identity)]
    notes += dict.fromkeys(one.note for one in wanted if one.note)
    section = BenchSection(
        device=options.device,
        pace=pace or None,
        conditions={k: v for k, v in conditions.items() if not isinstance(v, dict)},
        predictions=tuple(one.predictions() for answers in answered for one in answers),
        notes=(*(n for n in known if n), *notes) or None,
    )
    if answered:
        section = replace(
            section,
            task=wanted[0].task.name,
            split=options.split,
            prepared={c.role: dict(p.said) for c, p in zip(contenders, prepares, strict=True)},
            classes=_classes(answered),
            previews=_previews(measured, wanted[0].data, answered[0][0]),
        )
    return Report(
        command="bench",
        outcome=Answer.UNKNOWN if noisy else Answer.YES,
        summary=noisy.what if noisy else _summary(measured),
        inputs=(
            *(describe(c.role, c.identity) for c in contenders),
            *_dataset(data, wanted, answered),
        ),
        findings=findings,
        measurements=measured,
        skipped=tuple(s for c in contenders for s in c.skipped),
        environment=conditions,
        details=section,
    )


def _unread(
    contender: Contender, wanted: BenchTarget, prepare: Preparation, data: str | Path | None
) -> str:
    """The note on texts that the model's tokenizer does not know, "" where it knows all."""
    note = unread(prepare, wanted.data.records(), "texts", f"{data}, read for {contender.role}")
    return note and f"{contender.role}: {note}"


def _interface(models: Sequence[Identity]) -> list[Finding]:
    """What a caller of A would have to change for B, as `check` finds it.

    Answers are compared by name: labels in another order show in no figure here.
    """
    if len(models) != 2:
        return []
    findings, _ = run(Case(a=models[0], b=models[1], pairing=pair(*models)))
    rules = all_rules()
    return [
        f for f in findings if "pair" in rules[f.rule].rule.needs and Intent.REPLACE in f.breaks
    ]


def _divergence(
    contender: Contender, wanted: BenchTarget, prepare: Preparation
) -> Sequence[Measurement]:
    """How far the prepared inputs are from what the model's BatchNorms remember of training."""
    forward = contender.forward
    if not isinstance(forward, Forward) or prepare.most is not None or not _of_images(contender):
        return ()
    inputs = prepare(wanted.data.spread(REMEMBERED)).inputs
    return divergence(forward, inputs, f"{contender.role} pytorch", model=contender.role)


def _of_images(contender: Contender) -> bool:
    takes = contender.signature
    return len(takes.arguments) == 1 and len(takes.arguments[0].axes) == 4 and (
        takes.kind != DETECTIONS
    )  # fmt: skip


def _accuracy(answered: Sequence[Sequence[Answered]]) -> list[Measurement]:
    accuracy = [m for answers in answered for one in answers for m in scores(one)]
    for first, *others in answered:
        for other in others:
            accuracy += between_runtimes(first, other)
    if len(answered) == 2:
        accuracy += between_models(answered[0][0], answered[1][0])
    return accuracy


def _inputs(
    contenders: Sequence[Contender],
    wanted: Sequence[BenchTarget],
    prepares: Sequence[Preparation],
    most: int,
) -> list[Mapping[str, Array]]:
    """What latency is measured on: real samples where there are any, else seeded ones."""
    if not wanted:
        return [drawn(c.signature, most) for c in contenders]
    return [
        prepare(one.data.spread(min(most, prepare.most or most))).inputs
        for one, prepare in zip(wanted, prepares, strict=True)
    ]


def _drawn(contenders: Sequence[Contender]) -> str:
    """What latency was measured on where there are no data, in words."""
    of_each = [
        "; ".join(f"{a.name} ({', '.join(map(str, a.axes))})" for a in c.signature.arguments)
        for c in contenders
    ]
    shown = [f"{c.role} {words}" for c, words in zip(contenders, of_each, strict=True)]
    return f"drawn numbers: {of_each[0] if len(set(of_each)) == 1 else ', '.join(shown)}"


def _pace(answers: Sequence[Answered], waited: float) -> Pace:
    """Where the time of the walk over the data went."""
    ran = {one.runtime: one.seconds for one in answers}
    whole = waited + sum(ran.values())
    return Pace(waited, ran, waited / whole if whole else 0.0)


def _classes(answered: Sequence[Sequence[Answered]]) -> tuple[ClassTables, ...]:
    """Class by class, of each model in its first runtime: the others differ by their flips."""
    by_model = (first.task.tables(first.of, first.answers, first.truths) for first, *_ in answered)
    return tuple(tables for tables in by_model if tables is not None)


def _previews(
    measured: Sequence[Measurement], data: Data, answers: Answered
) -> dict[str, SamplePreview]:
    """What a page shows of the first samples that flipped, by their hash."""
    places = {digest: i for i, digest in enumerate(answers.hashes)}
    flipped = [f["sample"] for m in measured for f in m.conditions.get("flipped", ())]
    picks = sorted({places[h] for h in list(dict.fromkeys(flipped))[:PREVIEWS]})
    previews: dict[str, SamplePreview] = {}
    for record in data.records(picks) if picks else ():
        seen = preview(record)
        previews[record.sha256] = SamplePreview(base64.b64encode(seen.png).decode(), seen.text)
    return previews


def _dataset(
    data: str | Path | None, wanted: Sequence[BenchTarget], answered: Sequence[Sequence[Answered]]
) -> tuple[Input, ...]:
    if not wanted:
        return ()
    first = answered[0][0]
    about = {**wanted[0].data.about(), "sha256": dataset_hash(first.hashes)}
    about["samples"] = len(first.hashes)
    return (Input(InputRole.DATA, str(data), f"{len(first.hashes)} {wanted[0].data.kind}", about),)


def _conditions(contenders: Sequence[Contender]) -> dict[str, object]:
    conditions: dict[str, Any] = {}
    for contender in contenders:
        for runtime in contender.runtimes:
            conditions[f"{contender.role} {runtime.name}"] = runtime.conditions()
    of_each = [runtime.conditions() for runtime in contenders[0].runtimes]
    first = of_each[0]
    conditions["device"] = next((c["gpu"] for c in of_each if c.get("gpu")), first["device"])
    tf32 = "on" if first["tf32"] else "off"
    conditions["precision"] = f"{first['dtype']}, TF32 {tf32} on all sides"
    conditions["threads"] = first["threads"]
    versions = {
        key: c[key] for c in of_each for key in ("torch", "onnxruntime", "openvino") if key in c
    }
    conditions["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    graphs = [c for c in of_each if c.get("providers")]
    if graphs:
        conditions["provider"] = graphs[0]["providers"][0]
        conditions["not on it"] = ", ".join(graphs[0]["elsewhere"]) or "no node"
    return conditions


def _summary(measured: Sequence[Measurement]) -> str:
    from interop.report.units import quantity

    scored = [m for m in measured if m.conditions.get("group") == Group.ACCURACY]
    if scored:
        first = [m for m in scored if m.name == scored[0].name and m.value is not None]
        shown = ", ".join(f"{m.conditions['of']} {quantity(m.value or 0, m.unit)}" for m in first)
        return f"{first[0].name}: {shown}" if first else f"{scored[0].name}: not measured"
    fast = [m for m in measured if m.name == "latency" and m.value is not None]
    batch = min((m.conditions["batch"] for m in fast), default=0)
    shown = ", ".join(
        f"{m.conditions['of']} {m.value:.2f} ms" for m in fast if m.conditions["batch"] == batch
    )
    return f"latency at batch {batch}: {shown}"
