"""A Report of `assess` -> the answers and drawings that the page has besides its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean

from interop.facts import Group, Json, Measurement, Unit
from interop.facts.sections.assess import FoldCurve, LayerLikeness
from interop.report import assessed
from interop.report.assessed import Assessed
from interop.report.html import charts
from interop.report.html.bench import matrices
from interop.report.html.charts import Block, Cell, Line, Mark, Point, Span
from interop.report.html.components import Card, Figure
from interop.report.table import shorten
from interop.report.values import Table, interval_of, known, listed

MOST_SAID = 12  # sentences of a card
MOST_ALIKE = 3  # pairs whose layers are drawn
MOST_KEYS = 4  # curves of training
LABELS = 262.0  # where labels of lines begin
LOOKS = {"yes": "yes", "no": "no", assessed.OPEN: "unknown", assessed.NOT_COMPARED: "none"}


# ---------------------------------------------------------------- the answers


def cards(of_all: Assessed) -> list[Card]:
    """The questions that models are assessed for, each with its answer first."""
    made = (make(of_all) for make in (_reuse, _stand_in, _foretold, _own, _basis))
    return [card for card in made if card is not None]


def _reuse(of_all: Assessed) -> Card | None:
    if not (sentences := assessed.answers(of_all)):
        return None
    whole = assessed.ranking(of_all)
    columns = [0, *([2] if of_all.main else []), *_places(whole.head, ("ms a sample", "size, MB"))]
    head = tuple(whole.head[i] for i in columns)
    rows = tuple((shorten(r[0], 30), *(r[i] for i in columns[1:])) for r in whole.rows)
    note = assessed.front_in_words(of_all).replace(" (*)", "")
    figures = tuple(range(1, len(head)))
    return Card("Which should I reuse?", " ".join(sentences), Table("", head, rows, figures, note))


def _places(head: Sequence[str], wanted: Iterable[str]) -> list[int]:
    return [head.index(name) for name in wanted if name in head]


def _stand_in(of_all: Assessed) -> Card | None:
    if not (replacements := assessed.sentences(of_all)) or assessed.interchange(of_all) is None:
        return None
    tally = Counter(word for word, _ in replacements)
    answer = (
        f"Of {len(replacements)} replacements {tally['yes']} are shown to hold, {tally['no']} are "
        f"shown not to, and {tally[assessed.OPEN]} are open."
    )
    more = len(replacements) - MOST_SAID
    rest = f"And {more} more, in the JSON report. " if more > 0 else ""
    rows = tuple(replacements[:MOST_SAID])
    table = Table("", ("", "said of it"), rows, (), f"{rest}{assessed.about_p(of_all)}")
    return Card("Which can stand in for which?", answer, table)


def _foretold(of_all: Assessed) -> Card | None:
    if (table := assessed.predicted(of_all)) is None:
        return None
    return Card("Could I have known without training?", _nearest(of_all), table)


def _nearest(of_all: Assessed) -> str:
    """Which score came nearest to the order of the outcome, of those that all models have."""
    table = assessed.predicted(of_all)
    scores = [(row[0], float(row[1])) for row in (table.rows if table else ()) if _whole(row[1])]
    if not scores:
        return "Not known: no score that all models have was held against an order."
    best = max(value for _, value in scores)
    names = [name for name, value in scores if value == best]
    if best < 0.5:
        return f"No: the nearest, {listed(names)}, comes to {best:.2f}, where 1 is the same order."
    word = "In hindsight" if best > 0.95 else "In part"
    came = "comes" if len(names) == 1 else "come"
    return f"{word}: {listed(names)} {came} to {best:.2f}, where 1 is the same order."


def _whole(cell: str) -> bool:
    """Whether it is a figure of all models: nothing but the number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _own(of_all: Assessed) -> Card | None:
    if (table := assessed.as_it_is(of_all)) is None:
        return None
    count = len(table.rows)
    answer = f"{count} of {len(of_all.names)} models have a head for this task."
    return Card("Do they work as they are?", answer, table)


