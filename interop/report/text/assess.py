"""Which models can be reused on a task, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from interop.facts import Report
from interop.report import assessed
from interop.report.assessed import Assessed
from interop.report.table import WIDTH, grid, wrap
from interop.report.wording import one_line


def blocks(report: Report) -> list[list[str]]:
    of_all = Assessed(report)
    paragraphs = [
        _prose(" ".join(assessed.answers(of_all))),
        _models(of_all, assessed.data_in_words(of_all)),
        _prose(" ".join(assessed.folds_in_words(of_all))) if of_all.main else [],
    ]
    for one in assessed.tables(of_all):
        head = ["*" if h == assessed.FRONT else h for h in one.head]
        rows = [[one_line(cell) for cell in row] for row in one.rows]
        first, *rest = grid(head, rows, one.figures)
        paragraphs += [[one.title.upper(), *first], *rest, _prose(one.note)]
        if one.title == assessed.INTERCHANGE:
            paragraphs += [_replacements(assessed.sentences(of_all), assessed.MOST_SENTENCES)]
            paragraphs += [_prose(assessed.about_p(of_all))]
    return [*paragraphs, _prose("\n".join(map(one_line, assessed.notes(report))))]


def _prose(text: str) -> list[str]:
    """Text that fills lines; a line of its own for each that it has."""
    return [
        line
        for part in text.splitlines()
        for line in wrap(part, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _models(of_all: Assessed, data: str) -> list[str]:
    """Each model by its place, in full; and the data."""
    lines = []
    for name in of_all.names:
        given = of_all.given(name)
        words = [of_all.known_as(name), *([given.path, given.summary] if given else ())]
        lines += _prose("  ".join(map(one_line, words)))
    return lines + (_prose(f"data  {one_line(data)}") if data else [])


def _replacements(replacements: Sequence[tuple[str, str]], most: int) -> list[str]:
    lines = []
    for word, sentence in replacements[:most]:
        text = f"{word.ljust(3)}  {one_line(sentence)}"
        lines += wrap(text, WIDTH, subsequent_indent=" " * 5, break_on_hyphens=False)
    more = len(replacements) - most
    return [*lines, *([f"and {more} more (--report json:PATH has all)"] if more > 0 else ())]
