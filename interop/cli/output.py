"""A Report -> stdout, the files asked for, and the exit code; lines of progress.

All that a command prints goes through here, where names lose what could steer a terminal or a CI
server: `print_lines` for stdout, `say`, `log` and `progress` for stderr.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from interop import __version__
from interop.errors import ConfigError
from interop.facts import Report
from interop.records import replace
from interop.report import FORMATS, render
from interop.report.sanitize import brief, in_json, one_name

MOST_LINE = 4000  # characters of a line on stderr


def finish(report: Report, form: str, reports: tuple[str, ...]) -> NoReturn:
    """Print the report, write the files asked for, and exit with the report's code."""
    progress_done()
    if form != "text" or reports:  # a text says nothing of where it was made
        report = replace(report, environment={**environment(), **report.environment})
    _write(report, [_target(given) for given in reports])
    echo(_printable(render(report, form), form))  # each form has its own escapes
    sys.stdout.flush()
    for option in _unused(report):
        say(f"interop: --{option} is ignored: each file states its own")
    if form == "text" or not sys.stdout.isatty():
        say(f"interop {report.command}: {report.outcome}; {report.summary}")
    sys.exit(report.exit_code)


def _write(report: Report, targets: list[tuple[str, Path]]) -> None:
    if targets:
        from interop.files import write_whole

        for kind, path in targets:
            write_whole(path, render(report, kind))


def _printable(text: str, form: str) -> str:
    """A report that other programs read, in ASCII with its format's own escapes where standard
    output is not UTF-8; what people read gets Python's escapes (`interop.cli.main`)."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if encoding.lower().replace("-", "") == "utf8" or text.isascii():
        return text
    if form in ("json", "sarif"):
        import json

        return in_json(json.dumps(json.loads(text), indent=2)) + "\n"
    if form == "junit":
        return text.encode("ascii", "xmlcharrefreplace").decode("ascii")
    return text


def _unused(report: Report) -> list[str]:
    """What a person gave beside files that say it themselves."""
    if "click" not in sys.modules:
        return []
    import click

    from interop.identity.user_facts import FromData

    context = click.get_current_context(silent=True)
    given = context.params if context is not None else {}
    options = []
    for option, fact in (("labels", "labels"), ("preprocess", "preprocessing")):
        stated = [i.facts[fact] for i in report.inputs if fact in i.facts]
        sources = [s.get("source", "") if s else "" for s in stated]
        measured = isinstance(given.get(fact), FromData)
        if (
            given.get(fact) is not None
            and not measured
            and sources
            and f"--{option}" not in sources
        ):
            options.append(option)
    return options


def check_targets(reports: tuple[str, ...], *inputs: str | Path) -> None:
    """Refuse a --report that could not be written, or would overwrite an input, before the work."""
    from interop.identity import split_place

    sources = [Path(split_place(i)[0]) for i in inputs]
    for given in reports:
        _, path = _target(given)
        if path.exists() and any(s.exists() and path.samefile(s) for s in sources):
            what = "is a file that was given to be read"
            raise ConfigError(what, where=str(path), fix="choose another place")
        if path.is_dir():
            raise ConfigError("is a folder", where=str(path), fix="name a file in it")
        if not path.parent.is_dir():
            raise ConfigError("no such folder", where=str(path.parent), fix="make it first")


def _target(given: str) -> tuple[str, Path]:
    kind, colon, path = given.partition(":")
    if not colon or kind not in FORMATS or not path:
        what = f"--report {given!r} is not FORMAT:PATH"
        raise ConfigError(what, fix=f"formats: {', '.join(FORMATS)}")
    return kind, Path(path)


def environment() -> dict[str, Any]:
    """Where and when a report was made."""
    import platform

    return {
        "interop": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "unix_time": int(time.time()),
    }


def progress(line: str) -> None:
    """A line of progress, on a terminal only."""
    if sys.stderr.isatty():
        echo(f"\r\x1b[K{brief(line, MOST_LINE)}", err=True)


def log(line: str) -> None:
    """A line that stays, on a terminal only."""
    if sys.stderr.isatty():
        say(line)


def say(line: str) -> None:
    """A line on stderr, wherever that goes."""
    progress_done()
    echo(f"{brief(line, MOST_LINE)}\n", err=True)


def print_lines(*lines: str) -> None:
    """Lines on stdout."""
    echo("".join(f"{one_name(line)}\n" for line in lines))


def say_own_code(*references: str | None) -> None:
    """What of a person's own is about to be run."""
    for reference in references:
        if reference:
            say(f"running {reference}: your own code")


def progress_done() -> None:
    """Clear the line of progress."""
    if sys.stderr.isatty():
        echo("\r\x1b[K", err=True)


def echo(text: str, *, err: bool = False) -> None:
    """Text on stdout or stderr; by click where it is loaded, which knows streams that are not
    UTF-8."""
    if "click" in sys.modules:
        import click

        click.echo(text, err=err, nl=False)
        return
    stream = sys.stderr if err else sys.stdout
    stream.write(text)
    stream.flush()
