"""The command line: parses, calls and prints. One module a command, loaded when it is asked for."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import warnings
from importlib import import_module

import click

from interop import __version__
from interop.errors import InteropError

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


_formatted = warnings.formatwarning  # what libraries warn of may hold a name


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


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; the one place that turns errors into codes."""
    # A file's facts are hundreds of thousands of small records that all stay: looking again and
    # again for garbage among them takes longer than reading them.
    gc.set_threshold(5_000_000, 50, 100)
    warnings.formatwarning = lambda *given, **named: _plain(_formatted(*given, **named))
    for stream in (sys.stdout, sys.stderr):  # a name that they cannot encode is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = interop.main(args=arguments, prog_name="interop", standalone_mode=False)
    except InteropError as error:
        code = _say(str(error), error.exit_code)
    except click.UsageError as error:
        line = error.format_message().rstrip(".")
        help_for = error.ctx.command_path if error.ctx else "interop"
        code = _say(f"{line}; see '{help_for} --help'", 2)
    except click.ClickException as error:
        code = _say(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        code = _say("interrupted; nothing was left half-written", 130)
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        sys.stderr.close()
        code = 0
    except Exception as error:
        if isinstance(error, OSError) and _printing(error):
            code = _say(f"standard output: cannot be written ({error.strerror}); make room", 2)
        elif isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            code = _say(f"{error.filename}: no file can have so long a name; check the path", 2)
        else:
            import traceback

            click.echo(_plain(traceback.format_exc()), err=True, nl=False)
            code = _say("a fault of interop's own; the lines above belong in a bug report", 4)
    sys.exit(code if isinstance(code, int) else 0)


def _printing(error: OSError) -> bool:
    """Whether it was printing that failed. What is left in the buffer is dropped then: it would
    fail once more when the interpreter goes."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    failed = at is not None and (at.tb_frame.f_globals.get("__name__"), at.tb_frame.f_code.co_name)
    if failed not in (("click.utils", "echo"), ("interop.cli.output", "finish")):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _plain(text: str) -> str:
    from interop.report.sanitize import plain

    return plain(text)


def _say(line: str, code: int) -> int:
    from interop.cli.output import say

    say(f"interop: {' '.join(line.split())}")
    return code
