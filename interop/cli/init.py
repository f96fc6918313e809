"""`interop init [A] [B]`: a commented policy, fitted to the two models that it is given."""

from __future__ import annotations

from pathlib import Path

import click

from interop.cli.output import print_lines, progress, say


@click.command(
    name="init",
    epilog="""\b
Example:
  interop init prod.pth candidate.pth
  interop init --out policies/vision.toml

\b
Exit code 0 where the policy was written, and passes on the two models; 1 or 3
where it was written and does not: the reason is said.""",
)
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("interop.toml"),
    show_default=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(a: str | None, b: str | None, out: Path, force: bool) -> None:
    """Write a first policy: what A and B tell, and every other key as a comment.

    A is the model that is served now, B one that may take its place. Facts that the
    files do not state are left for you to fill in; until then the gate says so and
    does not pass.
    """
    from interop import api
    from interop.policy.compose import said

    seen, report = api.first_policy(out, a, b, force=force, progress=progress)
    for identity in seen:
        say(said(identity))
    if report is None:
        print_lines(f"wrote {out}; try it with: interop gate CANDIDATE --baseline A")
        return
    word = {0: "it passes", 1: "it fails", 3: "it is inconclusive"}[report.exit_code]
    why = f", {report.summary}" if report.exit_code else ""
    print_lines(f"wrote {out}; on these two models: {word}{why}")
    raise SystemExit(report.exit_code)
