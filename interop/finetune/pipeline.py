"""Pretrained weights and a labelled data set -> a fine-tuned checkpoint, and how it was trained.

The backbone is filled completely or nothing is trained; what is written knows its architecture,
labels, preprocessing, base and training record, so that `check`, `export` and `bench` need no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.data import open_data, preparation
from interop.data.base import Data, Preparation
from interop.data.class_names import CLASSIFIED
from interop.data.tokens import unread
from interop.errors import ConfigError, DataError, ModelError
from interop.facts import Answer, Case, Labels, Proof, ProofName, Report, TaskName
from interop.finetune import caching, checkpoint, objectives, optim, samples, targets
from interop.finetune import report as reporting
from interop.finetune.autoencoder import Autoencoder, Reconstruction
from interop.finetune.forward import ModuleRunner, repeatable
from interop.finetune.options import FinetuneOptions
from interop.finetune.resume import Kept
from interop.finetune.run import FinetuneRun
from interop.finetune.samples import Samples, SplitPart
from interop.finetune.training import Phase, evaluate, train
from interop.models.backbone import Backbone, PretrainedSource, find, input_names, under_head
from interop.models.initialize import fill
from interop.rules import run
from interop.runtimes.pytorch import require_torch_device

TRANSFERRED = ProofName.TRANSFERRED_FRACTION
FEW = 20  # validation samples below which a figure says next to nothing
Say = Callable[[str], None]


def finetune(
    backbone: str,
    data: str | Path,
    options: FinetuneOptions | None = None,
    *,
    progress: Say | None = None,
    log: Say | None = None,
) -> Report:
    """Trains `backbone`, what `interop.models.backbone.find` takes, on `data`.

    What comes of it is written to `options.out`. `progress` is told what goes on at the moment,
    `log` a line an epoch. A run that was killed goes on where it was when it is asked for again, to
    the same bytes. The outcome is NO, and nothing is written, where the weights do not fill the
    backbone. Raises ConfigError, DataError, ModelError, ReadError, DeviceMissing, ExtraMissing.
    """
    say, log = progress or (lambda _: None), log or (lambda _: None)
    options = options or FinetuneOptions()
    options.check()
    require_torch_device(options.device)
    source = _source(backbone, options)
    if options.out is None:
        folder = checkpoint.is_folder(source, options.factory)
        options = replace(options, out=Path("finetuned" if folder else "finetuned.pth"))
    checkpoint.check_target(options.target, source, options.factory, force=options.force)
    try:
        with repeatable():
            return _trained(_prepared(source, data, options, say, log), data)
    except ModelError as error:
        if error.rule != "loaded-fraction-low":
            raise
        return _refused(source, data, error)


# ---------------------------------------------------------------- before


def _source(given: str, how: FinetuneOptions) -> PretrainedSource:
    source = find(
        given,
        weights=how.weights,
        arch=how.arch,
        preprocessing=how.stated,
        strict=how.strict,
        own=how.factory is not None,
    )
    if how.stated is None:
        return source
    # What is trained anew may be prepared anew, whatever the file says.
    return replace(source, identity=replace(source.identity, preprocessing=how.stated))


def _prepared(
    source: PretrainedSource, data: str | Path, how: FinetuneOptions, say: Say, log: Say
) -> FinetuneRun:
    """What a person named -> all that the phases need."""
    task = targets.task_name(source, data, how)
    labels = targets.labels_of(source, task, data, how)
    return assembled(source, _opened(data, task, labels, how), task, labels, how, say, log)


def assembled(
    source: PretrainedSource, opened: Data, task: str, labels: tuple[str, ...],
    how: FinetuneOptions, say: Say, log: Say,
) -> FinetuneRun:  # fmt: skip
    """The backbone under its new head, the data in parts, and the state of an earlier run."""
    outputs = len(labels)
    if task == TaskName.REGRESSION:
        outputs = int(np.size(next(iter(opened.records([0]))).truth))
    backbone = _built(source, task, labels, outputs, how)
    names = input_names(source, backbone)
    folder = targets.folder(source)
    prepare = preparation(source.identity, task, names, folder=folder, kind=opened.kind)
    notes = [*backbone.notes, targets.padded(prepare), targets.assumed(source)]
    training, validation = _parts(opened, prepare, task, labels, how, say)
    notes += [
        unread(prepare, training.records, "training texts", str(opened.path)),
        unread(prepare, validation.records, "validation texts", str(how.validation or opened.path)),
    ]
    if len(validation) < FEW:
        notes.append(f"{len(validation)} validation samples decide little: give more")
    if twice := samples.shared(training, validation):
        notes.append(f"{twice} of the {len(validation)} validation samples are trained on too")
    notes.append(targets.unmasked(backbone.module, prepare, training.records + validation.records))
    goal = targets.goal_of(task, labels, prepare, training, backbone.module)
    if isinstance(goal, objectives.Numbers):
        _scalable(backbone, goal, training)
    known = Labels(labels, "the data set") if labels else Labels(None, task, applicable=False)
    identity = replace(source.identity, labels=known, head=None)
    kept = Kept(how.target, _settings(source, task, labels, training, validation, how),
                restart=how.restart)  # fmt: skip
    if not kept.resumed:
        kept.notes = [n for n in notes if n]
        kept.proofs = [backbone.proof]
    return FinetuneRun(how, source, task, labels, outputs, backbone, identity, prepare, training,
                validation, goal, kept, say, log)  # fmt: skip


def _opened(data: str | Path, task: str, labels: tuple[str, ...], how: FinetuneOptions) -> Data:
    names = None if task == targets.SPEECH else labels
    return open_data(data, task, names, columns=how.columns, split=how.split)


def _built(
    source: PretrainedSource, task: str, labels: tuple[str, ...], outputs: int, how: FinetuneOptions
) -> Backbone:
    backbone = under_head(
        source, task, labels, outputs=outputs, factory=how.factory,
        padding=targets.padding(source), seed=how.seed,
    )  # fmt: skip
    bad = [n for n, t in backbone.module.state_dict().items() if not t.isfinite().all()]
    if bad:
        what = f"{len(bad)} of its tensors hold what is no number ({', '.join(bad[:3])})"
        fix = "begin from weights without NaN and infinity (interop inspect tells)"
        raise ModelError(what, where=source.name, fix=fix, rule="tensor-not-finite")
    # Half weights cannot take small steps: they are trained and written as float32.
    backbone.module.float().to(how.device)
    return backbone


def _parts(
    data: Data,
    prepare: Preparation,
    task: str,
    labels: tuple[str, ...],
    how: FinetuneOptions,
    say: Say,
) -> tuple[SplitPart, SplitPart]:
    read = Samples.read(data, prepare, say)
    if how.share is not None:
        by_class = task in CLASSIFIED and task != TaskName.TOKEN_CLASSIFICATION
        try:
            return samples.parted(read, how.share, how.seed, by_class=by_class)
        except DataError as error:
            raise DataError(error.what, where=str(data.path), fix=error.fix) from None
    validation = _opened(how.validation, task, labels, replace(how, split=None))
    if validation.kind != data.kind:
        raise DataError(f"holds {validation.kind}, and what is trained on {data.kind}",
                        where=how.validation, fix="give a data set of the same kind")  # fmt: skip
    return samples.whole(read), samples.whole(Samples.read(validation, prepare, say))


def _settings(
    source: PretrainedSource,
    task: str,
    labels: tuple[str, ...],
    training: SplitPart,
    validation: SplitPart,
    how: FinetuneOptions,
) -> dict[str, Any]:
    """All that the trained bits depend on; another training has other ones."""
    return {
        **how.settings(),
        "backbone": source.name,
        "base sha256": source.sha256,
        "task": task,
        "labels": list(labels),
        "data sha256": training.samples.about()["sha256"],
        "validation sha256": validation.samples.about()["sha256"],
        "torch": str(torch.__version__),
    }


def _scalable(backbone: Backbone, goal: objectives.Numbers, training: SplitPart) -> None:
    """Sees to it that the truth's scale can be brought into the last layer, and is right there."""
    batch = training.samples.take(training.picks[:4])
    runner = ModuleRunner(backbone.module.eval(), next(backbone.module.parameters()).device.type)
    for centred in (True, False):
        goal.centre(centred)
        with torch.no_grad():
            before = runner(batch.inputs)[0].cpu().numpy()
            undo = checkpoint.scaled(backbone.module, backbone.head, goal.scale, goal.mean)
            if undo is None:
                continue
            after = runner(batch.inputs)[0].cpu().numpy().reshape(len(before), -1)
            undo()
        if np.allclose(goal.unscaled(before), after, rtol=1e-4, atol=1e-4 * abs(after).max()):
            return
    what = "its outputs are not those of its last layer, which has to hold the numbers' scale"
    raise ModelError(what, fix="give a module that ends in a linear layer with --model")


