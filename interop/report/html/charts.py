"""Figures and their intervals -> drawings as inline SVG, by hand: a page needs six kinds.

Every drawing is `WIDTH` units wide and scales with its place. Colours are CSS classes of the page
(`r0`, `r1`: the runtime), so that light, dark and print each have their own; the runtime also has a
marker of its own, and the model a filled or a hollow one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from math import ceil, floor, inf, log10

from interop.facts import Unit
from interop.report.units import quantity

WIDTH = 400
LEFT, RIGHT = 10, 390
ROW, HEAD, AXIS = 36, 24, 38
COLOURS = 8
DOTS = 200  # drawn of each lane at most
HUGE = 1e100
LOG_FROM = 12  # the axis is logarithmic where the largest is so many times the smallest

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of a drawing: a label, its figures as text, and where they lie.

    `runtime` and `model` number the look. `band` is shaded behind it, `samples` are drawn as dots,
    `lines` are values marked across them, the first the heaviest.
    """

    label: str
    text: str
    value: float | None = None
    interval: Span | None = None
    runtime: int | None = None
    model: int = 0
    band: Span | None = None
    samples: tuple[float, ...] = ()
    lines: tuple[float, ...] = ()

    @property
    def look(self) -> str:
        return f"{'rn' if self.runtime is None else f'r{self.runtime % COLOURS}'} m{self.model % 2}"


