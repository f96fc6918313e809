"""The commands, as click knows them. One module a command, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from interop import __version__

# command -> its one-line help; the module of the same name holds it as `command`. Kept here so that
# `interop --help` loads no command.
COMMANDS = {
    "inspect": "Say what a model file is, without running it.",
    "check": "Say whether B can go where A is.",
    "port": "Give weights another library's names, with proof.",
    "export": "Turn a checkpoint into ONNX and safetensors, with proof.",
    "verify": "Prove that an artefact, whoever wrote it, computes what its source does.",
    "bench": "Measure accuracy and latency, PyTorch against ONNX Runtime.",
    "finetune": "Train pretrained weights for a new task, with proof.",
    "assess": "Say which model is worth reusing, and which can stand in for which.",
    "gate": "Pass or fail a candidate by a policy, for CI.",
    "init": "Write a first policy, fitted to two models.",
    "explain": "Explain a rule: what, why, an example, the fix.",
    "doctor": "Look at this machine's installation.",
    "index": "Rebuild the index by which bare state dicts are known.",
}

EPILOG = """\b
Examples:
  interop inspect model.pth
  interop check prod.pth candidate.pth
  interop export candidate.pth -o candidate

\b
Exit codes: 0 holds, 1 does not hold, 2 bad usage or an unreadable file,
3 unknown or inconclusive, 4 a fault of interop's own.
"""


class Commands(click.Group):
    """A group that loads a command's module only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"interop.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="interop", message="%(prog)s %(version)s")
def interop() -> None:
    """Can this model go where that one is?

    Reads model files without running them, exports checkpoints with proof that nothing changed,
    and measures what a change of format or of model costs.
    """