def _refused(source: PretrainedSource, data: str | Path, error: ModelError) -> Report:
    """Nothing is trained on a backbone that is partly fresh."""
    proof = Proof(ProofName.LOADED_FRACTION, False, error.what)
    findings, _ = run(Case(b=source.identity, proofs=(proof,)))
    return Report(
        command="finetune",
        outcome=Answer.NO,
        summary=f"loaded-fraction-low: {error.what}; nothing was trained",
        inputs=reporting.inputs(source, str(data), ""),
        findings=tuple(f for f in findings if f.rule == "loaded-fraction-low"),
        proofs=(proof,),
    )


# ---------------------------------------------------------------- the phases


def _trained(work: FinetuneRun, data: str | Path) -> Report:
    phases = {"pretrain": _pretrained, "probe": probed, "full": tuned}
    done = work.how.phases.index(work.kept.phase) if work.kept.phase else 0
    for name in work.how.phases[done:]:
        phases[name](work)
    final = _as_written(work)
    runner = ModuleRunner(work.backbone.module, work.how.device)
    loss, _, answers = evaluate(runner, final, work.validation, work.how.batch)
    record = reporting.record(work)
    work.say("writing")
    work.backbone.module.to("cpu")
    checkpoint.write(
        work.how.target, work.backbone, work.source, work.identity, work.prepare, record
    )
    report = reporting.report(work, str(data), answers, loss, record)
    work.kept.remove()
    return report


