"""Candidate models and a labelled task -> how reusable each is, and which may stand in for which.

All candidates are probed on the same folds; what a frozen backbone makes of a sample is computed
once. A Pareto front is given rather than one score.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.assess import layers, parallel, probe_cv, provenance
from interop.assess import scores as untrained
from interop.assess.candidates import CandidateSpec, Seen, names_of, see_or_refuse
from interop.assess.complexity import complexity, latencies
from interop.assess.dataset import DataSpec, Labelled, labelled
from interop.assess.finetune_cv import Tuned, tune
from interop.assess.folds import Folds, folds
from interop.assess.interchange import compared, same, sentence
from interop.assess.options import AssessOptions
from interop.assess.pareto import front
from interop.check import check_identities
from interop.check.options import CheckOptions
from interop.cluster import DASK, RAY
from interop.data import preparation
from interop.errors import ConfigError
from interop.facts import (
    Answer,
    Basis,
    Case,
    Finding,
    Group,
    Input,
    Intent,
    Json,
    Measurement,
    Proof,
    ProofName,
    Report,
    Skipped,
    TaskName,
    Unit,
)
from interop.facts.sections.assess import (
    AssessedModel,
    AssessSection,
    FoldPlan,
    Interface,
    ReplacementRow,
    ScoreOrder,
)
from interop.facts.sections.bench import ClassTables
from interop.identity.describe import describe
from interop.imprint import decided, note
from interop.models.backbone import Features, PretrainedSource, bare, input_names
from interop.rules import run
from interop.runtimes.pytorch import require_torch_device
from interop.stats.intervals import share
from interop.sweep.store import expanded
from interop.tasks import task as task_of

Array = NDArray[Any]
Say = Callable[[str], None]
# Figures of the Pareto front, and whether more of each is better.
AXES: Mapping[str, int] = {"accuracy": 1, "latency": -1, "weight bytes": -1}
# The same model against itself may differ by this much before latencies decide nothing.
NOISE = 1.25


@dataclass(slots=True)
class Candidate:
    """One model under assessment, with all that is found out about it."""

    spec: CandidateSpec
    source: PretrainedSource
    seen: Seen
    costs: dict[str, float | None] = field(default_factory=dict)
    scores: dict[str, float | None] = field(default_factory=dict)
    trial: probe_cv.ProbeTrial | None = None
    tuned: Tuned | None = None
    layers: dict[str, Array] = field(default_factory=dict)
    taught: int | None = None  # of the samples, how many it was trained on; None where unknown

    @property
    def name(self) -> str:
        return self.spec.name


def assess(
    models: Sequence[str],
    data: str | Path,
    options: AssessOptions | None = None,
    *,
    progress: Say | None = None,
) -> Report:
    """Assess each model (whatever `models.backbone.find` takes, or a store of such models) on the
    labelled data set.

    Raises ConfigError, DataError, ModelError, ReadError and ExtraMissing.
    """
    options = options or AssessOptions()
    say = progress or (lambda _: None)
    if not models:
        raise ConfigError("no model was given", fix="assess takes one model or more")
    require_torch_device(options.device)
    _check(options)
    specs = _specs([one for given in models for one in expanded(given)], data, options)
    say("reading the models")
    specs = [_known(spec, data, options, say) for spec in specs]
    sources = [spec.source() for spec in specs]
    say("reading the data set")
    task = _task(sources[0], data, options)
    of = labelled(DataSpec(str(data), str(task), (), options.columns, options.split, options.group))
    candidates, refused = _parted(_seen(specs, sources, of, options, say))
    if not candidates:
        return Report(
            command="assess",
            outcome=Answer.NO,
            summary=f"loaded-fraction-low: {_left_out(refused[0])}; nothing was assessed",
            inputs=_inputs(refused, of),
            findings=tuple(map(_refusal, refused)),
            details=AssessSection(
                task=TaskName(of.spec.task),
                left_out=tuple(c.name for c in refused),
                notes=tuple(map(_left_out, refused)),
            ),
        )
    plan = None
    if of.truth is not None:
        plan = folds(of, options.folds, options.repeats, options.held, options.seed)
        _probed(candidates, of, plan, options, say)
    looked = _looked_into(candidates, of, options, say)
    return _report(candidates, of, plan, options, looked, refused)


def _specs(models: Sequence[str], data: str | Path, options: AssessOptions) -> list[CandidateSpec]:
    names = names_of(models)
    for name in (*options.factories, *options.features):
        if name and name not in names:
            what = f"{name!r} is none of the models"
            raise ConfigError(what, fix=f"they are called {', '.join(names)}")

    how = options.measurable(data).stated

    def own(given: Mapping[str, str], name: str) -> str | None:
        return given.get(name, given.get(""))

    return [
        CandidateSpec(
            n, m, options.arch, own(options.factories, n), own(options.features, n) or "",
            options.labels, how, options.seed, options.strict,
        )
        for n, m in zip(names, models, strict=True)
    ]  # fmt: skip


def _known(
    spec: CandidateSpec, data: str | Path, options: AssessOptions, say: Say
) -> CandidateSpec:
    """A candidate with its weights; its preparation is measured by itself if that is asked for."""
    source = spec.source()
    if not options.measures:
        return replace(spec, known=source)
    if source.random:
        what = "weights drawn at random remember no inputs"
        raise ConfigError(what, where=spec.given, fix="state the preparation with --preprocess")
    say(f"{spec.name}: measuring how its inputs are prepared")
    identity = decided(
        source.identity, data, factory=spec.factory, task=options.task, columns=options.columns,
        split=options.split, say=say,
    )  # fmt: skip
    source = replace(source, identity=identity)
    return replace(spec, known=source, preprocessing=identity.preprocessing)


def _task(source: PretrainedSource, data: str | Path, options: AssessOptions) -> str:
    if options.task is not None:
        return options.task
    from interop.finetune.options import FinetuneOptions
    from interop.finetune.targets import task_name

    how = FinetuneOptions(columns=options.columns, split=options.split, labels=options.labels)
    return task_name(source, data, how)


def _check(options: AssessOptions) -> None:
    if not 0 < options.margin < 0.5:
        raise ConfigError(f"a margin of {options.margin}", where="--margin", fix="0.01 is a point")
    if options.weights and not sum(options.weights.values()) > 0:
        raise ConfigError("the weights of the score come to nothing", where="assess",
                          fix="give one that is above 0")  # fmt: skip
    for name in options.weights:
        if name not in AXES:
            raise ConfigError(
                f"{name!r} is no figure of the score", where="assess",
                fix=f"there is {', '.join(AXES)}",
            )  # fmt: skip


def pool(options: AssessOptions) -> parallel.Pool:
    """Where the work is done."""
    return parallel.Pool(options.backend, options.jobs, options.scheduler)


def _folder(options: AssessOptions, kind: str) -> Path | None:
    return options.cache / "assess" / kind if options.cache is not None else None


# ---------------------------------------------------------------- finding out


def _seen(
    specs: Sequence[CandidateSpec],
    sources: Sequence[PretrainedSource],
    of: Labelled,
    options: AssessOptions,
    say: Say,
) -> list[Candidate]:
    """Features and own answers of each, one candidate a piece of work."""
    folder = _folder(options, "features")
    candidates = []
    jobs = options.jobs if options.backend != "threading" else 1
    threads = options.threads
    if jobs > 1 and threads is None:
        threads = max((os.cpu_count() or 1) // jobs, 1)
    many = (len(specs) > 1 and jobs > 1) or options.backend in (DASK, RAY)
    seen: list[Seen]
    if many:
        given = of.spec.closed(), folder, options.device, threads
        pieces = [parallel.Piece(see_arrays, (spec, *given)) for spec in specs]
        results = parallel.done(pieces, pool(options), None, "features", say)
        seen = [Seen.from_arrays(r) for r in results]
    else:
        seen = []
        for spec in specs:
            say(f"{spec.name}: features of {len(of.names)} samples")
            seen.append(see_or_refuse(spec, of.spec, folder, options.device, options.threads))
    for spec, source, one in zip(specs, sources, seen, strict=True):
        taught = 0 if source.random else provenance.trained_on(source.identity, of.hashes)
        candidates.append(Candidate(spec, source, one, taught=taught))
    # The same weights twice in one run: what the first computed was not computed before it.
    first: set[str] = set()
    for c in candidates:
        key = c.source.sha256 or c.name
        c.seen.cached = c.seen.cached and key not in first
        first |= set() if c.seen.cached else {key}
    return candidates


def see_arrays(*given: Any) -> parallel.Result:
    """`see_or_refuse`, its result as arrays by name, which go between processes."""
    return see_or_refuse(*given).as_arrays()


def _probed(
    candidates: Sequence[Candidate], of: Labelled, plan: Folds, options: AssessOptions, say: Say
) -> None:
    assert of.truth is not None
    trials = probe_cv.run(
        [(c.name, c.seen) for c in candidates], of, plan, pool(options), _folder(options, "probes"),
        options.seed, say, options.samples,
    )  # fmt: skip
    classes = len(of.labels) if of.classifies else 0
    for candidate, one in zip(candidates, trials, strict=True):
        candidate.trial = one
        say(f"{candidate.name}: scores without training")
        candidate.scores = untrained.scores(
            candidate.seen, of.truth, classes, plan.rest, options.seed
        )
    if options.tuning is not None:
        tuned = tune(
            [c.spec for c in candidates], of, plan, options.tuning, options.device, pool(options),
            _folder(options, "tuned"), say,
        )  # fmt: skip
        for candidate, outcome in zip(candidates, tuned, strict=True):
            candidate.tuned = outcome


@dataclass(slots=True)
class _Looked:
    """What comes of the modules themselves: latency by name and by pair, notes."""

    latency: dict[str, Measurement] = field(default_factory=dict)
    ratios: dict[tuple[str, str], Measurement] = field(default_factory=dict)
    noisy: bool = False
    notes: list[str] = field(default_factory=list)


def _looked_into(
    candidates: Sequence[Candidate], of: Labelled, options: AssessOptions, say: Say
) -> _Looked:
    """Costs and layers; the modules are made once more, all of them at a time for the latency.

    Weights drawn at random are no part of that: what they give falls towards zero from layer to
    layer, and numbers that near to it slow a processor down many times.
    """
    data = of.spec.open()
    records = data.spread(layers.SAMPLES)
    ready: list[tuple[str, Features, Mapping[str, Array]]] = []
    looked = _Looked()
    for candidate in candidates:
        say(f"{candidate.name}: costs")
        features = bare(
            candidate.source, factory=candidate.spec.factory, at=candidate.spec.features,
            seed=candidate.spec.seed,
        )  # fmt: skip
        names = input_names(candidate.source, features)
        prepare = preparation(candidate.source.identity, of.spec.task, names, kind=of.kind)
        one = dict(prepare(records[:1]).inputs)
        one = {n: a[:1] for n, a in one.items()}
        candidate.costs = complexity(features, one)
        paths = layers.chosen(features, one)
        parts: dict[str, list[Array]] = {}
        size = prepare.most or 32
        for start in range(0, len(records), size):
            given = prepare(records[start : start + size])
            for path, array in features.layers(given.inputs, paths).items():
                parts.setdefault(path, []).append(array[: len(given.rows)])
        candidate.layers = {
            path: np.concatenate(arrays)
            for path, arrays in parts.items()
            if len({a.shape[1] for a in arrays}) == 1  # else it is as long as the sound
        }
        if not candidate.source.random or all(c.source.random for c in candidates):
            ready.append((candidate.name, features, one))
    if options.seconds > 0:
        for _, features, _ in ready:
            features.module.to(options.device)
        looked.latency, looked.ratios = latencies(
            ready, options.seconds, options.threads, options.device,
            lambda n: say(f"latency: round {n}"),
        )  # fmt: skip
        noise = looked.ratios.pop(("", ""))
        assert noise.interval is not None
        looked.noisy = noise.interval[1] > NOISE or noise.interval[0] < 1 / NOISE
        if looked.noisy:
            looked.notes.append(
                "the host was too noisy to order latencies: the same model differed from itself by "
                f"a ratio of {noise.interval[0]:.2g} to {noise.interval[1]:.2g}; no ratio of two "
                "models is told"
            )
    return looked


# ---------------------------------------------------------------- telling


def _report(
    candidates: Sequence[Candidate],
    of: Labelled,
    plan: Folds | None,
    options: AssessOptions,
    looked: _Looked,
    refused: Sequence[Candidate],
) -> Report:
    measured: list[Measurement] = []
    for candidate in candidates:
        measured += _own(candidate, of)
        if candidate.trial is not None and plan is not None:
            measured += probe_cv.measurements(candidate.trial, of, plan)
        if candidate.tuned is not None:
            measured += candidate.tuned.measurements(candidate.name)
        measured += _costs(candidate, looked)
        measured += [
            Measurement(
                n, Unit.ABS, v, conditions={"group": Group.TRANSFERABILITY, "of": candidate.name}
            )
            for n, v in candidate.scores.items()
        ]
    measured += _reference(candidates)
    outcomes = _outcomes(candidates)
    order, against = _order(candidates, outcomes)
    measured += order
    ranked = sorted(candidates, key=lambda c: -outcomes.get(c.name, float("-inf")))
    points = {c.name: _point(c, outcomes, looked) for c in candidates}
    on_front = _front(candidates, points)
    # A control has no latency, and is no choice: the others are scored among themselves.
    scored = {c.name: points[c.name] for c in candidates if not c.source.random} or points
    pairs, skipped = _pairs(candidates, of, options, looked)
    section = AssessSection(
        task=TaskName(of.spec.task),
        candidates=tuple(
            AssessedModel(
                name=c.name,
                model=c.spec.given,
                features=c.seen.about.get("features", ""),
                prepared=c.seen.about.get("prepared", {}),
                random=c.source.random,
                trained_on=c.taught,
                cached=c.seen.cached,
                training={} if c.source.random else provenance.training(c.source.identity),
                front=c.name in on_front,
                figures=points[c.name],
                score=None if c.source.random and len(scored) < len(candidates) else (
                    _score(c.name, scored, options.weights)
                ),
            )
            for c in ranked
        ),
        folds=None if plan is None else FoldPlan(
            folds=options.folds, repeats=options.repeats, how=plan.how,
            held_back=len(plan.held), rows=len(plan.rest), grouped_by=of.grouped_by,
        ),
        labels=tuple(of.labels),
        confusion=_confusions(ranked, of),
        curves=tuple(x for c in candidates if c.tuned is not None for x in c.tuned.curves(c.name)),
        order=ScoreOrder(against),
        interchange=pairs,
        margin=options.margin,
        weights=dict(options.weights),
        left_out=tuple(c.name for c in refused),
        notes=(
            *map(_left_out, refused),
            *(f"{f.place}: {f.what}" for f in _assumed(candidates)),
            *_warnings(candidates, of),
            *looked.notes,
            *(f"{c.name}: {words}" for c in candidates for words in note(c.source.identity)),
        ),
    )  # fmt: skip
    return Report(
        command="assess",
        outcome=Answer.NO if refused else Answer.YES,
        summary=_summary(ranked, outcomes, pairs, refused),
        inputs=_inputs([*candidates, *refused], of),
        findings=(*map(_refusal, refused), *_assumed(candidates)),
        measurements=tuple(measured),
        skipped=skipped,
        environment={"device": options.device, "backend": options.backend,
                     "jobs": options.jobs, "seed": options.seed},
        details=section,
    )  # fmt: skip


def _assumed(candidates: Sequence[Candidate]) -> tuple[Finding, ...]:
    """What no file states of the candidates and was taken for granted."""
    assumptions = (a for c in candidates for a in c.source.identity.assumptions)
    return run(Case(assumptions=tuple(assumptions)))[0]


def _inputs(candidates: Sequence[Candidate], of: Labelled) -> tuple[Input, ...]:
    data = Input("data", of.spec.path, f"{len(of.names)} {of.kind}", dict(of.about))
    return (*(_described(c) for c in candidates), data)


def _parted(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those that can be judged, and those whose weights do not fill their backbone."""
    refused = [c for c in candidates if "refused" in c.seen.about]
    return [c for c in candidates if c not in refused], refused


