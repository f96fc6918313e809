"""How a model was fed, for a terminal."""

from __future__ import annotations

from interop.facts import Fed
from interop.report import fed as words
from interop.report.table import WIDTH, table, wrap


def blocks(fed: Fed) -> list[list[str]]:
    """An answer a question, and the preparations that were tried."""
    found = [wrap(words.headline(fed), WIDTH, subsequent_indent="  ")]
    if fed.why:
        return found
    tables = (words.answers(fed), words.tried(fed))
    found += [table([list(t.head), *map(list, t.rows)]) for t in tables]
    found[-1] += wrap(tables[-1].note, WIDTH)
    return found
