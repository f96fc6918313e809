"""An artefact and its source -> the proofs that one computes what the other does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interop.errors import ConfigError, ModelError, first_line
from interop.export import artifacts, documents, introspect, wording
from interop.export.pipeline import SAMPLES, Progress
from interop.facts import (
    PROOFS,
    Answer,
    AxisDomain,
    Case,
    Identity,
    InputRole,
    Measurement,
    Proof,
    ProofName,
    Report,
    Skipped,
)
from interop.facts.sections.export import GraphDeparture, VerifySection
from interop.gate.bundle import sealed
from interop.identity.describe import describe
from interop.models.signature import BATCH, Signature, drawn
from interop.models.signature.types import DETECTIONS
from interop.proof import Feed, canary, parity, reference
from interop.proof.accounted import accounted
from interop.proof.domain import Outcome, SizeTrial, explore
from interop.proof.parity import Reference, is_float
from interop.proof.precision import drift
from interop.rules import run as run_rules
from interop.runtimes import TorchRuntime
from interop.runtimes.base import Array, Runtime
from interop.runtimes.pytorch import host, require_torch_device, tensors
from interop.verify import artefacts, explain, sources
from interop.verify.artefacts import Artefact
from interop.verify.interface import (
    INPUTS,
    OUTPUTS,
    Formula,
    Matched,
    fed_signature,
    formulas,
    pair_inputs,
    pair_outputs,
    ports_of,
    recognised,
    unprepared,
)
from interop.verify.metadata import interface
from interop.verify.options import DRIFT, FLIPS, VerifyOptions
from interop.verify.sources import Source

VERIFIED = (*PROOFS, ProofName.INTERFACE)
_REPLACED = 2.0  # of a weight's norm: by so much the canary changes one of a lower precision
_ROWS = 64  # samples on which a lower precision is measured
_LOOSE = 1e9  # where no budget bounds the drift


@dataclass(slots=True)
class Verification:
    """The proofs so far, and what was not proved."""

    artefact: Artefact
    identity: Identity
    options: VerifyOptions
    say: Progress
    proofs: list[Proof] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measurements: tuple[Measurement, ...] = ()
    domain: tuple[AxisDomain, ...] = ()
    departure: GraphDeparture | None = None
    source: Source | None = None
    maps: dict[str, str] = field(default_factory=dict)
    answered: tuple[Mapping[str, Array], tuple[Array, ...]] | None = None

    def skip(self, name: ProofName, why: str) -> None:
        self.skipped.append(Skipped(name, why))


def verify(
    path: str | Path, source: Identity, options: VerifyOptions, *, progress: Progress | None = None
) -> Report:
    """Proves the artefact at `path` against `source`, whose identity this is.

    Raises ReadError where the artefact cannot be read, ModelError where the source cannot be built
    or run or an output has no counterpart, ConfigError where inputs cannot be matched.

    The outcome is YES where all six proofs hold, NO where one does not, UNKNOWN where one could not
    be made (`skipped` says why).
    """
    require_torch_device(options.device)
    limits = options.limits()
    say = progress or (lambda step: None)
    say("reading the artefact")
    artefact = artefacts.opened(
        Path(path), device=options.device, trust=options.trust, runtime=options.runtime
    )
    run = Verification(artefact, source, options, say)
    if (files := sealed(str(path))) is not None:
        run.proofs.append(files)
    maps = formulas(options.map_input, "--map-input", INPUTS)
    opened = sources.opened(source, options, unprepared(artefact.ports, maps), say)
    run.source, run.identity = opened, opened.identity
    run.notes += opened.run.notes
    run.proofs.append(opened.loaded)
    if not all(p.holds for p in run.proofs):
        return _report(run, path)
    _prove(run, opened, limits)
    return _report(run, path)


def _prove(run: Verification, source: Source, limits: Mapping[str, float]) -> None:
    artefact = run.artefact
    run.say("accounting for the weights")
    weights = artefact.weights()
    same = accounted(weights, source.weights(), source.acting)
    if weights.unread and same.holds:
        names = ", ".join(weights.unread[:3])
        run.skip(ProofName.SAME_WEIGHTS, f"codes packed in a way that is not read here: {names}")
    else:
        run.proofs.append(same)
    matched, takes = _matched(run, source)
    samples = _samples(run, matched)
    feed = Feed(takes, samples, "seeded" if samples is None else "real")
    try:
        opened = artefact.open(takes)
    except ModelError as error:
        run.proofs.append(Proof(ProofName.STRUCTURE, False, error.what))
        return
    with opened as runtime:
        shapes = artefact.shapes(runtime)
        run.say("matching the outputs")
        given = _first(run, source, runtime, feed, shapes)
        run.proofs.append(artefact.structure(feed, source.width if not run.maps else None, runtime))
        if given is None:
            return
        forward = _with_outputs(run, source, matched, given, feed, shapes)
        said = interface(artefact.identity, source.identity, matched.signature, given, run.maps)
        run.proofs.append(said)
        if forward is None:
            return
        forward.signature = feed.signature
        _parity(run, source, forward, feed, runtime, limits)


def _matched(run: Verification, source: Source) -> tuple[Matched, Signature]:
    """The source as one function of the artefact's inputs, and what it takes."""
    options, takes = run.options, source.forward.signature
    ports = ports_of(run.artefact.identity.manifest.graph, ()) or run.artefact.ports
    ports = tuple(ports) or ports_of(None, takes.arguments)
    fed = pair_inputs(
        takes, ports, formulas(options.map_input, "--map-input", INPUTS), str(run.artefact.path)
    )
    signature = fed_signature(takes, ports, fed, described=bool(options.inputs))
    how = source.identity.image_preprocessing
    same = {n: Formula(n) for n in source.forward.outputs}
    matched = Matched(source.forward, signature, fed, same, how)
    matched.signature = sources.held(matched)
    run.maps |= {n: str(f) for n, f in fed.items() if f.steps or (f.of != n and len(fed) > 1)}
    return matched, matched.signature