def _left_out(candidate: Candidate) -> str:
    source = candidate.source
    return (
        f"{candidate.name} is left out, since its weights do not fit {source.library}/"
        f"{source.arch}: {candidate.seen.about['refused']}"
    )


def _refusal(candidate: Candidate) -> Finding:
    proof = Proof(ProofName.LOADED_FRACTION, False, str(candidate.seen.about["refused"]))
    findings, _ = run(Case(b=candidate.source.identity, proofs=(proof,)))
    one = next(f for f in findings if f.rule == "loaded-fraction-low")
    return replace(one, what=f"{candidate.name}: {one.what}")


def _warnings(candidates: Sequence[Candidate], of: Labelled) -> list[str]:
    """What a reader must know before a figure is believed."""
    warnings = [
        f"{c.name} was trained on {c.taught} of these {len(of.names)} samples: its figures here "
        "are too good"
        for c in candidates
        if c.taught
    ]
    unread = ((c.name, c.seen.about.get("unread")) for c in candidates)
    warnings += [f"{name}: {note}" for name, note in unread if note]
    for c in candidates:
        how = c.source.identity.image_preprocessing
        if of.kind == "pictures" and how is not None and "published weights" in how.source:
            warnings.append(
                f"{c.name}: no file says how its pictures are prepared; they are as for "
                f"{how.source} ({'x'.join(map(str, how.resize))}); --preprocess says otherwise"
            )
        features = c.seen.features
        if features is not None and len(features) > 1 and not np.ptp(features, axis=0).any():
            warnings.append(
                f"{c.name} gives the same features to all samples: nothing of them counts"
            )
    return warnings


