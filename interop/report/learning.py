"""A training's curves -> small tables for a terminal or Markdown, and drawings for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from interop.facts import Json, Report
from interop.report import plots
from interop.report.plots import Line, Span
from interop.report.table import table
from interop.report.units import quantity
from interop.report.view import Figure, known

MOST_ROWS = 24
WRITTEN = "best, written"
Row = Mapping[str, Json]


def curves(report: Report) -> list[tuple[str, list[Row]]]:
    """The epochs of each phase, as `details["curves"]` has them."""
    rows = [r for r in report.details.get("curves") or () if isinstance(r, Mapping)]
    return [(str(name), list(own)) for name, own in groupby(rows, lambda r: r.get("phase"))]


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
    figure = report.details.get("figure") or {}
    best = report.details.get("best") or {}
    made = []
    for phase, rows in curves(report):
        unsupervised = phase == "pretrain"
        name = "variance explained" if unsupervised else str(figure.get("name", "figure"))
        unit = "share" if unsupervised else str(figure.get("unit", "abs"))
        head = [phase, "loss", "validation", name, "rate", "s", ""]
        body = []
        for row in _some(rows, best, most):
            marks = [WRITTEN] if _is(row, best) else []
            marks += ["last"] if row is rows[-1] else []
            body.append([
                str(row["epoch"]), _number(row["train_loss"]), _number(row["validation_loss"]),
                quantity(row["figure"], unit) if known(row["figure"]) else "-",
                f"{row['rate']:.1e}", f"{row['seconds']:.1f}", ", ".join(marks),
            ])  # fmt: skip
        made.append((head, body, len(rows) - len(body)))
    return made


def _some(rows: Sequence[Row], best: Row, most: int) -> list[Row]:
    """All rows, or so many of them evenly, the first, the best and the last among them."""
    if len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 2)
    picks = {round(i * step) for i in range(most - 1)}
    return [r for i, r in enumerate(rows) if i in picks or _is(r, best)]


def _is(row: Row, best: Row) -> bool:
    return (row.get("phase"), row.get("epoch")) == (best.get("phase"), best.get("epoch"))


def _number(value: Json) -> str:
    return f"{value:.4f}" if known(value) else "-"


def figures(report: Report) -> list[Figure]:
    """The losses and the figure over the epochs, a drawing a phase and kind."""
    figure = report.details.get("figure") or {}
    made = []
    for n, (phase, rows) in enumerate(curves(report)):
        name = "variance explained" if phase == "pretrain" else str(figure.get("name", "figure"))
        share = phase == "pretrain" or figure.get("unit") == "share"
        losses = [
            Line(label, _points(rows, key), runtime=i)
            for i, (label, key) in enumerate(
                (("training", "train_loss"), ("validation", "validation_loss"))
            )
        ]
        values = [Line(name, _points(rows, "figure", 100.0 if share else 1.0), runtime=0)]
        made += [
            _drawn(f"loss-{n}", f"{phase}: loss", losses, "loss",
                   "Validation that rises while training falls is learning by heart."),
            _drawn(f"figure-{n}", f"{phase}: {name}", values, f"{name}{', %' if share else ''}",
                   "On the validation samples, after each epoch."),
        ]  # fmt: skip
    return [one for one in made if one is not None]


def _points(rows: Sequence[Row], key: str, scale: float = 1.0) -> tuple[Span, ...]:
    return tuple(
        (float(r["epoch"]), scale * r[key]) for r in rows if known(r.get(key)) and known(r["epoch"])
    )


def _drawn(name: str, title: str, lines: Sequence[Line], y_name: str, note: str) -> Figure | None:
    there = [line for line in lines if line.points]
    if not there:
        return None
    return Figure(title, plots.learning_curves(name, title, there, y_name), note)
