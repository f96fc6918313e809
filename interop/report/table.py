"""Rows of cells -> lines of at most 80 columns, the last column wrapped, or the widest ones.

Written by hand because a check must answer in milliseconds and a table library costs more than
the whole check does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from interop.report.sanitize import brief

WIDTH = 80
ROOM = 20  # of the last column, where it wraps
LEAST = 12  # of any other


def table(rows: Sequence[Sequence[str]], *, width: int = WIDTH, gap: int = 2) -> list[str]:
    """Left-aligned columns; the last takes what is left of the width, and wraps.

    Where the others leave it too little, the widest of them wrap too.
    """
    return [line for lines in by_row(rows, width=width, gap=gap) for line in lines]


def by_row(rows: Sequence[Sequence[str]], *, width: int = WIDTH, gap: int = 2) -> list[list[str]]:
    """The same, the lines of each row by themselves."""
    if not rows:
        return []
    rows = [list(map(brief, row)) for row in rows]
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    *sizes, last = sizes
    while sizes and max(sizes) > LEAST and sum(sizes) + gap * len(sizes) + min(last, ROOM) > width:
        sizes[sizes.index(max(sizes))] -= 1
    start = sum(sizes) + gap * len(sizes)
    room = max(width - start, ROOM)
    blocks: list[list[str]] = []
    for row in rows:
        lines = []
        parts = [_wrapped(c, size) for c, size in zip(row, (*sizes, room), strict=True)]
        for cells in zip_longest(*parts, fillvalue=""):
            front = "".join(c.ljust(s + gap) for c, s in zip(cells[:-1], sizes, strict=True))
            lines.append((front + cells[-1]).rstrip())
        blocks.append(lines)
    return blocks


def wrap(text: str, width: int, **how: Any) -> list[str]:
    """textwrap's lines of a text, in which nothing steers and no word is endless."""
    return textwrap.wrap(brief(text), width, **how)


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:  # as it is, with the spaces that it has
        return [cell]
    return wrap(cell, width, break_long_words=True, break_on_hyphens=False) or [""]


def shorten_path(path: str, most: int = 40) -> str:
    """A path by its end, where it is too long for a table."""
    return path if len(path) <= most else "…" + path[-(most - 1) :]


FIRST = 14  # of a grid's first column, where other columns want the line


def grid(
    head: Sequence[str], rows: Sequence[Sequence[str]], figures: Sequence[int] = (),
    *, width: int = WIDTH, gap: int = 2,
) -> list[list[str]]:  # fmt: skip
    """Columns under a head that wraps, `figures` of them set to the right; one block of lines.

    Where the line is full the first column is cut in the middle of its words; columns that still do
    not fit follow in further blocks, under the same first column. A last column that is no figure
    wraps.
    """
    head, rows = list(map(brief, head)), [list(map(brief, row)) for row in rows]
    last = len(head) - 1
    loose = last if last and last not in figures else None
    sizes = [_wanted(head[i], [r[i] for r in rows]) for i in range(len(head))]
    least = min(sizes[0], FIRST)
    blocks: list[list[int]] = []
    part: list[int] = []
    left = width - least
    for i in range(1, len(head)):
        need = gap + (min(sizes[i], 24) if i == loose else sizes[i])
        if part and need > left:
            blocks.append(part)
            part, left = [], width - least
        part.append(i)
        left -= need
    blocks.append(part)
    return [_block(head, rows, [0, *part], sizes, figures, loose, width, gap) for part in blocks]


def _wanted(head: str, cells: Sequence[str]) -> int:
    """The width of a column: that of its widest cell or of its head's longest word."""
    return max([len(c) for c in cells] + [len(w) for w in head.split()], default=0)


def _block(
    head: Sequence[str], rows: Sequence[Sequence[str]], part: Sequence[int], sizes: Sequence[int],
    figures: Sequence[int], loose: int | None, width: int, gap: int,
) -> list[str]:  # fmt: skip
    own = {i: sizes[i] for i in part}
    rest = sum(gap + (min(own[i], 24) if i == loose else own[i]) for i in part[1:])
    own[0] = min(own[0], max(width - rest, 1))
    if loose in own:
        used = sum(gap + own[i] for i in part if i != loose)
        own[loose] = max(min(own[loose], width - used), 8)
    lines: list[str] = []
    for n, row in enumerate([head, *rows]):
        cells = {i: _cell(row[i], own[i], wraps=n == 0 or i == loose) for i in part}
        tall = max(len(c) for c in cells.values())
        for at in range(tall):
            # A head stands on its column: its last words are next to the figures.
            place = at - tall if n == 0 else at
            texts = [_at(cells[i], place, own[i], i in figures) for i in part]
            lines.append((" " * gap).join(texts).rstrip())
    return lines


def _cell(text: str, size: int, wraps: bool) -> list[str]:
    return (wrap(text, size, break_on_hyphens=False) or [""]) if wraps else [shorten(text, size)]


def _at(cell: Sequence[str], place: int, size: int, right: bool) -> str:
    text = cell[place] if -len(cell) <= place < len(cell) else ""
    return text.rjust(size) if right else text.ljust(size)


def shorten(text: str, most: int) -> str:
    """A name without its middle, where it is too long: what tells names apart is at the ends."""
    if len(text) <= most:
        return text
    front = (most - 1) // 2
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"
