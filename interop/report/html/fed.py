"""How a model was fed -> a page's card, table and drawing."""

from __future__ import annotations

from interop.facts import Report, TriedPreparation
from interop.facts.sections.check import InspectSection
from interop.report import fed as words
from interop.report.html import charts
from interop.report.html.charts import Line
from interop.report.html.components import Card, Figure
from interop.report.values import Table, known

_APART = 1.5  # times the best, from where another preparation is worth a line
_LEAST = 1e-6  # a divergence of 0 has no place on a logarithmic axis


def cards(report: Report) -> list[Card]:
    fed = report.section(InspectSection).fed
    if fed is None:
        return []
    table = None if fed.why else words.answers(fed)
    return [Card("How was it fed?", words.headline(fed), table)]


def tables(report: Report) -> list[Table]:
    fed = report.section(InspectSection).fed
    return [] if fed is None or fed.why else [words.tried(fed)]


def figures(report: Report) -> list[Figure]:
    """The divergence of each layer: of the best preparation, and of the next kind of numbers."""
    fed = report.section(InspectSection).fed
    if fed is None or not fed.tried:
        return []
    best, *rest = fed.tried
    others = [t for t in rest if t.numbers != best.numbers and t.ratio >= _APART] or rest
    shown = {"best": best, **({"next": others[0]} if others else {})}
    lines = [_line(label, t, n) for n, (label, t) in enumerate(shown.items())]
    if not all(line.points for line in lines):
        return []
    title = "Divergence by layer"
    drawing = charts.learning_curves(
        "divergence", title, lines, "nats", x_name="BatchNorm, in the order in which they run",
        log=True,
    )  # fmt: skip
    names = "; ".join(f"{label}: {t.numbers}" for label, t in shown.items())
    note = f"{names}. A right preparation stays near 0, and below {fed.floor:g} in most layers."
    return [Figure(title, drawing, note)]


def _line(label: str, tried: TriedPreparation, number: int) -> Line:
    points = ((n + 1.0, max(v, _LEAST)) for n, v in enumerate(tried.layers) if known(v))
    return Line(label, tuple(points), runtime=number)