def _as_written(work: FinetuneRun) -> objectives.OfTask:
    """Brings the numbers' own scale into the last layer, where there are any; the goal of that."""
    if not isinstance(work.goal, objectives.Numbers):
        return work.goal
    backbone = work.backbone
    checkpoint.scaled(backbone.module, backbone.head, work.goal.scale, work.goal.mean)
    return objectives.AsWritten(work.goal)


def probed(work: FinetuneRun) -> None:
    """Trains what is new under the frozen backbone, on cached features where they are the same."""
    head, module = work.head, work.backbone.module
    if work.kept.of("probe"):
        module.load_state_dict(work.kept.latest["module"])
    runner = work.runner()
    training, validation = work.training, work.validation
    proof, why = caching.prove(runner, work.backbone.head, head, training.samples)
    # The head, and the modules that hold other parameters that are new.
    paths = sorted({n.rpartition(".")[0] for n in head} | {work.backbone.head})
    learning = [module.get_submodule(p) for p in paths if p]
    spent = (0.0, 0.0)
    if proof is not None:
        _once(work.kept.proofs, proof)
        wall, cpu = perf_counter(), process_time()
        parts = training, validation
        training, validation = caching.cached(
            runner, work.backbone.head, parts, work.how.batch, work.say
        )
        spent = perf_counter() - wall, process_time() - cpu
        part = module.get_submodule(work.backbone.head)
        runner, learning = ModuleRunner(part, work.how.device), [part]
    else:
        note = f"the frozen backbone runs in every epoch of the probe: {why}"
        if note not in work.kept.notes:
            work.kept.notes.append(note)
    rate = work.how.rate_of("probe", work.source.library)
    groups = optim.groups(module, head, head, rate, replace(work.how, head_rate_factor=1.0))
    train(
        Phase("probe", runner, module, work.goal, training, validation, groups, learning,
              work.how.epochs, spent),
        work.how, work.kept, work.log,
    )  # fmt: skip