def _samples(run: Verification, matched: Matched) -> Mapping[str, Array] | None:
    """Real inputs by the artefact's names; None where there are none or they need a formula."""
    data = artifacts.open_samples(run.options.data, run.identity)
    if data is None:
        return None
    given = artifacts.samples(data, run.identity, SAMPLES)
    if any(f.steps for f in matched.fed.values()):
        run.notes.append("--data is of the source's inputs, and the artefact takes others: seeded "
                         "inputs were used")  # fmt: skip
        return None
    if not isinstance(given, Mapping):
        given = {matched.source.signature.names[0]: given}
    names = {f.of: n for n, f in matched.fed.items()}
    return {n: given[names[n]] for n in matched.signature.names if names[n] in given} or None


def _first(
    run: Verification, source: Source, runtime: Runtime, feed: Feed, shapes: Any
) -> dict[str, Array] | None:
    """What the artefact gives for its first input; None where it fails on it, which is noted."""
    try:
        return run.artefact.answers(runtime, feed.one(shapes or None))
    except Exception as error:  # a runtime's own, of whatever class
        what = f"the artefact fails on an input that its source takes: {first_line(error, 240)}"
        run.proofs.append(Proof(ProofName.PARITY, False, what))
        return None


def _with_outputs(
    run: Verification, source: Source, matched: Matched, given: Mapping[str, Array], feed: Feed,
    shapes: Any,
) -> Matched | None:  # fmt: skip
    """The source with the artefact's outputs; None where they are something else than its own,
    which only a person can accept."""
    batch = feed.one(shapes or None)
    answers = dict(zip(source.forward.outputs, _answers(matched, batch), strict=True))
    texts = formulas(run.options.map_output, "--map-output", OUTPUTS)
    paired = pair_outputs(answers, given, texts, str(run.artefact.path))
    run.maps |= {n: str(f) for n, f in paired.items() if f.steps}
    unaccepted = []
    for name, formula in paired.items():
        known = (
            None if formula.steps or source.sets else recognised(answers[formula.of], given[name])
        )
        if known is not None:
            unaccepted.append(f"{name}={known}({formula.of})")
    if unaccepted:
        name, _, formula_text = unaccepted[0].partition("=")
        why = (
            f"the artefact gives {formula_text} where the source gives {paired[name].of}: a caller "
            "of one does not fit the other; "
            + " ".join(f"--map-output '{text}'" for text in unaccepted)
            + " accepts it, and proves it through that function"
        )
        run.skip(ProofName.PARITY, why)
        run.skip(ProofName.CANARY, "parity was not proved")
        return None
    if (how := _prepares(run, matched, batch, given, answers, paired)) is not None:
        why = (
            f"the artefact prepares its input itself: it answers as the source does to {how}; "
            f"--map-input '{matched.source.signature.names[0]}={how}' accepts it"
        )
        run.skip(ProofName.PARITY, why)
        run.skip(ProofName.CANARY, "parity was not proved")
        return None
    lacking = [n for n in answers if n not in {f.of for f in paired.values()}]
    if lacking:
        run.notes.append(f"of the source's outputs the artefact lacks {', '.join(lacking)}")
    if not any(f.steps for f in paired.values()):
        run.answered = batch, tuple(answers[f.of] for f in paired.values())
    return Matched(source.forward, matched.signature, matched.fed, paired, matched.how)


