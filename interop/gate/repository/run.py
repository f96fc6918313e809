"""Many models and a baseline -> one Report of all of them.

Each is judged by one of many processes, or taken from the cache. Which files changed is git's to
say, or a listing's: of one that did not, the header is read once and its content never.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from filecmp import cmp
from pathlib import Path

from interop.cluster import LOCAL
from interop.errors import ConfigError, InteropError, ReadError
from interop.facts import Answer, Finding, GateState, Input, Json, Level, Report
from interop.facts.sections.gate import GatedModel, GateSection
from interop.gate.candidate import DataHash, Make, ModelPath, judge
from interop.gate.repository import cache as caches
from interop.gate.repository.discover import Unit, in_repository, in_store
from interop.gate.repository.git import GitPath, Repository, parse, unit_id
from interop.gate.repository.renames import renames
from interop.gate.scratch import scratch
from interop.policy.policy import Policy
from interop.reading.bytes.address import is_remote, shown
from interop.reading.companion_files import DESCRIPTIONS, named_by
from interop.reading.grouping import grouped, may_be_other
from interop.records import dataclass, replace
from interop.report.json import decode, to_json
from interop.sweep import SweepOptions, table
from interop.sweep.spread import spread
from interop.sweep.store import at, is_store, opened

Say = Callable[[str], None]
_FEW = 3  # so few are judged sooner than a pool has started
_WORD = {
    Answer.YES: "pass", Answer.NO: "FAIL", Answer.UNKNOWN: "inconclusive", Answer.NA: "skipped",
}  # fmt: skip
# What a row of --out holds; the words are those of `interop.sweep.table`.
COLUMNS = {
    "path": "text", "state": "text", "outcome": "text", "summary": "text", "findings": "findings",
    "cached": "flag", "was": "text",
}  # fmt: skip
_WORST = (Answer.NO, Answer.UNKNOWN, Answer.YES, Answer.NA)
_MOVED = (GateState.CHANGED, GateState.RENAMED)  # these are held against what the baseline has


@dataclass(frozen=True, slots=True)
class Job:
    """One model to be judged. `state` is "changed", "unchanged", "renamed" (the baseline holds it
    under `was`) or "new" (no baseline holds it; `may` are the paths that it may have had, where
    that is not clear); `before` identifies the baseline's content, `key` the answer in the cache.
    """

    unit: Unit
    state: GateState
    policy: Policy
    before: tuple[str, ...]
    key: str
    was: str = ""
    may: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What all jobs have in common: where the files are, and what they are held against."""

    root: str
    repository: Repository | None
    ref: str
    baseline: str | None
    handed: tuple[Report, ...]
    data_hash: DataHash | None


def gate_all(
    root: str | Path,
    policy: Policy,
    baseline: str,
    *,
    handed: Sequence[Report] = (),
    cache: caches.Cache | None = None,
    how: SweepOptions | None = None,
    make: Make | None = None,
    data_hash: DataHash | None = None,
    progress: Say | None = None,
) -> Report:
    """Judge every model below `root` by the policy, each against the same path of the baseline.

    `root` is a folder, a prefix of a server or a list of addresses, `baseline` "git:REF:" or a
    folder or prefix with the same paths; `how` says where the work is done. A model that the
    baseline does not hold is judged by itself. `details.models` has a record each, which says
    whether it came from the cache. Raises ConfigError where there is no model, no baseline, or one
    that cannot be read.
    """
    say, how = progress or (lambda _: None), how or SweepOptions()
    if how.out is not None:
        table.check_target(how.out)
    setting, units, before = _survey(str(root), baseline, tuple(handed), data_hash)
    if not units:
        raise ConfigError("holds no model files", where=shown(str(root)), fix="give another folder")
    today = datetime.now(UTC).date()
    new = {u.path: u.identity for u in units if u.path not in before and not u.perhaps}
    gone = {path: before[path] for path in sorted(before.keys() - {u.path for u in units})}
    renamed, unclear = renames(new, {p: i for p, i in gone.items() if not may_be_other(p)})
    jobs = [_job(unit, setting.root, before, policy, today, renamed, unclear) for unit in units]
    records: dict[str, GatedModel] = {}
    if any(report.command == "inspect" for report in handed):
        cache = None  # what it holds was judged without them
    for job in jobs:
        if cache is not None and (known := _stored(cache, job)) is not None:
            records[job.unit.path] = known
    todo = [job for job in jobs if job.unit.path not in records]
    for job, record in _judged(todo, setting, how):
        say(f"{len(records) + 1} of {len(jobs)} models")
        records[job.unit.path] = record
        # Evidence ages, and lies outside of the files.
        ages = record.state in _MOVED and _needs_evidence(job.policy, handed)
        if cache is not None and not ages:
            cache.put(job.key, to_json(record))
    if make is not None:  # measuring is never done two at a time
        for job in jobs:
            if any(f.rule == "evidence-missing" for f in records[job.unit.path].findings):
                records[job.unit.path] = _record(job, setting, make, say)
    removed = [path for path in gone if path not in renamed.values()]
    if how.out is not None:
        table.write(how.out, COLUMNS, (_row(records[job.unit.path]) for job in jobs))
    return _report(policy, [records[job.unit.path] for job in jobs], removed)


