"""`interop gate CANDIDATE --baseline A`: check and what else the policy asks for, then judge."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from interop.cli.output import (
    check_targets,
    fetching,
    finish,
    progress,
    progress_done,
    report_options,
)
from interop.policy.policy import Policy, find_policy, read_policy


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
    fetching(progress)
    inputs = [x for x in (candidate, baseline, *evidence) if x is not None]
    check_targets(reports, *inputs, *([path] if path else []))
    from interop import api
    from interop.gate.repository.cache import Cache, default_folder

    if everything:
        cache = (
            None
            if no_cache
            else Cache(cache_folder or Path(default_folder()), must=cache_folder is not None)
        )
        report = api.gate_all(
            candidate or ".", baseline, policy,
            evidence=evidence, jobs=jobs, cache=cache, progress=progress,
        )  # fmt: skip
        if cache is not None and cache.fault:
            click.echo(f"interop: nothing is cached: {cache.fault}", err=True)
    else:
        assert candidate is not None
        report = api.gate(candidate, baseline, policy, evidence=evidence, progress=progress)
    progress_done()
    finish(report, form, reports)


def _near(path: Path) -> Path:
    """A file below the working directory by its path from here, as people write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _print_policy(policy: Policy) -> None:
    from interop.policy.show import shown

    click.echo(shown(policy, datetime.now(UTC).date()), nl=False)
