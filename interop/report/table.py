"""Rows of cells -> lines of at most 80 columns, the last column wrapped, or the widest ones.

Written by hand because a check must answer in milliseconds and a table library costs more than
the whole check does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

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
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    *sizes, last = sizes
    while sizes and max(sizes) > LEAST and sum(sizes) + gap * len(sizes) + min(last, ROOM) > width:
        sizes[sizes.index(max(sizes))] -= 1
    start = sum(sizes) + gap * len(sizes)
    room = max(width - start, ROOM)
    made: list[list[str]] = []
    for row in rows:
        lines = []
        parts = [_wrapped(c, size) for c, size in zip(row, (*sizes, room), strict=True)]
        for cells in zip_longest(*parts, fillvalue=""):
            front = "".join(c.ljust(s + gap) for c, s in zip(cells[:-1], sizes, strict=True))
            lines.append((front + cells[-1]).rstrip())
        made.append(lines)
    return made


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:  # as it is, with the spaces that it has
        return [cell]
    return wrap(cell, width, break_long_words=True, break_on_hyphens=False) or [""]


def shorten_path(path: str, most: int = 40) -> str:
    """A path by its end, where it is too long for a table."""
    return path if len(path) <= most else "…" + path[-(most - 1) :]
