"""A TOML file -> its document, and the line on which each key was written.

The standard library's parser tells no lines; they serve `--show-config` and messages alone, so a
plain scan for table heads and keys is enough.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interop.errors import ConfigError
from interop.records import dataclass

Place = tuple[str | int, ...]

_HEAD = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"
                  r"\"[^\"]*\"|'[^']*'))*)\s*=")  # fmt: skip
_PART = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")


@dataclass(frozen=True, slots=True)
class Lines:
    """The line, counted from 1, of each key by its place: ("budgets", "size-mb")."""

    known: Mapping[Place, int]

    def within(self, front: Place) -> Lines:
        """The same for a table inside."""
        n = len(front)
        return Lines({p[n:]: line for p, line in self.known.items() if p[:n] == front})

    def origin(self, where: str, *place: str | int) -> str:
        """ "interop.toml:4"; a value of an inline table stands where that does."""
        for n in range(len(place), 0, -1):
            if place[:n] in self.known:
                return f"{where}:{self.known[place[:n]]}"
        return where


def load(path: Path, where: str = "") -> tuple[dict[str, Any], Lines]:
    """A file's document and lines. Raises ConfigError where it cannot be read, or is no TOML;
    `where` is what the file is called then."""
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise ConfigError(what, where=where or str(path), fix="give --policy FILE") from None
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond Python's limits
        what = f"is not TOML ({error})"
        raise ConfigError(what, where=where or str(path), fix="mend it") from None
    return document, Lines(dict(_scan(text)))


def _scan(text: str) -> Iterator[tuple[Place, int]]:
    table: Place = ()
    counts: dict[Place, int] = {}
    quoted = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quoted:  # within a text of several lines
            quoted = "" if quoted in line else quoted
            continue
        if head := _HEAD.match(line):
            table = _numbered(_parts(head[2]), counts, head[1] == "[[")
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_parts(key[1])), number
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                quoted = mark


def _numbered(names: Place, counts: dict[Place, int], several: bool) -> Place:
    """The place of a table: each [[table]] on the way has a number."""
    place: Place = ()
    for n, name in enumerate(names, 1):
        place = (*place, name)
        if n == len(names) and several:
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _parts(dotted: str) -> Place:
    return tuple(p.strip("\"'") for p in _PART.findall(dotted))