def _answers(matched: Matched, batch: Mapping[str, Array]) -> list[Array]:
    with torch.inference_mode():
        given = tensors(batch, introspect.dtype(matched))
        return [host(t).copy() for t in matched.answers(given).values()]


def _prepares(
    run: Verification, matched: Matched, batch: Mapping[str, Array], given: Mapping[str, Array],
    answers: Mapping[str, Array], paired: Mapping[str, Formula],
) -> str | None:  # fmt: skip
    """The formula by which the artefact normalises its input, where it does; None elsewhere."""
    how, names = matched.how, matched.signature.names
    first = next(iter(paired))
    if how is None or len(names) != 1 or matched.fed[matched.source.signature.names[0]].steps:
        return None
    answer = answers[paired[first].of]
    if answer.shape != given[first].shape or np.allclose(
        answer, given[first], rtol=1e-2, atol=1e-2
    ):
        return None
    for steps in (("normalize",), ("scale", "normalize"), ("scale",)):
        formula = Formula(names[0], steps)
        fed = {matched.source.signature.names[0]: formula}
        other = Matched(matched.source, matched.signature, fed, matched.given, how)
        name = paired[first].of
        theirs = dict(zip(matched.source.outputs, _answers(other, batch), strict=True))[name]
        scale = float(np.abs(theirs).max(initial=0)) or 1.0
        if (
            theirs.shape == given[first].shape
            and np.abs(theirs - given[first]).max() < 1e-3 * scale
        ):
            return str(formula)
    return None


# ---------------------------------------------------------------- parity and its canary


def _parity(
    run: Verification, source: Source, forward: Matched, feed: Feed, runtime: Runtime,
    limits: Mapping[str, float],
) -> None:  # fmt: skip
    artefact, device = run.artefact, run.options.device
    shapes = artefact.shapes(runtime)
    run.say("proving parity")
    held = reference(
        forward, feed, shapes=shapes or None, device=device, sets=source.sets,
        answered=run.answered,
    )  # fmt: skip
    lowered = bool(artefact.precision)
    if lowered:
        held = _budgeted(held, limits)
        if not _lowered(run, held, forward, feed, runtime, limits):
            return
    alike = parity(held, runtime)
    if lowered:
        alike = _within(run, alike, limits)
    if alike.holds and feed.signature.kind != DETECTIONS:
        alike = _over_the_domain(run, source, forward, feed, runtime, held, alike)
    run.proofs.append(alike)
    if alike.holds:
        run.say("trying the comparison itself")
        names = source.identity.head.tensors if source.identity.head else ()
        kept = held.without(alike.facts.get("by_their_own_float64", ()))
        changes = partial(canary, artefact.subject(feed.signature), kept, head=names, device=device)
        sharp = changes(share=_REPLACED) if lowered else changes()
        if lowered and not sharp.holds:
            tried = [sharp.facts[place] for place in ("input", "head") if place in sharp.facts]
            unseen = next((f["tensor"] for f in tried if not f["noticed"]), "a weight")
            what = f"{unseen} may be replaced by noise within these budgets: tighten --budget"
            sharp = replace(sharp, what=what)
        run.proofs.append(sharp)
        return
    run.skip(ProofName.CANARY, f"{ProofName.PARITY} does not hold")
    label, batch = _failing(feed, held, alike)
    run.say("looking for the first node that departs")
    run.departure, why = explain.departure(artefact, forward, batch, label, run.options.explain_out)
    if run.departure is not None:
        run.notes.append(f"where it departs: {run.departure.what}")
        if run.departure.folder:
            run.notes.append(f"{run.departure.folder} shows that alone: run its reproduce.py")
    if why:
        run.notes.append(why)


