"""One function a command: paths and an options record in, a Report out.

What the command line does beyond it is parse and print. Functions that run models need the torch
side; the packages are imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from interop.check import InspectOptions, check
from interop.check import inspect as inspect_identities
from interop.errors import ConfigError, need_torch_side
from interop.facts import EvidenceGap, GapKind, Identity, Report, TaskName
from interop.identity import (
    choose_state_dict,
    identify,
    identify_file,
    places_of,
    split_place,
    with_runner_up,
)
from interop.identity import with_values as read_values
from interop.identity.user_facts import UserFacts
from interop.records import replace

if TYPE_CHECKING:
    from interop.assess import AssessOptions
    from interop.bench import BenchOptions
    from interop.export import ExportOptions
    from interop.export.pipeline import Samples
    from interop.finetune import FinetuneOptions
    from interop.gate import GateOptions
    from interop.gate.candidate import ModelPath
    from interop.policy.policy import Policy
    from interop.port import PortOptions
    from interop.sweep import SweepOptions
    from interop.verify import VerifyOptions

__all__ = [
    "assess", "bench", "check", "compare", "doctor", "export", "finetune", "first_policy", "gate",
    "gate_all", "inspect", "inspect_all", "port", "restore", "verify",
]  # fmt: skip

# Budgets for which bench has to take time, or a process of its own.
_TIMED = ("latency-ratio", "p99-ratio", "throughput-ratio")
_P99_SECONDS = 20.0  # a 99th percentile is bounded by some 450 runs or more
_REMEMBERED = 16  # state dicts of one file whose first layers are read
Progress = Callable[[str], None]


def inspect(
    file: str | Path, options: InspectOptions | None = None, *, progress: Progress | None = None
) -> Report:
    """What a model file is: all of its state dicts, or the one that "FILE#PLACE" names.

    With `options.data` it says how the model was fed, too. Raises ReadError; with data also
    DataError and ModelError.
    """
    from interop.identity.imprint import with_imprint
    from interop.reading import read

    options = options or InspectOptions()
    path, place = split_place(str(file))
    with _fetching(progress):
        hashed = options.data is not None
        manifest = read(path, whole=options.values or hashed, content_hash=hashed)
    arch, labels, how = options.arch, options.labels, options.stated
    identified = partial(identify, manifest, arch=arch, labels=labels, preprocessing=how)
    places = [place] if place is not None else places_of(manifest)
    seen = [with_runner_up(identified(place=p)) for p in places]
    seen = [*map(with_imprint, seen[:_REMEMBERED]), *seen[_REMEMBERED:]]
    if options.values:
        seen = [read_values(i) for i in seen]
    if options.factory is not None:
        need_torch_side("inspect --model")
        from interop.models.user_code import name_by_factory

        seen = [name_by_factory(i, options.factory) for i in seen]
    fed = None
    if options.data is not None:
        need_torch_side("inspect --data")
        from interop.imprint import measure

        if len(seen) > 1:
            choose_state_dict(manifest, None)  # names those that there are
        fed = measure(
            seen[0], options.data, factory=options.factory, arch=options.arch,
            say=progress or (lambda _: None),
        )  # fmt: skip
    return inspect_identities(seen, tensors=options.tensors, fed=fed)


def inspect_all(
    store: str | Path,
    options: InspectOptions | None = None,
    sweep: SweepOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Report:
    """Read the header of every model of a store, and write a row for each to `sweep.out`.

    A store is a folder, a prefix (s3://bucket/prefix) or a list of addresses (a .txt file, or "-").
    Raises ConfigError and ReadError, as `interop.sweep.sweep` does.
    """
    from interop.sweep import sweep as sweep_store

    return sweep_store(str(store), options, sweep, progress=progress)


def export(
    checkpoint: str | Path,
    out: str | Path | None = None,
    options: ExportOptions | None = None,
    *,
    progress: Progress | None = None,
    log: Progress | None = None,
) -> Report:
    """Writes a bundle of the checkpoint, or nothing where a proof fails.

    `out` is the bundle's folder: without it, the checkpoint's name without its ending, here. `log`
    is told what code of the file runs, if `options.trust` lets it. Raises ReadError, and what
    `interop.export.export` raises.
    """
    need_torch_side("export")
    from interop.export import ExportOptions

    options = options or ExportOptions()
    identity = _identified(checkpoint, options.measurable(options.data), progress)
    return _exported(identity, out or _named_after(checkpoint), options, progress, log)


def export_all(
    checkpoints: Sequence[str | Path],
    folder: str | Path,
    options: ExportOptions | None = None,
    *,
    progress: Progress | None = None,
    log: Progress | None = None,
) -> Report:
    """Writes a bundle of each checkpoint into `folder`, under the name that it has by itself.

    All are read before the first is built: what cannot be read raises ReadError, and two of one
    name ConfigError, with nothing written. After that one that fails keeps no other from its
    bundle.
    """
    need_torch_side("export")
    from interop.export import ExportOptions
    from interop.export.bundle import check_target
    from interop.export.several import several

    options = options or ExportOptions()
    folders: dict[str, Path] = {}
    for path in dict.fromkeys(map(str, checkpoints)):
        own = Path(folder) / _named_after(path).name
        if own in folders.values():
            what = f"{own} would be the bundle of two checkpoints"
            raise ConfigError(what, where=path, fix="export one of them by itself")
        check_target(own, options.force)
        folders[path] = own
    facts = options.measurable(options.data)
    identities = {path: _identified(path, facts, progress) for path in folders}

    def one(path: str, out: Path) -> Report:
        def say(step: str) -> None:
            if progress is not None:
                progress(f"{path}: {step}")

        return _exported(identities[path], out, options, say, log)

    return several(folders, one)


def _exported(
    identity: Identity,
    out: str | Path,
    options: ExportOptions,
    progress: Progress | None,
    log: Progress | None,
) -> Report:
    from interop.export import export as export_identity
    from interop.imprint import decided

    _announce(identity, options.trust, log)
    identity = decided(
        identity, options.data, prepare=options.measures, architecture=True,
        factory=options.factory, head=options.head, arch=options.arch, trust=options.trust,
        say=progress,
    )  # fmt: skip
    return export_identity(identity, out, options, progress=progress)


def restore(
    graph: str | Path,
    out: str | Path | None = None,
    options: ExportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Report:
    """Recovers the state dict of an ONNX graph of a known architecture as safetensors, proved."""
    need_torch_side("export")
    from interop.export import ExportOptions
    from interop.export.from_onnx.restore import restore_file

    options = options or ExportOptions()
    return restore_file(
        _identified(graph, options, progress),
        out or Path(f"{_named_after(graph)}.safetensors"),
        arch=options.arch,
        factory=options.factory,
        force=options.force,
    )


def verify(
    artefact: str | Path,
    options: VerifyOptions | ExportOptions | None = None,
    *,
    progress: Progress | None = None,
    log: Progress | None = None,
) -> Report:
    """Proves an artefact against `options.against`; a bundle, without it, against its receipt.
    An export's options do for a bundle.

    `log` is told what code of the source runs, if `options.trust` lets it. Raises ConfigError where
    there is no source, and what `interop.verify.verify` raises.
    """
    need_torch_side("verify")
    from interop.imprint import decided
    from interop.verify import VerifyOptions
    from interop.verify import verify as verify_against
    from interop.verify.bundle import is_bundle
    from interop.verify.bundle import verify as verify_bundle

    options = options or VerifyOptions()
    if not isinstance(options, VerifyOptions) or options.against is None:
        if not is_bundle(artefact):
            what = "brings no source with it, as a bundle of interop export does"
            fix = "say what it is of with --against SOURCE (a checkpoint, a folder, another graph)"
            raise ConfigError(what, where=str(artefact), fix=fix)
        return verify_bundle(artefact, options, progress=progress)
    source = _identified(options.against, options.measurable(options.data), progress)
    _announce(source, options.trust, log)
    source = decided(
        source, options.data, prepare=options.measures, factory=options.factory,
        head=options.head, arch=options.arch, trust=options.trust, say=progress,
    )  # fmt: skip
    return verify_against(artefact, source, options, progress=progress)


def bench(
    models: Sequence[str | Path],
    data: str | Path | None = None,
    options: BenchOptions | None = None,
    *,
    progress: Progress | None = None,
    log: Progress | None = None,
) -> Report:
    """Measures one model, or two, on labelled data; without data, their latency alone.

    `log` is told what code of the files runs, if `options.trust` lets it.
    """
    need_torch_side("bench")
    from interop.bench import BenchOptions
    from interop.bench import bench as bench_identities
    from interop.imprint import decided

    options = options or BenchOptions()
    options.check()
    facts = options.measurable(data)
    seen = [_identified(model, facts, progress) for model in models]
    for identity in seen:
        _announce(identity, options.trust, log)
    if options.measures:
        seen = [
            decided(
                one, data, factory=options.factory, arch=options.arch, trust=options.trust,
                task=options.task, columns=options.columns, split=options.split, say=progress,
            )
            for one in seen
        ]  # fmt: skip
    return bench_identities(seen, data, options, progress=progress)


def compare(old: str | Path, new: str | Path) -> Report:
    """What changed between two stored reports of bench."""
    need_torch_side("bench")
    from interop.bench.compare import compare as compare_reports
    from interop.report.json import read_report

    return compare_reports(read_report(old), read_report(new), (str(old), str(new)))


def port(source: str | Path, options: PortOptions, *, progress: Progress | None = None) -> Report:
    """Gives a checkpoint's weights the names that another library, or another file, has for them.

    Raises ConfigError where not one of `options.to` and `options.like` is given.
    """
    need_torch_side("port")
    from interop.port import port as port_identity

    if (options.to is None) == (options.like is None):
        raise ConfigError("one target is needed", fix="give one of --to and --like")
    identity = _identified(source, options, progress, content_hash=False)
    like = None
    if options.like is not None:
        of_like = UserFacts(arch=options.like_arch)
        like = _identified(options.like, of_like, progress, content_hash=False)
    return port_identity(identity, options, like=like, progress=progress)


def finetune(
    backbone: str,
    data: str | Path,
    options: FinetuneOptions | None = None,
    *,
    progress: Progress | None = None,
    log: Progress | None = None,
) -> Report:
    """Trains a pretrained backbone on labelled data. `log` is told a line an epoch."""
    need_torch_side("finetune")
    from interop.finetune import finetune as train

    with _fetching(progress):
        return train(backbone, data, options, progress=progress, log=log)


def assess(
    models: Sequence[str],
    data: str | Path,
    options: AssessOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Report:
    """Which of several models is worth reusing on labelled data, and which may replace which."""
    need_torch_side("assess")
    from interop.assess import assess as assess_models

    with _fetching(progress):
        return assess_models(models, data, options, progress=progress)


def gate(
    candidate: str | Path,
    baseline: str | Path,
    options: GateOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Report:
    """Judge a candidate against the baseline by a policy: what `interop gate` prints.

    Each side is a file, "FILE#PLACE", a bundle or an address; the baseline "git:REF:PATH" too. What
    the policy asks for beside `options.evidence` is made here: the candidate is exported once, and
    measured from that very bundle. Raises ReadError for a baseline that cannot be read, ConfigError
    for a policy that cannot be followed, and what export and bench raise.
    """
    from interop.gate import GateOptions
    from interop.gate.candidate import judge
    from interop.gate.scratch import scratch, sweep

    options = options or GateOptions()
    sweep()
    handed = [_evidence(str(path)) for path in options.evidence]
    own = options.policy.of(split_place(str(candidate))[0])
    with scratch() as place, _fetching(progress):
        return judge(
            _candidate(str(candidate), place),
            _baseline(str(baseline), str(candidate), place / "baseline"),
            own,
            handed,
            make=partial(_make, progress),
            data_hash=data_hash,
            progress=progress,
        )


def gate_all(
    root: str | Path,
    baseline: str,
    options: GateOptions | None = None,
    *,
    progress: Progress | None = None,
    log: Progress | None = None,
) -> Report:
    """Judge all models of a folder, a prefix or a list, as `gate` judges one.

    `log` is told of a cache that cannot be written, where it is the default one; ConfigError is
    raised for one that was given.
    """
    from interop.gate import GateOptions
    from interop.gate.repository.cache import Cache, default_folder
    from interop.gate.repository.run import gate_all as judge_all
    from interop.gate.scratch import sweep

    options = options or GateOptions()
    given, cache = options.cache, None
    if not options.no_cache:
        cache = Cache(given or default_folder(), must=given is not None)
    sweep()
    with _fetching(progress):
        report = judge_all(
            str(root),
            options.policy,
            baseline,
            handed=[_evidence(str(path)) for path in options.evidence],
            cache=cache,
            how=options,
            make=partial(_make, progress),
            data_hash=data_hash,
            progress=progress,
        )
    if cache is not None and cache.fault and log is not None:
        log(f"interop: nothing is cached: {cache.fault}")
    return report


def first_policy(
    out: str | Path,
    a: str | Path | None = None,
    b: str | Path | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Identity], Report | None]:
    """Writes a policy that fits the models `a` and `b`, and judges them by it: what was seen of
    them, and the gate's Report where both are given. Raises ConfigError and ReadError."""
    from interop.files import write_whole
    from interop.gate.candidate import ModelPath, judge
    from interop.policy import compose
    from interop.policy.policy import read_policy

    out = Path(out)
    if out.exists() and not force:
        raise ConfigError("exists already", where=str(out), fix="give --force or another --out")
    if not out.parent.is_dir():
        raise ConfigError("no such folder", where=str(out.parent), fix="make it first")
    with _fetching(progress):
        seen = [identify_file(path) for path in (a, b) if path is not None]
        write_whole(out, compose.text(seen))
        policy = read_policy(out)
        if a is None or b is None:
            return seen, None
        return seen, judge(ModelPath(str(b)), ModelPath(str(a)), policy.of(str(b)))


def doctor() -> Report:
    """What is installed here, what of it loads, and what is in conflict."""
    from interop.installation import doctor as look

    return look()


# ---------------------------------------------------------------- what is given


@contextmanager
def _fetching(progress: Progress | None) -> Iterator[None]:
    """Have `progress` told how far a file that lies elsewhere is fetched."""
    from interop.reading.bytes import address

    before = address.progress
    address.progress = progress or before
    try:
        yield
    finally:
        address.progress = before


def _identified(
    file: str | Path, facts: UserFacts, progress: Progress | None, *, content_hash: bool = True
) -> Identity:
    with _fetching(progress):
        return identify_file(file, facts, content_hash=content_hash, whole=True)


def _announce(identity: Identity, trust: bool, log: Progress | None) -> None:
    """Say what code of a file is about to run."""
    from interop.models import would_run

    if trust and log is not None and (names := would_run(identity)):
        log(f"opening {identity.manifest.path} runs: {', '.join(names)}")


def _named_after(checkpoint: str | Path) -> Path:
    """A folder here of the checkpoint's name without its ending; never the checkpoint itself."""
    source = Path(split_place(str(checkpoint))[0]).resolve()
    name = source.name.split(".")[0] or "model"
    return Path(f"{name}-exported" if source == Path(name).resolve() else name)


# ---------------------------------------------------------------- the two sides


def _candidate(given: str, scratch: Path) -> ModelPath:
    """The candidate; where Git LFS left pointers in place of its files, the files themselves."""
    from interop.gate.candidate import ModelPath
    from interop.gate.repository import git

    path, place = split_place(given)
    here = Path(path)
    if "://" in path or not here.exists() or not git.has_pointers(here):
        return ModelPath(given)
    into = scratch / "candidate"
    there = git.Repository(here if here.is_dir() else here.parent).pointed(here, into)
    return ModelPath(f"{there}#{place}" if place else str(there), given)


def _baseline(given: str, candidate: str, scratch: Path) -> ModelPath:
    from interop.gate.candidate import ModelPath
    from interop.gate.repository import git

    if (spec := git.parse(given)) is None:
        return ModelPath(given)
    own, _ = split_place(candidate)
    repository = git.Repository(Path.cwd())
    path, place = spec.path, ""
    if not path:
        try:
            path = Path(own).resolve().relative_to(repository.root.resolve()).as_posix()
        except ValueError:
            fix = f"name the path: git:{spec.ref}:PATH"
            raise ConfigError("lies in another repository, or none", where=own, fix=fix) from None
    elif "#" in path and not repository.files(spec.ref, path):
        path, _, place = path.rpartition("#")
    spec = replace(spec, path=path)
    there = repository.fetch(spec, scratch)
    mark = f"#{place}" if place else ""
    return ModelPath(f"{there}{mark}", f"{spec}")


# ---------------------------------------------------------------- evidence


def _make(
    say: Progress | None,
    policy: Policy,
    missing: Mapping[str, EvidenceGap],
    a: Identity,
    b: Identity,
) -> list[Report]:
    """The reports that are missing and that can be made here; the candidate is exported once."""
    from interop.gate.scratch import scratch

    absent = {command for command, gap in missing.items() if gap.kind is GapKind.MISSING}
    measures = "bench" in absent and policy.data is not None
    if "export" not in absent and not measures:
        return []
    need_torch_side("gate")
    from interop.bench import BATCHES, BenchOptions
    from interop.bench import bench as bench_identities
    from interop.export import ExportOptions
    from interop.export.pipeline import exported
    from interop.models.build_module import as_built

    a, b = as_built(a, policy.arch, beside=b), as_built(b, policy.arch, beside=a)
    reports: list[Report] = []
    run = None
    with scratch() as folder:
        if "export" in absent:
            options = ExportOptions(device=policy.device)
            samples = _samples(b, policy)
            report, run = exported(b, folder / "candidate", options, samples=samples, progress=say)
            reports.append(report)
            run = run if run.folder is not None else None
        if measures:
            # Latency takes long: it is measured where a budget asks for it.
            timed = any(b in policy.budgets for b in _TIMED)
            alone = (1,) if "peak-memory-mb" in policy.budgets else ()
            p99 = "p99-ratio" in policy.budgets
            measuring = BenchOptions(
                device=policy.device,
                task=policy.task,
                split=policy.split,
                columns=policy.columns,
                batches=BATCHES if timed else alone,
                seconds=_P99_SECONDS if p99 else BenchOptions().seconds,
            )
            reports.append(
                bench_identities([a, b], policy.data, measuring, exports=(None, run), progress=say)
            )
    return reports


def _samples(candidate: Identity, policy: Policy) -> Samples | None:
    """Real pictures for the proof of parity, where the policy's data set is a folder of some."""
    if policy.data is None or candidate.image_preprocessing is None or not policy.data.is_dir():
        return None
    from interop.data import Folder
    from interop.errors import DataError
    from interop.export.pipeline import SAMPLES

    try:
        pictures = Folder(policy.data, candidate.labels.names)
        return pictures.spread(candidate.image_preprocessing, SAMPLES)
    except DataError:  # of another kind: bench opens it by its task
        return None


def _evidence(path: str) -> Report:
    from interop.gate import evidence
    from interop.gate.measured_inputs import accepted
    from interop.report.json import read_report

    report = read_report(path)
    if report.command not in evidence.ACCEPTED:
        what = f"a report of {report.command!r} is not evidence"
        fix = "give reports of check, export, verify --against, bench or inspect --data"
        raise ConfigError(what, where=path, fix=fix)
    accepted(report, path)
    return report


def data_hash(policy: Policy, report: Report, a: Identity, b: Identity) -> str:
    """The hash by which a bench report names the policy's data set: of its records' bytes.

    Raises ConfigError where there is none at that path, DataError where it is not the task's.
    """
    from interop.facts.sections.bench import BenchSection

    assert policy.data is not None
    if not policy.data.exists() and "=" not in policy.data.name:
        raise ConfigError("no such data set", where=str(policy.data), fix="mend evidence.data")
    task = policy.task or report.section(BenchSection).task or TaskName.IMAGE_CLASSIFICATION
    labels = b.labels.names or a.labels.names or ()
    columns = tuple(sorted(policy.columns.items()))
    return _hash_of(str(policy.data), task, labels, columns, policy.split)


@cache
def _hash_of(
    data: str,
    task: str,
    labels: tuple[str, ...],
    columns: tuple[tuple[str, str], ...],
    split: str | None,
) -> str:
    from interop.identity.describe import dataset_hash

    if find_spec("numpy") is None:
        return dataset_hash(_pictures(Path(data)))
    from interop.data import open_data

    opened = open_data(data, task, labels, columns=dict(columns), split=split)
    return dataset_hash(record.sha256 for record in opened.records())


def _pictures(folder: Path) -> list[str]:
    """The hashes of a folder's pictures: all that can be told on the light install."""
    from hashlib import sha256

    pictures = (p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    seen = [p for p in pictures if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    if not seen:
        what = "is no folder of pictures, and others cannot be opened on the light install"
        raise ConfigError(what, where=str(folder), fix="pip install 'model-interop[run]'")
    return [sha256(p.read_bytes()).hexdigest() for p in seen]
