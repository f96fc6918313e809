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
