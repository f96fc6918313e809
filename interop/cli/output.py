"""A Report -> stdout, the files asked for, and the exit code. Options that all commands share."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from interop import __version__
from interop.errors import ConfigError
from interop.facts import AnyPreprocessing, Labels, Report
from interop.report import FORMATS, render
from interop.report.plain import plain

# Pictures on which parity is proved; batches of 1, 2 and 3 use each once.

F = TypeVar("F", bound=Callable[..., Any])


def report_options(command: F) -> F:
    """--format and --report."""
    command = click.option(
        "--report",
        "reports",
        multiple=True,
        metavar="FORMAT:PATH",
        help=f"Also write the report to a file ({', '.join(FORMATS)}); repeatable.",
    )(command)
    return click.option(
        "--format",
        "form",
        type=click.Choice([f for f in FORMATS if f != "html"]),
        default="text",
        help="What to print on stdout.",
        show_default=True,
    )(command)


def interface_options(command: F) -> F:
    """--arch, --labels and --preprocess, for files that do not state their own."""
    command = click.option(
        "--arch",
        metavar="NAME",
        help="Which of several architectures it is that fit the weights alike.",
    )(command)
    command = click.option(
        "--preprocess",
        metavar="JSON|FILE",
        callback=_parse_preprocess,
        help="How images, texts or sounds are prepared, if the file does not say.",
    )(command)
    return click.option(
        "--labels",
        metavar="A,B,…|FILE|none",
        callback=_parse_labels,
        help="Class names in the order of the outputs, where the file names none.",
    )(command)


def _parse_labels(_c: click.Context, _p: click.Parameter, value: str | None) -> Labels | None:
    from interop.identity.metadata import read_labels

    return None if value is None else read_labels(value)


def _parse_preprocess(
    _c: click.Context, _p: click.Parameter, value: str | None
) -> AnyPreprocessing | None:
    from interop.identity.metadata import read_preprocessing

    return None if value is None else read_preprocessing(value)


def columns_of(given: tuple[str, ...]) -> dict[str, str]:
    """--column ROLE=NAME, repeated, by role. Raises ConfigError."""
    found = {}
    for one in given:
        role, equals, name = one.partition("=")
        if not equals or not role or not name:
            raise ConfigError(f"--column {one!r} is not ROLE=NAME", fix="write it as text=sentence")
        found[role] = name
    return found


def finish(report: Report, form: str, reports: tuple[str, ...]) -> NoReturn:
    """Print the report, write the files asked for, and exit with the report's code."""
    report = replace(report, environment={**environment(), **report.environment})
    targets = [_target(given) for given in reports]
    for kind, path in targets:
        write_file(path, render(report, kind))
    click.echo(_printable(render(report, form), form), nl=False)
    sys.stdout.flush()
    for option in _unused(report):
        said = f"interop: --{option} is ignored: each file states its own"
        click.echo(said, err=True)
    if form == "text" or not sys.stdout.isatty():
        line = plain(f"interop {report.command}: {report.outcome}; {report.summary}")
        click.echo(line, err=True)
    sys.exit(report.exit_code)


def _printable(text: str, form: str) -> str:
    """A report that other programs read, in ASCII with its format's own escapes where standard
    output is not UTF-8; what people read gets Python's escapes (`interop.cli.main`)."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if encoding.lower().replace("-", "") == "utf8" or text.isascii():
        return text
    if form in ("json", "sarif"):
        return json.dumps(json.loads(text), indent=2) + "\n"
    if form == "junit":
        return text.encode("ascii", "xmlcharrefreplace").decode("ascii")
    return text


def _unused(report: Report) -> list[str]:
    """What a person gave beside files that say it themselves."""
    context = click.get_current_context(silent=True)
    given = context.params if context is not None else {}
    found = []
    for option, fact in (("labels", "labels"), ("preprocess", "preprocessing")):
        stated = [i.facts[fact] for i in report.inputs if fact in i.facts]
        sources = [s.get("source", "") if s else "" for s in stated]
        if given.get(option) is not None and sources and f"--{option}" not in sources:
            found.append(option)
    return found


def check_targets(reports: tuple[str, ...], *inputs: str | Path) -> None:
    """Refuse a --report that could not be written, or would overwrite an input, before the work."""
    from interop.identity import split_place

    sources = [Path(split_place(i)[0]) for i in inputs]
    for given in reports:
        _, path = _target(given)
        if path.exists() and any(s.exists() and path.samefile(s) for s in sources):
            raise ConfigError(
                "is a file that was given to be read", where=str(path), fix="choose another place"
            )
        if path.is_dir():
            raise ConfigError("is a folder", where=str(path), fix="name a file in it")
        if not path.parent.is_dir():
            raise ConfigError("no such folder", where=str(path.parent), fix="make it first")


def _target(given: str) -> tuple[str, Path]:
    kind, colon, path = given.partition(":")
    if not colon or kind not in FORMATS or not path:
        raise ConfigError(
            f"--report {given!r} is not FORMAT:PATH", fix=f"formats: {', '.join(FORMATS)}"
        )
    return kind, Path(path)


def write_file(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a temporary sibling, then renamed into place."""
    path = path.resolve()  # a link stays a link
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_text(text, "utf-8", newline="\n")
            return
        part.write_text(text, "utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # a read-only folder refuses this too
            part.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot be written ({error.strerror})", where=str(path), fix="choose another place"
        ) from None


def environment() -> dict[str, Any]:
    """Where and when a report was made."""
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
        click.echo(f"\r\x1b[K{line}", err=True, nl=False)


def fetching(say: Callable[[str], None]) -> None:
    """Have `say` told how far a file that lies elsewhere is fetched."""
    from interop.reading.bytes import address

    address.progress = say


def progress_done() -> None:
    """Clear the line of progress."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