def _once(proofs: list[Proof], proof: Proof) -> None:
    if all(p.name != proof.name for p in proofs):
        proofs.append(proof)


def tuned(work: FinetuneRun) -> None:
    """Trains all weights."""
    module = work.backbone.module
    if not work.kept.of("full") and work.kept.of("probe"):
        module.load_state_dict(work.kept.best["module"])
    names = [n for n, _ in module.named_parameters()]
    rate = work.how.rate_of("full", work.source.library)
    groups = optim.groups(module, names, work.head, rate, work.how)
    train(
        Phase("full", work.runner(), module, work.goal, work.training, work.validation, groups,
              [module], work.how.epochs),
        work.how, work.kept, work.log,
    )  # fmt: skip


def _pretrained(work: FinetuneRun) -> None:
    """Trains the backbone as an autoencoder's encoder, then gives its weights to a new one."""
    how = work.how
    training, validation = _unlabelled(work)
    batch = training.samples.take(training.picks[:2])
    array = next(iter(batch.inputs.values()))
    if array.ndim != 4 or len(batch.inputs) != 1 or not work.backbone.head:
        raise ConfigError("autoencoders are of pictures here", where="--pretrain",
                          fix="leave it out")  # fmt: skip
    sample = torch.from_numpy(array).to(how.device)
    coder = Autoencoder(work.backbone.module.eval(), work.backbone.head, sample)
    coder.to(how.device)
    front = {f"encoder.{n}" for n in work.head}
    names = [n for n, _ in coder.named_parameters() if n not in front]
    groups = optim.groups(coder, names, (), how.rate_of("pretrain", ""), replace(
        how, layer_decay=1.0))  # fmt: skip
    goal = Reconstruction()
    train(
        Phase("pretrain", ModuleRunner(coder, how.device, how.precision), coder, goal, training,
              validation, groups, [coder], how.pretrain_epochs),
        how, work.kept, work.log,
    )  # fmt: skip
    state = {n: t.cpu() for n, t in work.backbone.module.state_dict().items()}
    work.backbone = _built(work.source, work.task, work.labels, work.outputs, how)
    proof = transferred(work.backbone.module, state, work.head)
    if not proof.holds:
        raise ModelError(proof.what, where=work.source.name, rule="loaded-fraction-low")
    _once(work.kept.proofs, proof)


def transferred(
    module: nn.Module, encoder: dict[str, torch.Tensor], head: Collection[str]
) -> Proof:
    """Gives `module` the encoder's weights but for the head's, with the proof of how many."""
    parts = {n.rpartition(".")[0] for n in head}
    given = {n: t for n, t in encoder.items() if n.rpartition(".")[0] not in parts}
    device = next(module.parameters()).device
    _, proof = fill(module, {n: t.to(device) for n, t in given.items()}, new=parts)
    return replace(proof, name=TRANSFERRED, what=f"of the autoencoder: {proof.what}")


def _unlabelled(work: FinetuneRun) -> tuple[SplitPart, SplitPart]:
    if work.how.unlabelled is None:
        return work.training, work.validation
    from interop.data.folder import ClassFolder, Folder

    read = Samples.read(ClassFolder(Folder(work.how.unlabelled)), work.prepare, work.say)
    return samples.parted(read, 0.1 if work.how.share is None else work.how.share,
                          work.how.seed, by_class=False)  # fmt: skip
