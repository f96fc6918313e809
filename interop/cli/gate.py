"""`interop gate CANDIDATE --baseline A`: check and what else the policy asks for, then judge."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, print_lines, progress, say
from interop.gate.options import GateOptions
from interop.gate.repository.committed_policy import asked_policy
from interop.records import replace


@click.command(
    name="gate",
    epilog="""\b
Example:
  interop gate candidate.pth --baseline prod.pth --policy interop.toml
  interop gate candidate.pth --baseline prod.pth --evidence bench.json \\
      --report junit:gate.xml
  interop gate candidate.pth --baseline prod.pth --evidence prod-fed.json \\
      --evidence candidate-fed.json
  interop gate models/a.pth --baseline git:origin/main:models/a.pth
  interop gate --all models --baseline git:origin/main:
  interop gate --all s3://new/models --baseline s3://served/models
  interop gate --show-config

\b
Exit codes: 0 pass, 1 fail, 2 unreadable baseline or policy, 3 inconclusive.""",
)
@click.argument("candidate", required=False)
@click.option(
    "--baseline", metavar="FILE|BUNDLE|URL|git:REF:PATH",
    help="The model that is served now.  [git:REF: the candidate's own path at REF]",
)  # fmt: skip
@click.option(
    "--policy", "policy_file", metavar="FILE|git:REF:PATH",
    help="What to ask for; git:origin/main:interop.toml is the policy that main has.  [default: "
    "the interop.toml, or [tool.interop] of the pyproject.toml, that is found from here up to the "
    "root of the repository]",
)  # fmt: skip
@click.option(
    "--all", "everything", is_flag=True,
    help="Judge all models below CANDIDATE: a folder (here by default), a prefix "
    "(s3://bucket/prefix) or a list of addresses (.txt). An interrupted run resumes.",
)  # fmt: skip
@options_of(GateOptions)
@click.option(
    "--show-config", is_flag=True,
    help="Print each value of the policy (for CANDIDATE, where given) and where it came from.",
)  # fmt: skip
@report_options
def command(
    candidate: str | None, baseline: str | None, policy_file: str | None, everything: bool,
    options: GateOptions, show_config: bool, form: str, reports: tuple[str, ...],
) -> None:  # fmt: skip
    """Pass or fail CANDIDATE against the baseline, by a policy.

    The policy says which question must be answered yes (replace, unless it says
    otherwise), which budgets hold and which evidence is needed. Evidence that is not
    handed in is made here where the policy says how. Reports of inspect --data of both
    models turn a contradiction in how they were fed into an error.
    """
    policy = asked_policy(policy_file)
    if show_config:
        from interop.policy.show import shown

        own = policy if candidate is None else policy.of(candidate)
        print_lines(*shown(own, datetime.now(UTC).date()))
        return
    if baseline is None:
        raise click.UsageError("Missing option '--baseline'", click.get_current_context())
    if candidate is None and not everything:
        raise click.UsageError("Missing argument 'CANDIDATE'", click.get_current_context())
    inputs = [x for x in (candidate, baseline, *options.evidence) if x is not None]
    check_targets(reports, *inputs, policy.source)
    from interop import api

    options = replace(options, policy=policy)
    if candidate is None or everything:
        report = api.gate_all(candidate or ".", baseline, options, progress=progress, log=say)
    else:
        options.refuse_for_one()
        report = api.gate(candidate, baseline, options, progress=progress)
    finish(report, form, reports)