@dataclass(frozen=True, slots=True)
class Block:
    """Rows under one heading."""

    title: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A series over x, in ascending order of x."""

    label: str
    points: tuple[Span, ...]
    runtime: int = 0
    model: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A place over two axes; `size` is the radius of its dot, `look` numbers its colour.

    What is not `held` is drawn hollow.
    """

    label: str
    text: str
    x: float
    y: float
    size: float = 5.0
    look: int = 0
    held: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A square: the lines of text in it, what it says in full, its class or its shade (0 to 1)."""

    lines: tuple[str, ...]
    said: str
    look: str = ""
    shade: float | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """Values between `low` and `high` -> units of the drawing between `start` and `end`."""

    low: float
    high: float
    log: bool = False
    start: float = LEFT
    end: float = RIGHT

    def at(self, value: float) -> float:
        low, high, v = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, v = log10(low), log10(high), log10(v)
        return self.start + (v - low) / (high - low) * (self.end - self.start)

    def ticks(self, gap: float = 48) -> list[float]:
        """Round values at least `gap` units apart."""
        values: list[float] = []
        for factors in ((1, 2, 5), (1,)) if self.log else ():
            values = _decades(self.low, self.high, factors)
            if self._clear(values, gap):
                break
        if len(values) < 2:
            values = _steps(self.low, self.high)
        return values if self._clear(values, gap) else values[:: ceil(len(values) / 4)]

    def _clear(self, values: Sequence[float], gap: float) -> bool:
        places = [self.at(v) for v in values]
        return all(abs(b - a) >= gap for a, b in pairwise(places))


def fitted(
    values: Sequence[float], *, zero: bool = False, bounds: Span | None = None, log: bool = False
) -> Scale:
    """A scale that holds all values with a little room; logarithmic only where it has to be."""
    # A stored report may hold any number: what lies beyond is drawn at the edge.
    low, high = (min(max(v, -HUGE), HUGE) for v in (min(values), max(values)))
    if low > 0 and (log or high / low > LOG_FROM) and not zero:
        room = max(high / low, 1.2) ** 0.05
        return Scale(low / room, high * room, log=True)
    room = (high - low) * 0.06 or abs(high) * 0.02 or 1.0
    inside = bounds is not None and bounds[0] <= low and high <= bounds[1]
    low, high = (0.0 if zero and low >= 0 else low - room), high + room
    if bounds and inside:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Scale(low, high)


def _steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    size = 10.0 ** floor(log10(rough))
    step = next(f * size for f in (1, 2, 5, 10) if f * size >= rough * 0.999)
    return [n * step for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float, factors: tuple[int, ...]) -> list[float]:
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]


# ---------------------------------------------------------------- drawings of rows


def intervals(
    name: str, title: str, blocks: Sequence[Block], unit: str, *, reference: float | None = None
) -> str:
    """Dots with their intervals on one axis, over a shaded band where a row has one."""
    values = [
        v
        for m in [m for b in blocks for m in b.marks]
        for v in (m.value, *(m.interval or ()), *(m.band or ()), reference)
        if v is not None
    ]
    bounds = (0.0, 1.0) if unit == Unit.SHARE else None
    scale = fitted(values, bounds=bounds, log=unit == Unit.RATIO) if values else None
    return _rows(name, title, blocks, scale, unit, _dot, reference)


def strips(name: str, title: str, blocks: Sequence[Block], unit: str) -> str:
    """Raw samples as dots, with lines across them."""
    values = [v for b in blocks for m in b.marks for v in (*m.samples, *m.lines)]
    return _rows(name, title, blocks, fitted(values) if values else None, unit, _strip)


def bars(name: str, title: str, blocks: Sequence[Block], unit: str) -> str:
    """Bars from zero."""
    values = [m.value for b in blocks for m in b.marks if m.value is not None]
    return _rows(name, title, blocks, fitted(values, zero=True) if values else None, unit, _bar)


def _rows(
    name: str,
    title: str,
    blocks: Sequence[Block],
    scale: Scale | None,
    unit: str,
    draw: Callable[[Mark, float, Scale], str],
    reference: float | None = None,
) -> str:
    y = 2.0
    parts: list[str] = []
    for block in blocks:
        if block.title:
            parts.append(_text(LEFT, y + 17, block.title, "head"))
            y += HEAD
        for mark in block.marks:
            parts.append(_row(mark, y, scale, draw))
            y += ROW
    front = _grid(scale, unit, y, reference) if scale else ""
    description = "; ".join(
        f"{b.title} {m.label}: {m.text}".strip() for b in blocks for m in b.marks
    )
    return _svg(name, title, description, front + "".join(parts), y + (AXIS if scale else 4))


def _row(
    mark: Mark, y: float, scale: Scale | None, draw: Callable[[Mark, float, Scale], str]
) -> str:
    drawn = draw(mark, y + 25, scale) if scale else ""
    return (
        f'<g class="{mark.look}"><title>{escape(mark.label)}: {escape(mark.text)}</title>{drawn}'
        + _text(LEFT, y + 13, mark.label)
        + _text(RIGHT, y + 13, mark.text, "figure")
        + "</g>"
    )


def _dot(mark: Mark, y: float, scale: Scale) -> str:
    out = ""
    if mark.band:
        a, b = (scale.at(v) for v in mark.band)
        out += f'<rect class="band" x="{a:.1f}" y="{y - 7:.1f}" width="{b - a:.1f}" height="14"/>'
    if mark.interval:
        a, b = (scale.at(v) for v in mark.interval)
        out += (
            f'<path class="rod" d="M{a:.1f} {y:.1f}H{b:.1f}'
            f'M{a:.1f} {y - 4:.1f}v8M{b:.1f} {y - 4:.1f}v8"/>'
        )
    if mark.value is not None:
        out += _marker(mark.runtime, scale.at(mark.value), y)
    return out


def _strip(mark: Mark, y: float, scale: Scale) -> str:
    # Dots of one path, each a line of no length: a tenth of the bytes of circles. They are spread
    # up and down by the golden ratio, which is even and the same for every drawing.
    dots = "".join(
        f"M{scale.at(v):.1f} {y + 10 * ((n * 0.618034) % 1 - 0.5):.1f}h0"
        for n, v in enumerate(thinned(mark.samples))
    )
    out = f'<path class="dots" d="{dots}"/>' if dots else ""
    for n, value in enumerate(mark.lines):
        tall = 8 if n == 0 else 7 - n
        x = scale.at(value)
        out += f'<path class="line{min(n, 2)}" d="M{x:.1f} {y - tall:.1f}V{y + tall:.1f}"/>'
    return out


def _bar(mark: Mark, y: float, scale: Scale) -> str:
    if mark.value is None:
        return ""
    a, b = scale.at(0.0), scale.at(mark.value)
    return f'<rect class="bar" x="{a:.1f}" y="{y - 6:.1f}" width="{b - a:.1f}" height="12" rx="2"/>'


def thinned(samples: Sequence[float], most: int = DOTS) -> list[float]:
    """At most so many samples, evenly by rank, the smallest and largest among them."""
    ranked = sorted(samples)
    if len(ranked) <= most:
        return list(samples)
    return [ranked[round(n * (len(ranked) - 1) / (most - 1))] for n in range(most)]


def _grid(scale: Scale, unit: str, bottom: float, reference: float | None) -> str:
    out = f'<path class="axis" d="M{LEFT} {bottom:.1f}H{RIGHT}"/>'
    for value in scale.ticks():
        x = scale.at(value)
        side = " first" if x < LEFT + 16 else " last" if x > RIGHT - 16 else ""
        out += f'<path class="grid" d="M{x:.1f} 2V{bottom:.1f}"/>'
        out += _text(x, bottom + 14, tick(value, unit), "tick" + side)
    if reference is not None:
        out += f'<path class="reference" d="M{scale.at(reference):.1f} 2V{bottom:.1f}"/>'
    words = {"ms": "milliseconds", "abs": "value", "bytes": "memory"}
    axis = words.get(unit, unit) + (", logarithmic axis" if scale.log else "")
    return out + _text(RIGHT, bottom + 30, axis, "figure quiet")


# ---------------------------------------------------------------- lines over batch size


def lines(
    name: str, title: str, series: Sequence[Line], x_name: str, y_name: str, *,
    even: bool = False, right: float = 286.0,
) -> str:  # fmt: skip
    """Lines with a marker at each point and the label at the end; y starts at zero.

    x is logarithmic as batch sizes are, unless it goes in `even` steps. Labels stand from `right`.
    """
    xs = sorted({x for s in series for x, _ in s.points})
    ys = [y for s in series for _, y in s.points]
    top, bottom, left = 22.0, 232.0, 48.0
    y_scale = replace(fitted([0.0, *ys], zero=True), start=bottom, end=top)
    x_scale = (_steady if even else _batches)(xs, left + 14, right - 10)
    body = _text(left - 40, 13, y_name, "quiet")
    body += _text((left + right) / 2, bottom + 34, x_name, "tick quiet")
    body += _levels(y_scale, left, right, lambda value: f"{value:g}")
    last = -inf
    for x in xs:
        if x_scale(x) - last >= 26:
            last = x_scale(x)
            body += _text(last, bottom + 16, f"{x:g}", "tick")
    body += f'<path class="axis" d="M{left} {bottom}H{right}"/>'
    ends = _apart([y_scale.at(s.points[-1][1]) for s in series], 17, top, bottom)
    for one, end in zip(series, ends, strict=True):
        mark = Mark(one.label, "", runtime=one.runtime, model=one.model)
        at = [(x_scale(x), y_scale.at(y)) for x, y in one.points]
        description = ", ".join(f"{_said(y)} at {x:g}" for x, y in one.points)
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        body += (
            f'<g class="{mark.look}"><title>{escape(one.label)}: {description}</title>'
            f'<path class="trend" d="M{path}"/>'
            f'<path class="leader" d="M{at[-1][0]:.1f} {at[-1][1]:.1f}L{right + 8} {end:.1f}"/>'
            + "".join(_marker(one.runtime, x, y) for x, y in at[:: ceil(len(at) / 20)])
            + _marker(one.runtime, right + 12, end)
            + _text(right + 21, end + 4, one.label)
            + "</g>"
        )
    description = "; ".join(
        f"{s.label}: " + ", ".join(f"{_said(y)} at {x:g}" for x, y in s.points) for s in series
    )
    return _svg(name, title, description, body, bottom + 42)


def learning_curves(
    name: str,
    title: str,
    series: Sequence[Line],
    y_name: str,
    *,
    x_name: str = "epoch",
    log: bool = False,
) -> str:
    """Lines over epochs, or over other counts, on axes that hold the values alone; the label at the
    end. `log`: the values lie far apart."""
    xs = [x for s in series for x, _ in s.points]
    top, bottom, left, right = 22.0, 182.0, 48.0, 286.0
    values = [y for s in series for _, y in s.points]
    y_scale = replace(fitted(values, log=log), start=bottom, end=top)
    x_scale = Scale(min(xs) - 0.5, max(xs) + 0.5, start=left, end=right)
    body = _text(left - 40, 13, y_name, "quiet")
    body += _text((left + right) / 2, bottom + 34, x_name, "tick quiet")
    body += _levels(y_scale, left, right, lambda value: f"{value:.4g}")
    for value in (v for v in x_scale.ticks(24) if v == round(v)):
        body += _text(x_scale.at(value), bottom + 16, f"{value:g}", "tick")
    body += f'<path class="axis" d="M{left} {bottom}H{right}"/>'
    ends = _apart([y_scale.at(s.points[-1][1]) for s in series], 17, top, bottom)
    for one, end in zip(series, ends, strict=True):
        at = [(x_scale.at(x), y_scale.at(y)) for x, y in one.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        body += (
            f'<g class="{Mark("", "", runtime=one.runtime, model=one.model).look}">'
            f"<title>{escape(one.label)}</title>"
            f'<path class="trend" d="M{path}"/>'
            f'<path class="leader" d="M{at[-1][0]:.1f} {at[-1][1]:.1f}L{right + 8} {end:.1f}"/>'
            + _marker(one.runtime, right + 12, end)
            + _text(right + 21, end + 4, one.label)
            + "</g>"
        )
    description = "; ".join(
        f"{s.label}: from {s.points[0][1]:.4g} to {s.points[-1][1]:.4g}" for s in series
    )
    return _svg(name, title, description, body, bottom + 42)


def _levels(scale: Scale, left: float, right: float, said: Callable[[float], str]) -> str:
    """The lines of a grid from side to side, each with its value at the left."""
    levels = [(scale.at(value), said(value)) for value in scale.ticks(24)]
    return "".join(
        f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
        + _text(left - 6, y + 4, words, "figure")
        for y, words in levels
    )


def _said(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _steady(xs: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    room = 0.0 if xs[0] < xs[-1] else 1.0
    return Scale(xs[0] - room, xs[-1] + room, False, start, end).at


def _batches(xs: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Batch sizes mostly double: they lie on a logarithmic axis; a single one in the middle."""
    if len(xs) < 2 or xs[0] <= 0:
        return Scale(xs[0] - 1, xs[-1] + 1, False, start, end).at
    return Scale(xs[0], xs[-1], True, start, end).at