def _described(candidate: Candidate) -> Input:
    if candidate.source.random:
        facts: dict[str, Json] = {"random": True, "seed": candidate.spec.seed}
        name = f"{candidate.source.library}/{candidate.source.arch}"
        return Input(
            candidate.name, candidate.spec.given, f"{name}  weights drawn at random", facts
        )
    return describe(candidate.name, candidate.source.identity)


def _own_answers(candidate: Candidate, of: Labelled) -> tuple[Array, Array] | None:
    """What the model's own head answers, and whether that is right; None where it is not a head
    for this task."""
    if candidate.seen.answers is not None:
        answers = np.array(candidate.seen.answers, dtype=object)
        keys = [" ".join(t.casefold().split()) for t in of.truths]
        return answers, answers == np.array(keys, dtype=object)
    names = candidate.source.identity.labels.names
    outputs = candidate.seen.outputs
    if outputs is None or names is None or not of.classifies or set(names) != set(of.labels):
        return None
    if outputs.shape != (len(of.names), len(names)) or of.truth is None:
        return None
    place = np.array([of.labels.index(n) for n in names])
    answers = place[outputs.argmax(axis=1)]
    return answers, answers == of.truth


def _own(candidate: Candidate, of: Labelled) -> list[Measurement]:
    answered = _own_answers(candidate, of)
    if answered is None:
        return []
    conditions = {"group": Group.AS_IT_IS, "of": candidate.name, "samples": len(of.names)}
    name = "accuracy" if of.classifies else "exact match"
    measurements = [share(name, answered[1].astype(bool), conditions)]
    if of.spec.task == TaskName.SPEECH_RECOGNITION:
        from interop.tasks.speech import Said

        assert candidate.seen.answers is not None
        answers = [Said(a, None) for a in candidate.seen.answers]
        measurements += [
            Measurement(s.name, s.unit, s.value, s.interval, conditions=conditions)
            for s in task_of(of.spec.task).scores(answers, list(of.truths))
            if s.name != "exact match"
        ]
    return measurements