def _stored(cache: caches.Cache, job: Job) -> GatedModel | None:
    """The record of a model from the cache; None where it has none, or a damaged one."""
    if (known := cache.get(job.key)) is not None:
        with suppress(KeyError, TypeError, ValueError):
            return replace(decode(GatedModel, known), cached=True)
    return None


# ---------------------------------------------------------------- which there are


def _survey(
    root: str, baseline: str, handed: tuple[Report, ...], data_hash: DataHash | None
) -> tuple[Setting, list[Unit], dict[str, tuple[str, ...]]]:
    """The units of the working tree or store, and what identifies each unit of the baseline."""
    if (spec := parse(baseline)) is None:
        store, other = opened(root), opened(_of_many(baseline), empty=True)
        before = {u.path: u.identity for u in in_store(other)}
        setting = Setting(_from_anywhere(store.root), None, "", _from_anywhere(other.root), handed,
                          data_hash)  # fmt: skip
        return setting, in_store(store), before
    if not Path(root).is_dir():
        what = "is no folder" if not is_store(root) else "is in no git repository"
        fix = f"give a folder of models, or a baseline that is none of git's, not {baseline}"
        raise ConfigError(what, where=shown(root), fix=fix)
    if spec.path:
        fix = f"leave the path out: git:{spec.ref}:"
        raise ConfigError("names one path, for many models", where=baseline, fix=fix)
    repository = Repository(Path(root))
    under = os.path.relpath(Path(root).resolve(), repository.root.resolve())
    units = in_repository(repository, Path(under).as_posix())
    blobs = repository.files(spec.ref, "" if under == "." else Path(under).as_posix())
    oids = {path: blob.oid for path, blob in blobs.items()}
    absent = repository.left_out()
    before = {
        path: unit_id(oids, files) or ()
        for path, files in grouped(blobs).items()
        if not absent.issuperset(files)
    }
    ref = repository.commit(spec.ref)
    return Setting(str(repository.root), repository, ref, None, handed, data_hash), units, before


def _of_many(baseline: str) -> str:
    """A baseline that may hold many models."""
    remote = is_remote(baseline)
    if not (remote or Path(baseline).is_dir()) or baseline.startswith(("http:", "https:")):
        fix = "give git:REF:, or a folder or prefix with the same paths"
        what = "is no folder to hold many models against"
        raise ConfigError(what, where=shown(baseline), fix=fix)
    return baseline


def _from_anywhere(root: str) -> str:
    """A root as a process has it that works elsewhere."""
    return root if is_remote(root) else os.path.abspath(root)  # noqa: PTH100 - "" is a list's


def _job(
    unit: Unit,
    root: str,
    before: Mapping[str, tuple[str, ...]],
    policy: Policy,
    today: date,
    renamed: Mapping[str, str],
    unclear: Mapping[str, Sequence[str]],
) -> Job:
    path, may = renamed.get(unit.path, unit.path), tuple(unclear.get(unit.path, ()))
    was = before.get(path)
    state = GateState.UNCHANGED if was == unit.identity else GateState.CHANGED
    if path != unit.path:
        state = GateState.RENAMED
    elif was is None:
        state = GateState.NEW
    own = policy.of(at(root, unit.path))
    name = caches.key(unit.path, unit.identity, path, was, may, own.sha256(today))
    return Job(unit, state, own, was or (), name, path, may)


# ---------------------------------------------------------------- judging them


