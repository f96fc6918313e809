"""An options record -> the options of a command, and what was given -> the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from interop.options import Asked
from interop.report import FORMATS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

F = TypeVar("F", bound=Callable[..., Any])


def options(
    kind: type[DataclassInstance], only: Sequence[str] = (), into: str = "options"
) -> Callable[[F], F]:
    """An option for each field of the record that says how it is asked for (or for `only` these);
    the command is given the record as `into`. A record's own fields come first."""
    own = set(kind.__annotations__)
    every = sorted(fields(kind), key=lambda f: f.name not in own)
    asked = [f for f in every if "asked" in f.metadata and (not only or f.name in only)]

    def decorate(command: F) -> F:
        @wraps(command)
        def called(*args: Any, **given: Any) -> Any:
            values = {f.name: given.pop(f.name) for f in asked}
            known = {
                f.name: v for f, v in zip(asked, values.values(), strict=True) if v is not None
            }
            return command(*args, **{into: kind(**known)}, **given)

        for one in reversed(asked):
            called = _option(one)(called)
        return called  # type: ignore[return-value]

    return decorate


def _option(of: Field[Any]) -> Callable[[F], F]:
    asked: Asked = of.metadata["asked"]
    flags = asked.flags or (f"--{of.name.replace('_', '-')}",)
    if asked.kind is bool:
        return click.option(*flags, of.name, is_flag=True, help=asked.help)
    parse = asked.parse
    default = of.default if not callable(of.default_factory) else None
    if parse is not None:
        default = asked.shown or None
    return click.option(
        *flags,
        of.name,
        type=_type(asked),
        default=default,
        multiple=asked.many,
        metavar=asked.metavar,
        help=asked.help or None,
        show_default=default not in (None, ()),
        callback=None if parse is None else lambda _c, _p, v: None if v in (None, ()) else parse(v),
    )


def _type(asked: Asked) -> Any:
    if asked.choices:
        return click.Choice(asked.choices)
    if asked.kind is Path:
        return click.Path(path_type=Path)
    if asked.least is None:
        return asked.kind
    ranged: Any = click.IntRange if asked.kind is int else click.FloatRange
    return ranged(asked.least, asked.most)


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