def _failing(feed: Feed, held: Reference, alike: Proof) -> tuple[str, Mapping[str, Array]]:
    """The input on which the artefact departs, and what it is called."""
    batches: dict[str, Any] = dict(zip(held.labels, held.batches, strict=True))
    label = wording.parting([alike])
    if label in batches:
        return label, batches[label]
    for trial in alike.facts.get("trials", ()):
        if trial["outcome"] in (Outcome.DIFFERS, Outcome.FAILS):
            sizes = trial["sizes"]
            return ", ".join(f"{axis} {n}" for axis, n in sizes.items()), feed.at(sizes)
    return next(iter(batches.items()))


def _over_the_domain(
    run: Verification, source: Source, forward: Matched, feed: Feed, runtime: Runtime,
    held: Reference, alike: Proof,
) -> Proof:  # fmt: skip
    """Parity at the other sizes that the artefact leaves open: where it answers otherwise than its
    source, or fails where that runs, it does not hold."""
    shapes = run.artefact.shapes(runtime)
    shapes = shapes or {a.name: tuple(a.axes) for a in feed.signature.arguments}
    run.say("tracing the source for its conditions on sizes")
    guards = source.guards(forward, feed)
    run.say("trying other sizes")
    explored = explore(
        held, forward, runtime, guards, shapes=shapes, thorough=guards is None,
        device=run.options.device,
    )  # fmt: skip
    run.domain = explored.axes({})
    facts = {
        **alike.facts,
        "trials": [wording.trial_facts(t) for t in explored.trials
                   if t.outcome is not Outcome.UNTRIED],
        "domain": [axis.json() for axis in run.domain],
    }  # fmt: skip
    wrong = [t for t in explored.trials if t.outcome in (Outcome.DIFFERS, Outcome.FAILS)]
    if wrong:
        return replace(alike, holds=False, what=_departs(wrong[0], run.domain), facts=facts)
    return replace(alike, what=f"{alike.what}{wording.elsewhere(explored.trials)}", facts=facts)


def _departs(trial: SizeTrial, domain: Sequence[AxisDomain]) -> str:
    off = trial.why or f"outputs {trial.relative:.1e} of the largest apart"
    what = f"at {wording.sizes(trial)}, which the artefact leaves open: {off}"
    if trial.allowed and not trial.why:
        what += f", where {trial.allowed:.1e} is the bound"
    return f"{what}; --input with numbers for those axes proves it at these alone"


def _budgeted(held: Reference, limits: Mapping[str, float]) -> Reference:
    """The reference with a budget's bound in place of float32's."""
    bound = limits.get(DRIFT, _LOOSE)
    bounds = tuple(
        tuple(bound if is_float(o) else b for o, b in zip(outputs, given, strict=True))
        for outputs, given in zip(held.native, held.bounds, strict=True)
    )
    return replace(held, bounds=bounds, eps=bound)