def _basis(of_all: Assessed) -> Card | None:
    if not (data := assessed.data_in_words(of_all)):
        return None
    rows = [("how", sentence) for sentence in assessed.folds_in_words(of_all)]
    rows += [("limit", sentence) for sentence in assessed.limits(of_all)]
    rows += [("note", sentence) for sentence in assessed.notes(of_all.report)]
    return Card("What does this rest on?", data, Table("", (), tuple(rows)))


# ---------------------------------------------------------------- the drawings


def figures(of_all: Assessed) -> list[Figure]:
    """The drawings that the report has figures for."""
    drawings = [
        _outcomes(of_all),
        _pareto(of_all),
        _matrix(of_all),
        _few(of_all),
        *_curves(of_all),
        _latency(of_all),
        *_layers(of_all),
        *matrices(replace(c, of=f"{c.of}, by its probes") for c in of_all.section.confusion or ()),
    ]
    return [figure for figure in drawings if figure is not None]


def _label(of_all: Assessed, name: str, most: int = 30) -> str:
    return shorten(of_all.known_as(name), most)


def _look(of_all: Assessed, name: str) -> tuple[int, int]:
    """A colour and marker for each, filled for four and hollow for the next four."""
    place = of_all.names.index(name)
    return place % charts.COLOURS, place // 4


def _mark(of_all: Assessed, name: str, m: Measurement) -> Mark:
    text = (
        assessed.ranged(m).replace(" (", " % (", 1) if m.unit == Unit.SHARE else assessed.ranged(m)
    )
    text = f"{text} %" if m.unit == Unit.SHARE and "%" not in text else text
    return Mark(_label(of_all, name), text, m.value, interval_of(m), *_look(of_all, name))


def _outcomes(of_all: Assessed) -> Figure | None:
    main = of_all.main
    wanted = [(of_all.group, main, "over the folds")]
    first = {group: next(iter(of_all.figures(group)), "") for group in Group}
    if of_all.group != Group.REUSE:
        wanted.append((Group.REUSE, first[Group.REUSE], "of a probe, over the folds"))
    wanted.append((Group.HELD_BACK, first[Group.HELD_BACK], "on the held-back test set"))
    if not main:
        wanted = [(Group.AS_IT_IS, first[Group.AS_IT_IS], "as it is")]
    blocks = []
    unit = ""
    for group, figure, where in wanted:
        outcomes = [(n, of_all.get(group, n, figure)) for n in of_all.names]
        marks = [_mark(of_all, n, m) for n, m in outcomes if m is not None and known(m.value)]
        units = {m.unit for _, m in outcomes if m is not None}
        if marks and (not unit or units == {unit}):
            unit = unit or units.pop()
            plain = group in (Group.REUSE, Group.HELD_BACK, Group.AS_IT_IS)
            how = "" if plain else "fine-tuned, "
            blocks.append(Block(f"{figure}, {how}{where}", tuple(marks)))
    if not blocks:
        return None
    title = f"{(main or 'answers')[:1].upper()}{(main or 'answers')[1:]}"
    svg = charts.intervals("outcomes", title, blocks, unit)
    return Figure(title, svg, "Dot: the figure. Rod: its 95 % interval, where there is one.")