def _apart(wanted: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Places as near to the wanted ones as may be, `gap` apart, none below the bottom."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    placed: dict[int, float] = {}
    last = top - gap
    for n in order:
        last = placed[n] = max(wanted[n], last + gap)
    limit = bottom
    for n in reversed(order):
        placed[n] = min(placed[n], limit)
        limit = placed[n] - gap
    return [placed[n] for n in range(len(wanted))]


# ---------------------------------------------------------------- one figure against another


def scatter(
    name: str, title: str, points: Sequence[Point], x_name: str, y_name: str,
    units: tuple[str, str], path: Sequence[Span] = (),
) -> str:  # fmt: skip
    """A dot for each point, its label beside the drawing; `path` is drawn through some of them."""
    top, bottom, left, right = 24.0, 252.0, 56.0, 256.0
    x_scale = replace(fitted([p.x for p in points]), start=left + 12, end=right - 12)
    bounds = (0.0, 1.0) if units[1] == Unit.SHARE else None
    y_scale = fitted([p.y for p in points], bounds=bounds)
    y_scale = replace(y_scale, start=bottom - 12, end=top + 12)
    body = _text(LEFT, 13, y_name, "quiet")
    body += _text((left + right) / 2, bottom + 34, x_name, "tick quiet")
    body += _levels(y_scale, left, right, lambda value: tick(value, units[1]))
    for value in x_scale.ticks(40):
        x = x_scale.at(value)
        body += f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>'
        body += _text(x, bottom + 16, tick(value, units[0]), "tick")
    body += f'<path class="axis" d="M{left} {bottom}H{right}"/>'
    if len(path) > 1:
        drawn = "L".join(f"{x_scale.at(x):.1f} {y_scale.at(y):.1f}" for x, y in path)
        body += f'<path class="front" d="M{drawn}"/>'
    ends = _apart([y_scale.at(p.y) for p in points], 17, top, bottom)
    # Leaders first and large dots before small ones: nothing hides what is small.
    for p, end in zip(points, ends, strict=True):
        x, y = x_scale.at(p.x), y_scale.at(p.y)
        body += f'<path class="leader" d="M{x:.1f} {y:.1f}L{right + 6} {end:.1f}"/>'
    for p, end in sorted(zip(points, ends, strict=True), key=lambda one: -one[0].size):
        look = f"r{p.look % COLOURS} {'m0' if p.held else 'm1'}"
        radius = f'r="{p.size:.1f}"'
        body += (
            f'<g class="{look}"><title>{escape(p.label)}: {escape(p.text)}</title>'
            f'<circle class="dot" cx="{x_scale.at(p.x):.1f}" cy="{y_scale.at(p.y):.1f}" {radius}/>'
            f'<circle class="dot" cx="{right + 11}" cy="{end:.1f}" r="4"/>'
            + _text(right + 20, end + 4, p.label)
            + "</g>"
        )
    description = "; ".join(f"{p.label}: {p.text}" for p in points)
    return _svg(name, title, description, body, bottom + 42)


# ---------------------------------------------------------------- truth against answer


def matrix(name: str, title: str, labels: Sequence[str], counts: Sequence[Sequence[float]]) -> str:
    """Counts as shaded cells, a row for each truth; the shade is the share of its row."""
    left, top = 84.0, 8.0
    size = min(30.0, (RIGHT - left) / len(labels))
    body, mistakes = "", []
    for i, row in enumerate(counts[: len(labels)]):
        whole = sum(row) or 1
        y = top + i * size
        body += _text(left - 6, y + size / 2 + 4, _short(labels[i]), "side")
        for j, count in enumerate(row[: len(labels)]):
            x = left + j * size
            share = max(min(count / whole, 1.0), 0.0)
            body += (
                f"<g><title>{escape(labels[i])} answered {escape(labels[j])}: {count:.0f}</title>"
                f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{size - 1:.1f}" '
                f'height="{size - 1:.1f}" fill-opacity="{0.06 + 0.8 * share:.2f}"/>'
            )
            if count and size >= 18:
                body += _text(x + size / 2 - 0.5, y + size / 2 + 4, f"{count:.0f}", "in")
            body += "</g>"
            if count and i != j:
                mistakes.append((count, f"{labels[i]} as {labels[j]}: {count:.0f}"))
    bottom = top + len(labels) * size
    for j, label in enumerate(labels):
        x = left + (j + 0.5) * size
        body += (
            f'<text class="side" transform="translate({x + 4:.1f} {bottom + 8:.1f}) rotate(-60)">'
            f"{escape(_short(label))}</text>"
        )
    worst = [words for _, words in sorted(mistakes, reverse=True)[:10]]
    return _svg(name, title, "; ".join(worst) or "no mistakes", body, bottom + 74)


def cells(
    name: str, title: str, rows: Sequence[str], columns: Sequence[str],
    squares: Sequence[Sequence[Cell]], *, slanted: bool = False, left: float = 116.0,
) -> str:  # fmt: skip
    """Squares in rows and columns, names at the left, of columns above or `slanted` below."""
    top = 8.0 if slanted else 22.0
    wide = min(52.0, (RIGHT - left) / max(len(columns), 1))
    high = min(wide, 36.0)
    body, texts = "", []
    for i, row in enumerate(rows):
        y = top + i * high
        body += _text(left - 6, y + high / 2 + 4, row, "side")
        for j, column in enumerate(columns):
            cell, x = squares[i][j], left + j * wide
            look = f"cell {cell.look}".strip()
            shade = f' fill-opacity="{cell.shade:.2f}"' if cell.shade is not None else ""
            body += (
                f"<g><title>{escape(cell.said)}</title>"
                f'<rect class="{look}" x="{x + 1:.1f}" y="{y + 1:.1f}" width="{wide - 2:.1f}" '
                f'height="{high - 2:.1f}"{shade}/>'
            )
            middle = y + high / 2 + 4 - 7 * (len(cell.lines) - 1)
            for n, line in enumerate(cell.lines):
                body += _text(x + wide / 2, middle + 14 * n, line, "in")
            body += "</g>"
            texts.append(cell.said)
            if i == 0 and not slanted:
                body += _text(x + wide / 2, 14, column, "tick")
    bottom = top + len(rows) * high
    if not slanted:
        return _svg(name, title, "; ".join(filter(None, texts)), body, bottom + 4)
    for j, column in enumerate(columns):
        place = f"translate({left + (j + 0.5) * wide + 4:.1f} {bottom + 10:.1f}) rotate(-60)"
        body += f'<text class="side" transform="{place}">{escape(column)}</text>'
    deep = 20 + 6.4 * max(map(len, columns), default=0)
    return _svg(name, title, "; ".join(filter(None, texts)), body, bottom + deep)


def _short(label: str) -> str:
    return label if len(label) <= 12 else label[:11] + "…"


# ---------------------------------------------------------------- what all of them are made of


def _marker(runtime: int | None, x: float, y: float) -> str:
    """A circle, square, diamond or triangle: the runtime, for whoever sees no colours."""
    if runtime is None or runtime % 4 == 0:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.2"/>'
    shapes = {1: "m-4-4h8v8h-8z", 2: "m0-5.4l5.4 5.4l-5.4 5.4l-5.4-5.4z", 3: "m0-5l5 9h-10z"}
    return f'<path class="dot" d="M{x:.1f} {y:.1f}{shapes[runtime % 4]}"/>'


def _text(x: float, y: float, words: str, look: str = "") -> str:
    kind = f' class="{look}"' if look else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _svg(name: str, title: str, description: str, body: str, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-text">{escape(description)}</desc>{body}</svg>'
    )


def tick(value: float, unit: str) -> str:
    """A round value on an axis, without digits that say nothing."""
    if unit == Unit.SHARE:
        return f"{100 * value:.4g} %"
    if unit == Unit.BYTES:
        return quantity(value, unit).replace(".0 ", " ") if value else "0"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