def _costs(candidate: Candidate, looked: _Looked) -> list[Measurement]:
    conditions: dict[str, Json] = {"group": Group.COST, "of": candidate.name}
    units = {"weights": Unit.COUNT, "weight bytes": Unit.BYTES, "activation bytes": Unit.BYTES,
             "FLOPs": Unit.COUNT}  # fmt: skip
    costs = [Measurement(n, units[n], v, conditions=conditions) for n, v in candidate.costs.items()]
    seconds = 1000 * candidate.seen.seconds
    of = {**conditions, "cached": candidate.seen.cached}
    costs.append(Measurement("features, processor time", Unit.MS, seconds, conditions=of))
    if (device := candidate.seen.about.get("device_seconds")) is not None:
        costs.append(Measurement("features, device time", Unit.MS, 1000 * device, conditions=of))
    if candidate.trial is not None:
        value = 1000 * candidate.trial.seconds
        costs.append(Measurement("probes, processor time", Unit.MS, value, conditions=conditions))
    if (latency := looked.latency.get(candidate.name)) is not None:
        costs.append(replace(latency, conditions={**latency.conditions, **conditions}))
    return costs


def _outcomes(candidates: Sequence[Candidate]) -> dict[str, float]:
    """What each candidate came to: fine-tuned where that was done, else probed."""
    outcomes = {}
    for c in candidates:
        if c.tuned is not None:
            outcomes[c.name] = c.tuned.outcome
        elif c.trial is not None:
            outcomes[c.name] = float(np.mean(next(iter(c.trial.figures.values()))))
    return outcomes