def _pareto(of_all: Assessed) -> Figure | None:
    """Outcome against latency, or against size where no latency was measured."""
    timed = any(of_all.get(Group.COST, n, "latency") for n in of_all.names)
    axis = "latency" if timed else "weight bytes"
    models = []
    for name in of_all.names:
        outcome, cost = of_all.outcome(name), of_all.get(Group.COST, name, axis)
        if outcome is not None and cost is not None and known(outcome.value) and known(cost.value):
            models.append((name, outcome, cost))
    if len(models) < 2:
        return None
    sizes = {
        n: getattr(of_all.get(Group.COST, n, "weight bytes"), "value", None) for n, _, _ in models
    }
    largest = max((v for v in sizes.values() if known(v)), default=0.0)
    points, front = [], of_all.on_front()
    for name, outcome, cost in models:
        fast = f"{cost.value:.3g} ms" if axis == "latency" else ""
        size = sizes[name]
        heavy = f"{size / 1e6:.3g} MB" if known(size) else ""
        text = ", ".join(filter(None, (assessed.ranged(outcome), fast, heavy)))
        radius = 3.5 + 6.5 * (size / largest) ** 0.5 if known(size) and largest else 5.0
        assert cost.value is not None and outcome.value is not None
        points.append(Point(_label(of_all, name, 18), text, cost.value, outcome.value,
                            radius if axis == "latency" else 5.0,
                            of_all.names.index(name), name in front))  # fmt: skip
    x_name = "milliseconds a sample" if axis == "latency" else "size of the weights"
    x_unit = "ms" if axis == "latency" else "bytes"
    title = f"What {of_all.main} costs"
    path = unbeaten([p for p in points if p.held])
    units = x_unit, models[0][1].unit
    svg = charts.scatter("pareto", title, points, x_name, of_all.main, units, path)
    note = "Up and to the left is better. Filled: on the Pareto front; hollow: not. "
    note += "The larger a dot, the more bytes of weights. " if axis == "latency" else ""
    if len(path) > 1:
        note += "Dotted: the models that none beats in the two figures drawn."
    lacking = [n for n in of_all.names if n not in {name for name, _, _ in models}]
    note += f" Not drawn, for a figure is missing: {listed(lacking)}." if lacking else ""
    return Figure(title, svg, note.strip())


def unbeaten(points: Sequence[Point]) -> list[Span]:
    """Of points the places that no other beats in both axes, from the left."""
    path: list[Span] = []
    for p in sorted(points, key=lambda p: (p.x, -p.y)):
        if not path or p.y > path[-1][1]:
            path.append((p.x, p.y))
    return path


def _matrix(of_all: Assessed) -> Figure | None:
    if not of_all.pairs:
        return None
    names = of_all.names
    squares = [[_square(of_all, a, b) for a in names] for b in names]
    columns = [f"for {n + 1}" for n in range(len(names))]
    rows = [_label(of_all, n, 15) for n in names]
    title = "Who can stand in for whom"
    svg = charts.cells("interchange", title, rows, columns, squares)
    note = (
        "The model of a row in the place of that of a column: yes, no, or ? where these samples do "
        "not settle it. Below it: on how many of 100 samples the two agree."
    )
    return Figure(title, svg, note)


def _square(of_all: Assessed, original: str, instead: str) -> Cell:
    if original == instead:
        return Cell((), "", "self")
    pair = of_all.pair(original, instead)
    word = assessed.verdict(pair)
    share = f"{100 * pair.agreement:.0f}" if pair and known(pair.agreement) else ""
    words = {assessed.OPEN: "open", assessed.NOT_COMPARED: "not compared"}.get(word, word)
    agree = f", they agree on {share} %" if share else ""
    sentence = f"{instead} for {original}: {words}{agree}"
    return Cell(tuple(filter(None, (word, share))), sentence, LOOKS[word])


def _few(of_all: Assessed) -> Figure | None:
    series = []
    for name in of_all.names:
        points = sorted(
            (float(m.conditions["samples"]), 100 * m.value)
            for m in of_all.group_of(Group.SAMPLE_EFFICIENCY, name)
            if known(m.value) and known(m.conditions.get("samples"))
        )
        if points:
            series.append(Line(_label(of_all, name, 14), tuple(points), *_look(of_all, name)))
    if not series:
        return None
    title = "How many labelled samples it takes"
    x_name = "training samples of each class"
    svg = charts.lines("few", title, series, x_name, "accuracy, %", right=LABELS)
    return Figure(title, svg, "Accuracy of a probe trained on so few. Further up sooner is better.")


def _curves(of_all: Assessed) -> list[Figure]:
    """What training came to epoch by epoch: a drawing a figure, the mean of the folds."""
    curves = of_all.section.curves or ()
    rows = [row for curve in curves for row in curve.epochs]
    keys = [key for key in _CURVES if any(known(getattr(row, key)) for row in rows)]
    figures: list[Figure] = []
    for key in keys[:MOST_KEYS]:
        series = [
            Line(_label(of_all, n, 14), points, *_look(of_all, n))
            for n in of_all.names
            if (points := _mean_curve([c for c in curves if c.of == n], key))
        ]
        if series:
            word = key.replace("_", " ")
            title = f"Fine-tuning, {word}"
            name = f"curve-{len(figures)}"
            svg = charts.lines(name, title, series, "epoch", word, even=True, right=LABELS)
            figures.append(Figure(title, svg, "Epoch by epoch, the mean over the folds."))
    return figures


