"""The plain records that the page's template lays out, and tables of facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interop.facts import Json
from interop.report.values import MOST_ROWS, Table, plain


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing (SVG source, safe to embed) and how to read it."""

    title: str
    svg: str
    note: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One sample that flipped: a picture (base64 of a PNG) or its text, and who says what of it."""

    png: str
    text: str
    name: str
    words: tuple[tuple[str, str], ...]
    right: str


@dataclass(frozen=True, slots=True)
class Flips:
    """All samples that flipped between two runs, and those that a page can show."""

    table: Table
    tiles: tuple[Tile, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A question, its answer in a sentence, and the figures that it rests on."""

    question: str
    answer: str
    table: Table | None = None


def flat(facts: Mapping[str, Json], front: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows: "head, outputs" and "10"."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{front}, {key}" if front else str(key)
        if isinstance(value, Mapping) and value:
            rows += flat(value, name)
        else:
            rows.append((name.replace("_", " "), plain(value, str(key))))
    if not front and len(rows) > MOST_ROWS:
        more = len(rows) - MOST_ROWS
        rows = [*rows[:MOST_ROWS], ("…", f"{more} more, in the JSON report")]
    return rows


def facts_table(title: str, facts: Mapping[str, Json], note: str = "") -> Table | None:
    """Facts as a table of two columns; None where there are none."""
    return Table(title, (), tuple(flat(facts)), note=note) if facts else None