def _judged(
    jobs: Sequence[Job], setting: Setting, how: SweepOptions
) -> Iterator[tuple[Job, GatedModel]]:
    if len(jobs) <= _FEW and how.backend == LOCAL:
        how = replace(how, jobs=1)
    # What has to be read as a whole goes first: the pool ends even.
    order = sorted(jobs, key=lambda job: job.state is GateState.UNCHANGED)
    forks = not is_remote(setting.root) and not is_remote(setting.baseline or "")
    for part, found in spread(_records, setting, _parts(order, how.processes), how, forks=forks):
        if found is None:
            what, fix = "judging it kills its process, possibly out of memory", "give fewer --jobs"
            raise ConfigError(what, where=part[0].unit.path, fix=fix)
        for job, (record, fault) in zip(part, found, strict=True):
            if record is None:
                raise _error(fault)
            yield job, record


def _parts(jobs: Sequence[Job], workers: int) -> Iterator[Sequence[Job]]:
    """Changed and new models one by one, the others by the dozen: each hand-over costs."""
    size = max(1, min(12, len(jobs) // (4 * workers)))
    start = 0
    while start < len(jobs):
        step = size if jobs[start].state is GateState.UNCHANGED else 1
        yield jobs[start : start + step]
        start += step


def _records(
    setting: Setting, jobs: Sequence[Job]
) -> list[tuple[GatedModel | None, tuple[str, ...]]]:
    """The record of each model, or the error that ends the run, in words that can be sent."""
    judged: list[tuple[GatedModel | None, tuple[str, ...]]] = []
    for job in jobs:
        try:
            judged.append((_record(job, setting), ()))
        except InteropError as error:
            judged.append((None, (error.what, error.where, error.fix, error.rule)))
    return judged


def _error(fault: tuple[str, ...]) -> ConfigError:
    what, where, fix, rule = fault
    return ConfigError(what, where=where, fix=fix, rule=rule)


def _record(
    job: Job, setting: Setting, make: Make | None = None, say: Say | None = None
) -> GatedModel:
    """What became of one model."""
    with scratch() as place:
        job, report = _one(job, setting, place, make, say)
    return _told(job, report)


def _one(
    job: Job, setting: Setting, place: Path, make: Make | None, say: Say | None
) -> tuple[Job, Report]:
    path = job.unit.path
    here = at(setting.root, path)
    if setting.repository is not None:
        here = str(setting.repository.pointed(Path(here), place / "candidate"))
    candidate = ModelPath(here, shown(path))
    if job.state not in _MOVED:
        return job, _alone(job, candidate)
    evident = _needs_evidence(job.policy, setting.handed)
    if setting.repository is not None:
        there = setting.repository.fetch(GitPath(setting.ref, job.was), place / "baseline")
        baseline = ModelPath(str(there), str(GitPath(setting.ref[:12], job.was)))
    else:
        assert setting.baseline is not None
        baseline = ModelPath(at(setting.baseline, job.was))
    if _equal(candidate.path, baseline.path):  # touched, or copied
        state = GateState.UNCHANGED if job.state is GateState.CHANGED else job.state
        return replace(job, state=state), _alone(job, candidate)
    try:
        return job, judge(
            candidate,
            baseline,
            job.policy,
            setting.handed if evident else (),
            content_hash=evident,
            make=make,
            data_hash=setting.data_hash,
            progress=say,
        )
    except ReadError as error:
        if job.unit.perhaps and error.rule == "file-unrecognised":  # it was no model before
            return job, _alone(job, candidate)
        # what was removed was no readable model: nothing to go by
        if job.state is GateState.RENAMED:
            job = replace(job, state=GateState.NEW)
            return job, _alone(job, candidate)
        raise


def _equal(one: str, other: str) -> bool:
    """Whether two models have the same bytes: all files of two folders; of two files also those
    beside them that say what they are or hold their weights. Of servers the ETags have said it."""
    if is_remote(one) or is_remote(other):
        return False
    a, b = Path(one), Path(other)
    if a.is_dir() and b.is_dir():
        names = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
        same = names == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
        return same and all(_same_bytes(a / name, b / name) for name in names)
    if not _same_bytes(a, b):
        return False
    descriptions = [n for n in DESCRIPTIONS if (a.parent / n).is_file() or (b.parent / n).is_file()]
    return all(_same_bytes(a.parent / n, b.parent / n) for n in (*descriptions, *named_by(a)))


def _same_bytes(a: Path, b: Path) -> bool:
    return a.is_file() and b.is_file() and cmp(a, b, shallow=False)


def _alone(job: Job, candidate: ModelPath) -> Report:
    """A model by itself, against nothing but itself."""
    alone = job.state is GateState.NEW
    return judge(candidate, candidate, job.policy, unchanged=True, alone=alone, content_hash=False)


def _needs_evidence(policy: Policy, handed: Sequence[Report]) -> bool:
    if any(report.command == "inspect" for report in handed):
        return True
    opset = any(b.startswith("opset") for b in policy.budgets)
    return policy.check or policy.export or policy.bench or opset


def _told(job: Job, report: Report) -> GatedModel:
    outcome, summary = report.outcome, report.summary
    findings = [f for f in report.findings if f.level is not Level.NOTE or f.breaks]
    if job.state is GateState.NEW and outcome is Answer.YES:
        summary = "new: no baseline holds it, and nothing is wrong with it by itself"
        if job.policy.export or job.policy.bench:
            outcome = Answer.UNKNOWN
            summary = "new: the policy asks for evidence; gate it by itself, against another model"
    elif job.state is GateState.NEW:
        summary = f"new; {summary}"
    elif job.state is GateState.RENAMED:
        summary = f"taken as the renamed {job.was}; {summary}"
    if job.may and outcome is Answer.YES:
        outcome = Answer.UNKNOWN
        summary = (
            f"new, and may be {' or '.join(job.may)} under another name: gate it against the one "
            "that it replaces, or rename in one commit and swap in the next"
        )
    rules = {f.rule for f in report.findings}
    if job.unit.perhaps and "file-unrecognised" in rules and len(rules) == 1:
        outcome, summary, findings = Answer.NA, "is no model", []
    return GatedModel(
        path=job.unit.path,
        state=job.state,
        outcome=outcome,
        summary=summary,
        findings=tuple(findings),
        cached=False,
        was=job.was if job.state is GateState.RENAMED else None,
    )


# ---------------------------------------------------------------- all in one


def _report(policy: Policy, records: Sequence[GatedModel], gone: Sequence[str]) -> Report:
    counts = {answer: sum(r.outcome is answer for r in records) for answer in Answer}
    outcome = next((a for a in (Answer.NO, Answer.UNKNOWN) if counts[a]), Answer.YES)
    worst = sorted(records, key=lambda r: _WORST.index(r.outcome))
    return Report(
        command="gate",
        outcome=outcome,
        summary=_summary(records, counts, len(gone)),
        # What did not change and passes is counted, and stands in the details.
        inputs=tuple(
            Input(_WORD[r.outcome], r.path, r.summary, {"state": str(r.state)})
            for r in worst
            if r.outcome in (Answer.NO, Answer.UNKNOWN)
            or (r.state is not GateState.UNCHANGED and r.outcome is Answer.YES)
        ),
        findings=tuple(f for r in worst for f in _findings(r)),
        details=GateSection(
            intent=policy.intent, policy=policy.source, models=tuple(records), removed=tuple(gone)
        ),
    )


def _findings(record: GatedModel) -> Iterator[Finding]:
    """The findings of one model, each with its path."""
    for finding in record.findings:
        within = finding.place if finding.place != record.path else ""
        yield replace(
            finding,
            what=f"{record.path}: {finding.what}",
            place=f"{record.path}#{within}" if within else record.path,
            facts={**finding.facts, "model": record.path},
        )


def _row(record: GatedModel) -> dict[str, Json]:
    """What was said of one model, flat."""
    found = [{"level": str(f.level), "rule": f.rule, "what": f.what} for f in record.findings]
    flat: dict[str, Json] = {name: getattr(record, name) for name in COLUMNS}
    return {**flat, "state": str(record.state), "outcome": str(record.outcome), "findings": found}


def _summary(records: Sequence[GatedModel], counts: Mapping[Answer, int], gone: int) -> str:
    judged = len(records) - counts[Answer.NA]
    fail, unclear, passed = (counts[a] for a in (Answer.NO, Answer.UNKNOWN, Answer.YES))
    words = [f"{fail} of {judged} models fail", f"{unclear} are inconclusive"]
    parts = [w for w, n in zip(words, (fail, unclear), strict=True) if n]
    parts.append(f"{passed} of {judged} models pass" if not parts else f"{passed} pass")
    new = sum(r.state is GateState.NEW and r.outcome is not Answer.NA for r in records)
    moved = sum(r.state is GateState.RENAMED for r in records)
    parts += [f"{moved} renamed"] * bool(moved)
    parts += [f"{new} new (judged alone)"] * bool(new) + [f"{gone} gone"] * bool(gone)
    same = sum(r.state is GateState.UNCHANGED for r in records)
    known = sum(r.cached for r in records)
    return f"{', '.join(parts)} ({same} unchanged, {known} from the cache)"