def _lowered(
    run: Verification, held: Reference, forward: Matched, feed: Feed, runtime: Runtime,
    limits: Mapping[str, float],
) -> bool:  # fmt: skip
    """Measures what a lower precision costs; False where no budget decides on it."""
    batches = list(held.batches)
    count = held.fixed_batch or (8 if feed.signature.batched else 1)
    if feed.real is None:
        sizes = {BATCH: count, **feed.signature.sizes}
        batches = [
            drawn(feed.signature, count, sizes, seed) for seed in range(max(_ROWS // count, 1))
        ]
    with TorchRuntime(forward) as native:
        pairs = [(native.outputs(b), runtime.outputs(b)) for b in batches]
    rows = sum(len(a[0]) if a[0].ndim else 1 for a, _ in pairs)
    conditions = {
        "group": "change of precision", "of": run.artefact.path.name, "samples": rows,
        "against": Path(run.identity.manifest.path).name, "on": f"{feed.samples} input",
    }  # fmt: skip
    ours, theirs = ([_by_row(side) for side in sides] for sides in zip(*pairs, strict=True))
    run.measurements = drift(ours, theirs, conditions)
    if limits:
        return True
    figures = {m.name: m.value for m in run.measurements}
    shown = f"drift {figures.get('largest output difference') or 0:.2g}"
    if figures.get("flipped share") is not None:
        shown += f", flips {figures['flipped share']:.2g}"
    why = (
        f"the artefact is of a lower precision ({run.artefact.precision}), which is never the "
        f"same; --budget drift=…,flips=… says what may be lost (measured on {rows} samples: "
        f"{shown})"
    )
    run.skip(ProofName.PARITY, why)
    run.skip(ProofName.CANARY, "parity was not judged")
    return False


def _by_row(outputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """The same, the scores of each place of a sequence as a row of their own."""
    first = outputs[0]
    return (first.reshape(-1, first.shape[-1]) if first.ndim == 3 else first, *outputs[1:])


def _within(run: Verification, alike: Proof, limits: Mapping[str, float]) -> Proof:
    """Parity of a lower precision: what was measured is within the budgets."""
    figures = {m.name: m.value for m in run.measurements}
    names = {DRIFT: "largest output difference", FLIPS: "flipped share"}
    said, over = [], []
    for name, limit in limits.items():
        value = figures.get(names[name])
        if value is None:
            what = f"{name} cannot be measured: the first output is no score of classes"
            raise ConfigError(what, where="--budget", fix="leave that budget away")
        said.append(f"{name} {value:.2g} ({limit:g} allowed)")
        if not value <= limit:
            over.append(said[-1])
    fault = [] if alike.holds else [alike.what]
    what = f"of a lower precision ({run.artefact.precision}): {', '.join(over or said)}"
    if over or fault:
        return replace(alike, holds=False, what="; ".join([what, *fault]))
    return replace(alike, what=what)


# ---------------------------------------------------------------- the report


def _report(run: Verification, path: str | Path) -> Report:
    bad = [p for p in run.proofs if not p.holds]
    made = {p.name for p in run.proofs} | {s.rule for s in run.skipped}
    for name in VERIFIED if bad else ():
        if name not in made:
            run.skip(name, f"{bad[0].name} does not hold")
    if bad:
        outcome, summary = Answer.NO, f"{path}: {bad[0].name} does not hold"
    elif run.skipped:
        outcome = Answer.UNKNOWN
        count = len({s.rule for s in run.skipped})
        summary = f"{path}: {len(run.proofs)} proofs hold, and {count} could not be made"
    else:
        outcome = Answer.YES
        count = len(run.proofs)
        summary = f"{path}: {count} of {count} proofs hold{run.identity.of_assumed}"
    artefact = describe(InputRole.ARTEFACT, run.artefact.identity)
    source = describe(InputRole.SOURCE, run.identity)
    assumed, graph = run.identity.assumptions, run.artefact.identity.manifest.graph
    order = [ProofName.FILES, *VERIFIED]
    return Report(
        command="verify",
        outcome=outcome,
        summary=summary,
        inputs=(artefact, source),
        findings=run_rules(
            Case(proofs=tuple(run.proofs), assumptions=assumed, measurements=run.measurements)
        )[0],
        measurements=run.measurements,
        proofs=tuple(sorted(run.proofs, key=lambda p: order.index(ProofName(p.name)))),
        skipped=tuple(run.skipped),
        environment=documents.environment() | {"device": run.options.device},
        details=VerifySection(
            runtime=run.options.runtime,
            domain=run.domain,
            notes=tuple(dict.fromkeys(run.notes)),
            opset=graph.opsets.get("") if graph is not None else None,
            precision=run.artefact.precision or None,
            maps=run.maps or None,
            departure=run.departure,
        ),
    )
