"""A training's curves -> small tables for a terminal or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from interop.facts import Report, Unit
from interop.facts.sections.finetune import BestEpoch, Epoch, FinetuneSection
from interop.report.table import table
from interop.report.units import quantity
from interop.report.values import known

MOST_ROWS = 24
WRITTEN = "best, written"


def curves(section: FinetuneSection) -> list[tuple[str, list[Epoch]]]:
    """The epochs of each phase."""
    rows = section.curves or ()
    return [(phase, list(own)) for phase, own in groupby(rows, lambda row: row.phase)]


def figure_of(section: FinetuneSection, phase: str) -> tuple[str, Unit]:
    """What a phase's figure is called, and its unit."""
    if phase == "pretrain":
        return "variance explained", Unit.SHARE
    figure = section.figure
    return (figure.name, figure.unit) if figure else ("figure", Unit.ABS)


def learning_table(report: Report) -> list[list[str]]:
    """A table a phase; the epoch whose weights were written, and the last, are marked."""
    blocks = []
    for head, body, left in shortened(report, MOST_ROWS):
        rest = [f"and {left} more epochs (--report json:PATH has all)"] if left else []
        blocks.append([*table([head, *body]), *rest])
    return blocks


def shortened(report: Report, most: int) -> list[tuple[list[str], list[list[str]], int]]:
    """Of each phase the head of its table, at most so many epochs, and how many are left out.

    Epochs are taken evenly, the first and the last among them, and the one whose weights were
    written: the best of all, which says so in its last cell.
    """
    section = report.section(FinetuneSection)
    best = section.best
    tables = []
    for phase, rows in curves(section):
        name, unit = figure_of(section, phase)
        head = [phase, "loss", "validation", name, "rate", "s", ""]
        body = []
        for row in _some(rows, best, most):
            marks = [WRITTEN] if _is(row, best) else []
            marks += ["last"] if row is rows[-1] else []
            body.append([
                str(row.epoch), _number(row.train_loss), _number(row.validation_loss),
                quantity(row.figure, unit) if known(row.figure) else "-",
                f"{row.rate:.1e}", f"{row.seconds:.1f}", ", ".join(marks),
            ])  # fmt: skip
        tables.append((head, body, len(rows) - len(body)))
    return tables


def _some(rows: Sequence[Epoch], best: BestEpoch | None, most: int) -> list[Epoch]:
    """All rows, or so many of them evenly, the first, the best and the last among them."""
    if len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 2)
    picks = {round(i * step) for i in range(most - 1)}
    return [r for i, r in enumerate(rows) if i in picks or _is(r, best)]


def _is(row: Epoch, best: BestEpoch | None) -> bool:
    return best is not None and (row.phase, row.epoch) == (best.phase, best.epoch)


def _number(value: float) -> str:
    return f"{value:.4f}" if known(value) else "-"
