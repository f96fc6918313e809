"""`interop gate CANDIDATE --baseline A`: check and what else the policy asks for, then judge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from interop.cli.output import (
    SAMPLES,
    check_targets,
    fetching,
    finish,
    need_torch_side,
    progress,
    progress_done,
    report_options,
)
from interop.errors import ConfigError
from interop.facts import EvidenceGap, GapKind, Identity, Report
from interop.gate import git
from interop.gate.judging import Side, judge
from interop.gate.policy import Policy, find_policy, read_policy
from interop.gate.scratch import scratch, sweep
from interop.identity import split_place
from interop.report.json import read_report

# Budgets for which bench has to take time, or a process of its own.
_TIMED = ("latency-ratio", "p99-ratio", "throughput-ratio")
_P99_SECONDS = 20.0  # a 99th percentile is bounded by some 450 runs or more


@click.command(
    name="gate",
    epilog="""\b
Example:
  interop gate candidate.pth --baseline prod.pth --policy interop.toml
  interop gate candidate.pth --baseline prod.pth --evidence bench.json \\
      --report junit:gate.xml
  interop gate models/a.pth --baseline git:origin/main:models/a.pth
  interop gate --all models --baseline git:origin/main:
  interop gate --show-config

\b
Exit codes: 0 pass, 1 fail, 2 unreadable baseline or policy, 3 inconclusive.""",
)
@click.argument("candidate", required=False)
@click.option(
    "--baseline",
    metavar="FILE|BUNDLE|URL|git:REF:PATH",
    help="The model that is served now.  [git:REF: the candidate's own path at REF]",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="What to ask for.  [default: the interop.toml, or [tool.interop] of the "
    "pyproject.toml, that is found from here up to the root of the repository]",
)
@click.option(
    "--evidence",
    multiple=True,
    metavar="JSON",
    help="A report of check, export or bench, made elsewhere with --report json:PATH; repeatable.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Judge all model files below CANDIDATE, a folder (here by default).",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes for --all.  [default: CPUs]")
@click.option(
    "--cache",
    "cache_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where --all keeps what it judged.  [default: $XDG_CACHE_HOME/interop]",
)
@click.option("--no-cache", is_flag=True, help="Judge every model anew.")
@click.option(
    "--show-config",
    is_flag=True,
    help="Print each value of the policy (for CANDIDATE, where given) and where it came from.",
)
@report_options
def command(
    candidate: str | None,
    baseline: str | None,
    policy_file: Path | None,
    evidence: tuple[str, ...],
    everything: bool,
    jobs: int | None,
    cache_folder: Path | None,
    no_cache: bool,
    show_config: bool,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Pass or fail CANDIDATE against the baseline, by a policy.

    The policy says which question must be answered yes (replace, unless it says
    otherwise), which budgets hold and which evidence is needed. Evidence that is not
    handed in is made here where the policy says how.
    """
    path = policy_file or find_policy(Path.cwd())
    policy = read_policy(_near(path)) if path is not None else Policy()
    if show_config:
        _print_policy(policy if candidate is None else policy.of(candidate))
        return
    if baseline is None:
        raise click.UsageError("Missing option '--baseline'", click.get_current_context())
    if candidate is None and not everything:
        raise click.UsageError("Missing argument 'CANDIDATE'", click.get_current_context())
    sweep()
    fetching(progress)
    inputs = [x for x in (candidate, baseline, *evidence) if x is not None]
    check_targets(reports, *inputs, *([path] if path else []))
    handed = [_evidence(given) for given in evidence]
    if everything:
        kept = None if no_cache else cache_folder or ""
        report = _all(Path(candidate or "."), baseline, policy, handed, jobs, kept)
    else:
        assert candidate is not None
        report = _one(candidate, baseline, policy.of(split_place(candidate)[0]), handed)
    progress_done()
    finish(report, form, reports)


def _near(path: Path) -> Path:
    """A file below the working directory by its path from here, as people write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _one(candidate: str, baseline: str, policy: Policy, handed: list[Report]) -> Report:
    with scratch() as place:
        return judge(
            _candidate(candidate, place),
            _baseline(baseline, candidate, place / "baseline"),
            policy,
            handed,
            make=_run,
            data_hash=data_hash,
            progress=progress,
        )


def _all(
    root: Path,
    baseline: str,
    policy: Policy,
    handed: list[Report],
    jobs: int | None,
    kept: Path | str | None,
) -> Report:
    """`kept` is the folder of the cache, "" for the default one, None for none."""
    from interop.gate.cache import Cache, default_folder
    from interop.gate.many import gate_all

    cache = None if kept is None else Cache(Path(kept or default_folder()), must=bool(kept))
    report = gate_all(
        root,
        policy,
        baseline,
        handed=handed,
        cache=cache,
        workers=jobs,
        make=_run,
        data_hash=data_hash,
        progress=progress,
    )
    if cache is not None and cache.fault:
        click.echo(f"interop: nothing is cached: {cache.fault}", err=True)
    return report


def _print_policy(policy: Policy) -> None:
    from interop.gate.shown import shown

    click.echo(shown(policy, datetime.now(UTC).date()), nl=False)


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


def _run(policy: Policy, missing: dict[str, EvidenceGap], a: Identity, b: Identity) -> list[Report]:
    """The reports that are missing and that can be made here; the candidate is exported once."""
    made: list[Report] = []
    absent = {command for command, gap in missing.items() if gap.kind is GapKind.MISSING}
    if not absent & {"export", "bench"}:
        return made
    need_torch_side("gate")
    with scratch() as folder:
        bundle = folder / "candidate"
        if "export" in absent:
            from interop.export import export

            samples = _samples(b, policy)
            made.append(export(b, bundle, device=policy.device, samples=samples, progress=progress))
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
                    progress=progress,
                )
            )
    progress_done()
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
    from interop.check.inputs import dataset_hash

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
