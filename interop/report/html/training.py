"""A training's curves -> the drawings of a page."""

from __future__ import annotations

from collections.abc import Sequence

from interop.facts import Report, Unit
from interop.facts.sections.finetune import Epoch, FinetuneSection
from interop.report.curves import curves, figure_of
from interop.report.html import charts
from interop.report.html.charts import Line, Span
from interop.report.html.components import Figure
from interop.report.values import known


def figures(report: Report) -> list[Figure]:
    """The losses and the figure over the epochs, a drawing a phase and kind."""
    section = report.section(FinetuneSection)
    drawings = []
    for n, (phase, rows) in enumerate(curves(section)):
        name, unit = figure_of(section, phase)
        share = unit == Unit.SHARE
        losses = [
            Line(label, _points(rows, key), runtime=i)
            for i, (label, key) in enumerate(
                (("training", "train_loss"), ("validation", "validation_loss"))
            )
        ]
        values = [Line(name, _points(rows, "figure", 100.0 if share else 1.0), runtime=0)]
        drawings += [
            _drawn(f"loss-{n}", f"{phase}: loss", losses, "loss",
                   "Validation that rises while training falls is learning by heart."),
            _drawn(f"figure-{n}", f"{phase}: {name}", values, f"{name}{', %' if share else ''}",
                   "On the validation samples, after each epoch."),
        ]  # fmt: skip
    return [one for one in drawings if one is not None]


def _points(rows: Sequence[Epoch], key: str, scale: float = 1.0) -> tuple[Span, ...]:
    values = ((row.epoch, getattr(row, key)) for row in rows)
    return tuple((float(epoch), scale * value) for epoch, value in values if known(value))


def _drawn(name: str, title: str, lines: Sequence[Line], y_name: str, note: str) -> Figure | None:
    if not (there := [line for line in lines if line.points]):
        return None
    return Figure(title, charts.learning_curves(name, title, there, y_name), note)
