"""`interop gate CANDIDATE --baseline A`: check and what else the policy asks for, then judge."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from interop.check import check_identities
from interop.check.inputs import dataset_hash
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
from interop.errors import ConfigError, ReadError
from interop.facts import Identity, Report, Unreadable
from interop.gate import gate, lacking, refuse
from interop.gate.policy import Policy, read_policy
from interop.identity import identify_file
from interop.report.json import read_report

DEFAULT_POLICY = Path("interop.toml")


@click.command(
    name="gate",
    epilog="""\b
Example:
  interop gate candidate.pth --baseline prod.pth --policy interop.toml
  interop gate candidate.pth --baseline prod.pth --evidence bench.json \\
      --report junit:gate.xml

Exit codes: 0 pass, 1 fail, 2 unreadable baseline or policy, 3 inconclusive.""",
)
@click.argument("candidate")
@click.option("--baseline", required=True, metavar="FILE", help="The model that is served now.")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="What to ask for.  [default: interop.toml, where there is one]",
)
@click.option(
    "--evidence",
    multiple=True,
    metavar="JSON",
    help="A report of export or bench, made elsewhere with --report json:PATH; repeatable.",
)
@report_options
def command(
    candidate: str,
    baseline: str,
    policy_file: Path | None,
    evidence: tuple[str, ...],
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Pass or fail CANDIDATE against the baseline, by a policy.

    The policy says which question must be answered yes (replace, unless it says
    otherwise), which budgets hold and which evidence is needed. Evidence that is not
    handed in is made here where the policy says how.
    """
    fetching(progress)
    check_targets(reports, candidate, baseline, policy_file or DEFAULT_POLICY, *evidence)
    policy = _policy(policy_file)
    handed = [_evidence(path) for path in evidence]
    if handed and policy.data is not None:
        policy = replace(policy, data_sha256=_data_hash(policy.data))
    a = _identify(baseline, policy)
    try:
        b = _identify(candidate, policy)
    except ReadError as error:
        finish(refuse(policy, _unreadable(candidate, error)), form, reports)
    checked = check_identities(
        a, b, intent=policy.intent, values=policy.values, levels=policy.levels, progress=progress
    )
    made = [checked, *handed]
    # The long work only where the files themselves do not decide already.
    if gate(policy, made).exit_code != 1:
        made += _run(policy, lacking(policy, made), a, b)
    finish(gate(policy, made), form, reports)


def _identify(path: str, policy: Policy) -> Identity:
    return identify_file(
        path,
        content_hash=True,
        whole=True,
        arch=policy.arch,
        labels=policy.labels,
        preprocessing=policy.preprocessing,
    )


def _run(policy: Policy, missing: dict[str, str], a: Identity, b: Identity) -> list[Report]:
    """The reports that are missing and that can be made here."""
    made: list[Report] = []
    if "export" in missing and missing["export"].startswith("missing"):
        need_torch_side("gate")
        from interop.export import export

        with tempfile.TemporaryDirectory() as folder:
            made.append(
                export(
                    b,
                    Path(folder) / "candidate",
                    device=policy.device,
                    samples=_samples(b, policy),
                    progress=progress,
                )
            )
    if "bench" in missing and missing["bench"].startswith("missing") and policy.data:
        need_torch_side("gate")
        from interop.bench import BATCHES, bench

        # Latency takes long: it is measured where a budget asks for it.
        sizes = BATCHES if "latency-ratio" in policy.budgets else ()
        made.append(
            bench([a, b], policy.data, device=policy.device, batches=sizes, progress=progress)
        )
    progress_done()
    return made


def _samples(candidate: Identity, policy: Policy) -> Any:
    """Real pictures for the proof of parity, where the policy names a data set."""
    if policy.data is None or candidate.preprocessing is None:
        return None
    from interop.data import Folder

    folder = Folder(policy.data, candidate.labels.names)
    return folder.spread(candidate.preprocessing, SAMPLES)


def _policy(given: Path | None) -> Policy:
    if given is not None:
        return read_policy(given)
    return read_policy(DEFAULT_POLICY) if DEFAULT_POLICY.is_file() else Policy()


def _evidence(path: str) -> Report:
    report = read_report(path)
    if report.command not in ("export", "bench"):
        raise ConfigError(
            f"a report of {report.command!r} is no evidence",
            where=path,
            fix="give reports of export or bench",
        )
    return replace(report, details={**report.details, "evidence_file": path})


def _data_hash(folder: Path) -> str:
    """The hash by which a bench report names this data set: of its pictures' bytes."""
    if not folder.is_dir():
        raise ConfigError("no such folder", where=str(folder), fix="mend evidence.data")
    pictures = (p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    shown = (p for p in pictures if not any(x.startswith(".") for x in p.relative_to(folder).parts))
    return dataset_hash(sha256(p.read_bytes()).hexdigest() for p in shown)


def _unreadable(path: str, error: ReadError) -> Unreadable:
    from interop.reading.source import shown

    return Unreadable(shown(path), error.rule or "file-unrecognised", error.what, error.fix)