def _reference(candidates: Sequence[Candidate]) -> list[Measurement]:
    """How alike each candidate's features are to the first one's, by debiased linear CKA."""
    first = candidates[0]
    similarities = []
    for c in candidates[1:]:
        if first.seen.features is None or c.seen.features is None:
            continue
        rows = np.linspace(0, len(c.seen.features) - 1, min(len(c.seen.features), 2000)).astype(int)
        value = layers.cka(first.seen.features[rows], c.seen.features[rows])
        conditions = {"group": Group.SIMILARITY, "of": c.name, "to": first.name}
        similarities.append(Measurement("linear CKA", Unit.ABS, value, conditions=conditions))
    return similarities


def _order(
    candidates: Sequence[Candidate], outcomes: Mapping[str, float]
) -> tuple[list[Measurement], str]:
    tuned = all(c.tuned is not None for c in candidates)
    trial = candidates[0].trial
    first = next(iter(trial.figures)) if trial is not None else "accuracy"
    against = f"fine-tuned {candidates[0].tuned.name}" if tuned and candidates[0].tuned else (
        f"{first} of the probes"
    )  # fmt: skip
    if len(outcomes) < 2 or len(outcomes) < len(candidates):
        return [], against
    scored = {c.name: dict(c.scores) for c in candidates}
    if tuned:
        for c in candidates:
            assert c.trial is not None
            scored[c.name]["linear probe"] = float(np.mean(next(iter(c.trial.figures.values()))))
    taus = untrained.held_to(scored, outcomes, [c.name for c in candidates])
    conditions = {"group": Group.ORDER, "against": against, "models": len(candidates)}
    return [
        Measurement("weighted Kendall's tau", Unit.ABS, v, conditions={**conditions, "of": n})
        for n, v in taus.items()
    ], against


