"""One function a command: paths and options in, a Report out.

What the command line does beyond it is parse and print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from interop.errors import ConfigError, need_torch_side
from interop.facts import EvidenceGap, GapKind, Identity, Report
from interop.gate.candidate import Side, judge
from interop.gate.repository import git
from interop.gate.repository.cache import Cache
from interop.gate.scratch import scratch, sweep
from interop.identity import split_place
from interop.policy.policy import Policy
from interop.report.json import read_report

SAMPLES = 16  # real ones on which parity is proved
# Budgets for which bench has to take time, or a process of its own.
_TIMED = ("latency-ratio", "p99-ratio", "throughput-ratio")
_P99_SECONDS = 20.0  # a 99th percentile is bounded by some 450 runs or more
Progress = Callable[[str], None]


def gate(
    candidate: str | Path,
    baseline: str | Path,
    policy: Policy | None = None,
    *,
    evidence: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Report:
    """Judge a candidate against the baseline by a policy: what `interop gate` prints.

    Each side is a file, "FILE#PLACE", a bundle or an address; the baseline "git:REF:PATH" too.
    `evidence` are stored reports of check, export or bench. What the policy asks for beside them is
    made here: the candidate is exported once, and measured from that very bundle. Raises ReadError
    for a baseline that cannot be read, ConfigError for a policy that cannot be followed, and what
    export and bench raise.
    """
    sweep()
    handed = [_evidence(str(path)) for path in evidence]
    own = (policy or Policy()).of(split_place(str(candidate))[0])
    with scratch() as place:
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
    policy: Policy | None = None,
    *,
    evidence: Sequence[str | Path] = (),
    jobs: int | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judge all model files below a folder, as `gate` judges one; `cache` keeps what was judged."""
    from interop.gate.repository.run import gate_all as judge_all

    sweep()
    return judge_all(
        Path(root),
        policy or Policy(),
        baseline,
        handed=[_evidence(str(path)) for path in evidence],
        cache=cache,
        workers=jobs,
        make=partial(_make, progress),
        data_hash=data_hash,
        progress=progress,
    )


# ---------------------------------------------------------------- the two sides


def _candidate(given: str, scratch: Path) -> Side:
    """The candidate; where Git LFS left pointers in place of its files, the files themselves."""
    path, place = split_place(given)
    here = Path(path)
    if "://" in path or not here.exists() or not git.has_pointers(here):
        return Side(given)
    there = git.Repository(here if here.is_dir() else here.parent).pointed(
        here, scratch / "candidate"
    )
    return Side(f"{there}#{place}" if place else str(there), given)


def _baseline(given: str, candidate: str, scratch: Path) -> Side:
    spec = git.parse(given)
    if spec is None:
        return Side(given)
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
    return Side(f"{there}{mark}", f"{spec}")


# ---------------------------------------------------------------- evidence


def _make(
    say: Progress | None,
    policy: Policy,
    missing: Mapping[str, EvidenceGap],
    a: Identity,
    b: Identity,
) -> list[Report]:
    """The reports that are missing and that can be made here; the candidate is exported once."""
    made: list[Report] = []
    absent = {command for command, gap in missing.items() if gap.kind is GapKind.MISSING}
    if "export" not in absent and not ("bench" in absent and policy.data):
        return made
    need_torch_side("gate")
    with scratch() as folder:
        bundle = folder / "candidate"
        if "export" in absent:
            from interop.export import export

            samples = _samples(b, policy)
            made.append(export(b, bundle, device=policy.device, samples=samples, progress=say))
        if "bench" in absent and policy.data:
            from interop.bench import BATCHES, Options, bench

            # Latency takes long: it is measured where a budget asks for it.
            timed = any(b in policy.budgets for b in _TIMED)
            alone = (1,) if "peak-memory-mb" in policy.budgets else ()
            seconds = _P99_SECONDS if "p99-ratio" in policy.budgets else Options().seconds
            made.append(
                bench(
                    [a, b],
                    policy.data,
                    device=policy.device,
                    task=policy.task,
                    split=policy.split,
                    columns=policy.columns,
                    batches=BATCHES if timed else alone,
                    seconds=seconds,
                    bundles=(None, bundle if bundle.is_dir() else None),
                    progress=say,
                )
            )
    return made


def _samples(candidate: Identity, policy: Policy) -> Any:
    """Real pictures for the proof of parity, where the policy's data set is a folder of some."""
    if policy.data is None or candidate.image_preprocessing is None or not policy.data.is_dir():
        return None
    from interop.data import Folder
    from interop.errors import DataError

    try:
        return Folder(policy.data, candidate.labels.names).spread(
            candidate.image_preprocessing, SAMPLES
        )
    except DataError:  # of another kind: bench opens it by its task
        return None


def _evidence(path: str) -> Report:
    report = read_report(path)
    if report.command not in ("check", "export", "bench"):
        raise ConfigError(
            f"a report of {report.command!r} is no evidence",
            where=path,
            fix="give reports of check, export or bench",
        )
    return replace(report, details={**report.details, "evidence_file": path})


def data_hash(policy: Policy, report: Report, a: Identity, b: Identity) -> str:
    """The hash by which a bench report names the policy's data set: of its records' bytes.

    Raises ConfigError where there is none at that path, DataError where it is not the task's.
    """
    assert policy.data is not None
    if not policy.data.exists() and "=" not in policy.data.name:
        raise ConfigError("no such data set", where=str(policy.data), fix="mend evidence.data")
    task = policy.task or str(report.details.get("task") or "image-classification")
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

    found = (p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    seen = [p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    if not seen:
        raise ConfigError(
            "is no folder of pictures, and others cannot be opened on the light install",
            where=str(folder),
            fix="pip install 'model-interop[run]'",
        )
    return [sha256(p.read_bytes()).hexdigest() for p in seen]
