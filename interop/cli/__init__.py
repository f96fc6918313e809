"""The command line: parses, calls and prints. One module a command, loaded when it is asked for."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import sys
import warnings
from collections.abc import Sequence

from interop.errors import InteropError

_formatted = warnings.formatwarning  # what libraries warn of may hold a name


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; the one place that turns errors into codes."""
    # A file's facts are hundreds of thousands of small records that all stay: looking again and
    # again for garbage among them takes longer than reading them.
    gc.set_threshold(5_000_000, 50, 100)
    warnings.formatwarning = lambda *given, **named: _plain(_formatted(*given, **named))
    for stream in (sys.stdout, sys.stderr):  # a name that they cannot encode is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    plain = _needs_no_parser(given)
    if arguments is None:  # a process of its own: all that it holds goes with it
        atexit.register(gc.freeze)
    try:
        code = _run_unparsed(given) if plain else _run(arguments)
    except InteropError as error:
        code = _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        code = _say(_INTERRUPTED, 130)
    except BrokenPipeError as error:  # the reader of our output has closed it, as `head` does
        code = int(_printing(error))
    except Exception as error:
        code = _failed(error)
    sys.exit(code)


_INTERRUPTED = "interrupted; nothing was left half-written"
# The commands that are asked most often, without an option: how many files each takes.
_UNPARSED = {"check": 2, "inspect": 1}


def _needs_no_parser(given: Sequence[str]) -> bool:
    """Whether the arguments are one of these commands and its files alone: to load click takes
    longer than to read them. Streams that are not UTF-8, and Windows' wildcards, are click's."""
    return (
        len(given) > 1
        and _UNPARSED.get(given[0]) == len(given) - 1
        and not any(one.startswith("-") for one in given)
        and all(getattr(s, "encoding", "") == "utf-8" for s in (sys.stdout, sys.stderr))
        and sys.platform != "win32"
    )


def _run_unparsed(given: Sequence[str]) -> int:
    from interop.cli.output import check_targets, finish, progress

    command, *files = given
    check_targets((), *files)
    from interop import api

    finish(getattr(api, command)(*files, progress=progress), "text", ())


def _run(arguments: list[str] | None) -> int:
    from interop.cli.group import interop

    code = interop.main(args=arguments, prog_name="interop", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    """What click refuses, what cannot be written, and our own faults."""
    import click

    if isinstance(error, click.UsageError):
        line = error.format_message().rstrip(".")
        help_for = error.ctx.command_path if error.ctx else "interop"
        return _say(f"{line}; see '{help_for} --help'", 2)
    if isinstance(error, click.ClickException):
        return _say(error.format_message(), 2)
    if isinstance(error, click.Abort):
        return _say(_INTERRUPTED, 130)
    if isinstance(error, OSError) and _printing(error):
        return _say(f"standard output: cannot be written ({error.strerror}); make room", 2)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return _say(f"{error.filename}: no file can have so long a name; check the path", 2)
    import traceback

    click.echo(_plain(traceback.format_exc()), err=True, nl=False)
    return _say("a fault of interop's own; the lines above belong in a bug report", 4)


_PRINTING = {("click.utils", "echo"), *(("interop.cli.output", n) for n in ("echo", "finish"))}


def _printing(error: OSError) -> bool:
    """Whether it was printing that failed. What is left in the buffer is dropped then: it would
    fail once more when the interpreter goes."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    failed = at is not None and (at.tb_frame.f_globals.get("__name__"), at.tb_frame.f_code.co_name)
    if failed not in _PRINTING:
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