def _point(
    candidate: Candidate, outcomes: Mapping[str, float], looked: _Looked
) -> dict[str, float | None]:
    fast = None if looked.noisy else looked.latency.get(candidate.name)
    return {
        "accuracy": outcomes.get(candidate.name),
        "latency": None if fast is None else fast.value,
        "weight bytes": candidate.costs.get("weight bytes"),
    }


def _front(
    candidates: Sequence[Candidate], points: Mapping[str, Mapping[str, float | None]]
) -> set[str]:
    """Names on the Pareto front. A control is not among them, unless there is nothing else."""
    real = [c.name for c in candidates if not c.source.random] or [c.name for c in candidates]
    return {n for n, best in zip(real, front([points[n] for n in real], AXES), strict=True) if best}


def _score(
    name: str, points: Mapping[str, Mapping[str, float | None]], weights: Mapping[str, float]
) -> float | None:
    """The weighted mean of a candidate's figures, each 0 for the worst candidate and 1 for the
    best; None where no weights were given, or a figure is not known."""
    total = sum(weights.values())
    if not total:
        return None
    weighted = 0.0
    for axis, weight in weights.items():
        values = [p[axis] for p in points.values()]
        own = points[name][axis]
        known = [v for v in values if v is not None]
        if own is None or len(known) < len(values):
            return None
        low, high = min(known), max(known)
        place = (own - low) / (high - low) if high > low else 1.0
        weighted += weight * (place if AXES[axis] > 0 or high == low else 1 - place)
    return weighted / total