_CURVES = ("train_loss", "validation_loss", "figure", "cpu_seconds", "device_seconds")


def _mean_curve(curves: Sequence[FoldCurve], key: str) -> tuple[Span, ...]:
    by_epoch: dict[float, list[float]] = {}
    for row in (row for curve in curves for row in curve.epochs):
        if known(value := getattr(row, key)):
            by_epoch.setdefault(float(row.epoch), []).append(value)
    return tuple((at, fmean(values)) for at, values in sorted(by_epoch.items()))


def _latency(of_all: Assessed) -> Figure | None:
    marks = []
    for name in of_all.names:
        if (m := of_all.get(Group.COST, name, "latency")) is None or not known(m.value):
            continue
        samples = tuple(v for v in m.samples if known(v))
        marks.append(Mark(_label(of_all, name), f"{m.value:.3g} ms", m.value, None,
                          *_look(of_all, name), samples=samples, lines=(m.value,)))  # fmt: skip
    if not marks:
        return None
    title = "Latency, one sample at a time"
    svg = charts.strips("latency", title, [Block("", tuple(marks))], "ms")
    return Figure(title, svg, "Dots: runs, all models in turns. Line across: the median.")


def _layers(of_all: Assessed) -> list[Figure]:
    """How alike the layers of some pairs are: those that are most alike first."""
    pairs = []
    for a, b in combinations(of_all.names, 2):
        pair = of_all.pair(a, b)
        if pair is not None and pair.cka is not None and _whole_matrix(pair.cka):
            near = fmean(max((v for v in r if known(v)), default=0.0) for r in pair.cka.values)
            pairs.append((near, a, b, pair.cka))
    drawings = []
    for n, (_, a, b, cka) in enumerate(sorted(pairs, key=lambda f: -f[0])[:MOST_ALIKE]):
        rows, columns = (list(map(_tail, names)) for names in (cka.a, cka.b))
        squares = [
            [_alike(ours, theirs, v) for theirs, v in zip(cka.b, row, strict=True)]
            for ours, row in zip(cka.a, cka.values, strict=True)
        ]
        title = f"Layers of {_label(of_all, a)} and {_label(of_all, b)}"
        svg = charts.cells(f"layers-{n}", title, rows, columns, squares, slanted=True, left=140.0)
        note = (
            f"Rows: layers of {a}, from input to output; columns: of {b}. 1: both tell the samples "
            "apart in the same way; 0: in unrelated ways (linear CKA, centred kernel alignment)."
        )
        drawings.append(Figure(title, svg, note))
    return drawings


def _whole_matrix(cka: LayerLikeness) -> bool:
    """Whether there is a row and a column for each layer."""
    whole = len(cka.values) == len(cka.a) and all(len(r) == len(cka.b) for r in cka.values)
    return whole and bool(cka.a and cka.b)


def _tail(name: str, most: int = 19) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _alike(ours: str, theirs: str, value: Json) -> Cell:
    if not known(value):
        return Cell(("–",), f"{ours}, {theirs}: not defined", "none")
    shade = 0.05 + 0.6 * min(max(value, 0.0), 1.0)
    return Cell((f"{max(value, 0.0):.2f}",), f"{ours}, {theirs}: {value:.2f}", "", shade)


# ---------------------------------------------------------------- the tables


def page_tables(of_all: Assessed) -> list[Table]:
    """All tables; what cards have shown in full is not repeated."""
    whole = (assessed.predicted(of_all), assessed.as_it_is(of_all))
    shown = {t.title for t in whole if t is not None}
    sections = [assessed.worded(t) for t in assessed.tables(of_all) if t.title not in shown]
    return [*sections[:1], *assessed.all_figures(of_all), *sections[1:]]
