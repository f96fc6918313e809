"""Rows of cells -> lines of at most 80 columns, the last column wrapped.

Written by hand because a check must answer in milliseconds and a table library costs more than
the whole check does.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

WIDTH = 80


def table(rows: Sequence[Sequence[str]], *, width: int = WIDTH, gap: int = 2) -> list[str]:
    """Left-aligned columns; the last takes what is left of the width, and wraps."""
    if not rows:
        return []
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    start = sum(sizes) + gap * len(sizes)
    room = max(width - start, 20)
    lines: list[str] = []
    for row in rows:
        cells = "".join(c.ljust(size + gap) for c, size in zip(row[:-1], sizes, strict=True))
        parts = wrap(row[-1], room, break_long_words=True, break_on_hyphens=False) or [""]
        lines.append((cells + parts[0]).rstrip())
        lines += [" " * start + part for part in parts[1:]]
    return lines


def shorten_path(path: str, most: int = 40) -> str:
    """A path by its end, where it is too long for a table."""
    return path if len(path) <= most else "…" + path[-(most - 1) :]


LEAST = 14  # of the first column's width, where other columns want the line


def grid(
    head: Sequence[str], rows: Sequence[Sequence[str]], figures: Sequence[int] = (),
    *, width: int = WIDTH, gap: int = 2,
) -> list[list[str]]:  # fmt: skip
    """Columns under a head that wraps, `figures` of them set to the right; one block of lines.

    Where the line is full the first column is cut in the middle of its words; columns that still do
    not fit follow in further blocks, under the same first column. A last column that is no figure
    wraps.
    """
    last = len(head) - 1
    loose = last if last and last not in figures else None
    sizes = [_wanted(head[i], [r[i] for r in rows]) for i in range(len(head))]
    least = min(sizes[0], LEAST)
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
            said = [_at(cells[i], place, own[i], i in figures) for i in part]
            lines.append((" " * gap).join(said).rstrip())
    return lines


def _cell(text: str, size: int, wraps: bool) -> list[str]:
    return (wrap(text, size, break_on_hyphens=False) or [""]) if wraps else [shorten(text, size)]


def _at(cell: Sequence[str], place: int, size: int, right: bool) -> str:
    said = cell[place] if -len(cell) <= place < len(cell) else ""
    return said.rjust(size) if right else said.ljust(size)


def shorten(text: str, most: int) -> str:
    """A name without its middle, where it is too long: what tells names apart is at the ends."""
    if len(text) <= most:
        return text
    front = (most - 1) // 2
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"