# ---------------------------------------------------------------- which for which


def _pairs(
    candidates: Sequence[Candidate], of: Labelled, options: AssessOptions, looked: _Looked
) -> tuple[tuple[ReplacementRow, ...], tuple[Skipped, ...]]:
    """Every candidate in every other's place."""
    if not of.classifies and of.spec.task != TaskName.SPEECH_RECOGNITION:
        return (), (Skipped("interchange", "answers that are numbers are never the same"),)
    alike = {
        (a.name, b.name): layers.alike(a.layers, b.layers)
        for a, b in combinations(candidates, 2)
        if a.layers and b.layers
    }
    replacements: list[ReplacementRow] = []
    for a, b in permutations(candidates, 2):
        answered = _both(a, b, of)
        if answered is None:
            continue
        basis, ours, theirs, right_a, right_b = answered
        if a.source.sha256 is not None and a.source.sha256 == b.source.sha256:
            pair = same(a.name, b.name, len(ours), right_a)
        else:
            pair = compared(
                a.name, b.name, basis, ours, theirs, right_a, right_b, options.margin,
                (a.taught or 0, b.taught or 0),
            )  # fmt: skip
        interface, callers = _interface(a, b)
        ratio = None if looked.noisy else looked.ratios.get((a.name, b.name))
        known = None
        if ratio is not None and ratio.value is not None and ratio.interval is not None:
            known = (ratio.value, ratio.interval)
        cka, turned = alike.get((a.name, b.name)), alike.get((b.name, a.name))
        replacements.append(
            ReplacementRow(
                a=pair.a,
                b=pair.b,
                basis=pair.basis,
                samples=pair.count,
                agreement=pair.agreement,
                kappa=pair.kappa,
                negative_flips=pair.lost,
                positive_flips=pair.won,
                change=pair.change,
                interval=pair.interval,
                equivalence_p=pair.equivalent,
                not_worse_p=pair.not_worse,
                mcnemar_p=pair.differs,
                stands_in=pair.stands_in,
                interface=interface,
                latency_ratio=None if known is None else known[0],
                latency_interval=None if known is None else known[1],
                cka=cka or (turned and turned.turned),
                sentence=sentence(pair, options.margin, callers, known),
            )
        )
    return tuple(replacements), ()


def _both(
    a: Candidate, b: Candidate, of: Labelled
) -> tuple[Basis, Array, Array, Array, Array] | None:
    """Answers of both on the same footing: by their own heads where both have one, else as they
    were fine-tuned or probed, each on rows that it was not trained on."""
    own_a, own_b = _own_answers(a, of), _own_answers(b, of)
    if own_a is not None and own_b is not None:
        return Basis.OWN, own_a[0], own_b[0], own_a[1].astype(bool), own_b[1].astype(bool)
    if of.truth is None:
        return None
    basis = Basis.PROBE
    if a.tuned is not None and b.tuned is not None and a.tuned.answers is not None:
        assert b.tuned.answers is not None
        basis, ours, theirs = Basis.TUNED, a.tuned.answers, b.tuned.answers
    elif a.trial is not None and b.trial is not None:
        ours, theirs = a.trial.answers[0], b.trial.answers[0]
    else:
        return None
    there = (ours >= 0) & (theirs >= 0)
    ours, theirs, truth = ours[there], theirs[there], of.truth[there]
    return basis, ours, theirs, ours == truth, theirs == truth


def _interface(a: Candidate, b: Candidate) -> tuple[Interface, str]:
    """What `check` says of the interface, as facts and in a few words."""
    if a.source.random or b.source.random:
        return Interface(Answer.UNKNOWN, "weights drawn at random"), ""
    options = CheckOptions(intent=Intent.REPLACE)
    report = check_identities(a.source.identity, b.source.identity, options)
    verdict = next(v for v in report.verdicts if v.intent is Intent.REPLACE)
    words = {
        Answer.YES: "callers unchanged",
        Answer.NO: f"callers would have to change: {verdict.why}",
    }.get(verdict.answer, f"callers: {verdict.why}")
    return Interface(verdict.answer, verdict.why), words


def _confusions(ranked: Sequence[Candidate], of: Labelled) -> tuple[ClassTables, ...]:
    """Of each candidate's probes, on rows that they were not trained on; rows the truth."""
    if not of.classifies or of.truth is None or len(of.labels) > 100:
        return ()
    tables: list[ClassTables] = []
    for c in ranked:
        if c.trial is None:
            continue
        answers = c.trial.answers[0]
        there = answers >= 0
        counts = np.zeros((len(of.labels), len(of.labels)), dtype=np.int64)
        np.add.at(counts, (of.truth[there], answers[there]), 1)
        rows = tuple(map(tuple, counts.tolist()))
        tables.append(ClassTables(of=c.name, labels=tuple(of.labels), confusion=rows))
    return tuple(tables)


def _summary(
    ranked: Sequence[Candidate],
    outcomes: Mapping[str, float],
    pairs: Sequence[ReplacementRow],
    refused: Sequence[Candidate],
) -> str:
    best = ranked[0]
    stands = [p for p in pairs if p.stands_in is Answer.YES]
    sentence = f"{len(ranked)} model{'s' if len(ranked) > 1 else ''}"
    if best.name in outcomes:
        sentence += f", best {best.name} ({_said(best, outcomes[best.name])})"
    left = f"; left out: {', '.join(c.name for c in refused)}" if refused else ""
    return f"{sentence}; {len(stands)} of {len(pairs)} replacements hold{left}"


def _said(best: Candidate, value: float) -> str:
    """A candidate's outcome in its own unit."""
    if best.tuned is not None and best.tuned.better < 0:
        return f"{best.tuned.name} {-value:.4g}"
    if best.tuned is None and best.trial is not None and "R2" in best.trial.figures:
        return f"R2 {value:.3f}"
    return f"{100 * value:.1f} %"
