"""Measurements -> the answers, drawings and tables in which a page shows them.

Nothing is computed here that a measurement does not hold, but for words: "faster" is said only
where a ratio's interval lies outside of what the same runtime shows against itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import starmap

from interop.facts import Group, Json, Measurement, Report, Unit
from interop.facts.sections.bench import BenchSection, ClassTables, SamplePreview
from interop.facts.sections.finetune import FinetuneSection
from interop.patterns import lazy
from interop.report.html import charts
from interop.report.html.charts import Block, Line, Mark, Span
from interop.report.html.components import Card, Figure, Flips, Tile
from interop.report.units import quantity
from interop.report.values import (
    ABSENT,
    MOST_ROWS,
    Table,
    batch_of,
    interval_of,
    known,
    listed,
    of,
    shape_of,
    shown,
    span,
    with_span,
)

SIGNIFICANT = 0.05
NOISY = "host too noisy to tell"
MOST_PAIRS = 2  # of runtimes that are columns of a table; more of them are its rows
_RATIOS = "Ratios of median latency with their 95 % intervals. Noise: one runtime against itself."
MOST_CLASSES = 24  # of a matrix that is drawn
_BASE64 = lazy(r"[A-Za-z0-9+/]+={0,2}")
Words = Callable[[Measurement], str]


class Measured:
    """A report's measurements by name, and the look of each runtime and model in drawings."""

    def __init__(self, report: Report) -> None:
        self.all = report.measurements
        lanes = [m.conditions for m in self.all if "runtime" in m.conditions]
        self.runtimes = list(dict.fromkeys(str(c["runtime"]) for c in lanes))
        self.models = list(dict.fromkeys(str(c.get("model", "")) for c in lanes))
        section = report.section(BenchSection)
        self.previews = section.previews or {}
        self.classes = section.classes or report.section(FinetuneSection).classes or ()
        self.noisy = {f.facts.get("batch") for f in report.findings if f.rule == "host-too-noisy"}

    def named(self, name: str, **conditions: Json) -> list[Measurement]:
        """Measurements of a name, whose conditions hold these."""
        return [
            m
            for m in self.all
            if m.name == name and all(m.conditions.get(k) == v for k, v in conditions.items())
        ]

    def group(self, name: str) -> list[Measurement]:
        return [m for m in self.all if m.conditions.get("group") == name]

    def look(self, m: Measurement) -> tuple[int, int]:
        """The number of its runtime and of its model."""
        runtime, model = str(m.conditions.get("runtime")), str(m.conditions.get("model", ""))
        return (
            self.runtimes.index(runtime) if runtime in self.runtimes else 0,
            self.models.index(model) if model in self.models else 0,
        )

    def noise(self, batch: Json) -> Measurement | None:
        """The runtime against itself at a batch size."""
        return next(iter(self.named("latency noise", batch=batch)), None)

    def versus(self, m: Measurement) -> str:
        """Whether a ratio's interval lies outside of the noise, and on which side."""
        batch = m.conditions.get("batch")
        if (interval := interval_of(m)) is None or not known(m.value):
            return ABSENT
        if batch in self.noisy:
            return NOISY
        low, high = band_of(self.noise(batch)) or (1.0, 1.0)
        if interval[1] < low:
            return "faster"
        return "slower" if interval[0] > high else "no difference shown"


def band_of(noise: Measurement | None) -> Span | None:
    """The interval of a run against itself, stretched to hold 1."""
    interval = interval_of(noise) if noise else None
    return None if interval is None else (min(interval[0], 1.0), max(interval[1], 1.0))


# ---------------------------------------------------------------- the answers


def cards(measured: Measured) -> list[Card]:
    """The questions that a bench is run for, each with its answer first."""
    candidates = (_good(measured), _changed(measured), _stand_in(measured), _faster(measured))
    return [card for card in candidates if card is not None]


def _good(measured: Measured) -> Card | None:
    """The first figure that a task has of its answers: accuracy, or what stands for it."""
    if (first := next(iter(measured.group(Group.ACCURACY)), None)) is None:
        return None
    measurements = [m for m in measured.group(Group.ACCURACY) if m.name == first.name]
    samples = {m.conditions.get("samples") for m in measurements} - {None}
    rows = tuple((of(m), shown(m.value, m.unit), span(m)) for m in measurements)
    on = f" on {listed(str(s) for s in samples)} samples" if samples else ""
    less = ", less is better" if first.conditions.get("better") == -1 else ""
    name = "Top-1 accuracy" if first.name == "top-1" else first.name
    shares = first.unit == Unit.SHARE and not less
    return Card(
        "How often is each right?" if shares else "How good is each?",
        f"{name[0].upper()}{name[1:]}{on}, with its 95 % interval{less}.",
        Table("", ("", first.name, "95 % interval"), rows, (1, 2)),
    )


def _changed(measured: Measured) -> Card | None:
    if not (flips := measured.named("flips", between="runtimes")):
        return None
    changed = [m for m in flips if m.value]
    says = listed(f"{of(m)}: {shown(m.value, m.unit)}" for m in changed)
    answer = f"Yes, answers flip. {says}." if changed else "No: not one answer flips."
    rest = [m for m in measured.all if m.conditions.get("between") == "runtimes"]
    rows = _across([m for m in rest if m.conditions.get("group") != Group.LATENCY_RATIO])
    return Card("Did the change of runtime change answers?", answer, rows)


def _across(measurements: Sequence[Measurement]) -> Table:
    """A row for each thing measured, a column for each measurement."""
    names = list(dict.fromkeys(m.name for m in measurements))
    cells = {(of(m), m.name): shown(m.value, m.unit) for m in measurements}
    rows = tuple(
        (what, *(cells.get((what, name), ABSENT) for name in names))
        for what in dict.fromkeys(of(m) for m in measurements)
    )
    return Table("", ("", *names), rows, tuple(range(1, len(names) + 1)))


def _stand_in(measured: Measured) -> Card | None:
    # Of a task that knows no right or wrong it is the change of its first figure.
    between = [m for m in measured.all if m.conditions.get("between") == "models"]
    change = next((m for m in between if m.name.endswith(" change")), None)
    if change is None:
        return None
    tests = measured.named("McNemar's exact test", between="models")
    p = tests[0].value if tests else change.conditions.get("mcnemar_p")
    rows = [
        (m.name, shown(m.value, m.unit), span(m))
        for m in between
        if m.conditions.get("group") != Group.LATENCY_RATIO
    ]
    if not tests and known(p):
        rows.append(("McNemar's exact test", shown(p, "p"), ""))
    table = Table("", ("B against A", "value", "95 % interval"), tuple(rows), (1, 2))
    return Card("Can B stand in for A on this task?", reading(change, p), table)


def reading(change: Measurement, p: Json) -> str:
    """What the change of accuracy and McNemar's test show, in a sentence."""
    if not known(change.value):
        return "Not measured."
    by = f"by {_size(change.value, change.unit)}"
    sign = -1 if change.conditions.get("better") == -1 else 1
    if known(p) and p < SIGNIFICANT and change.value:
        side = "worse" if change.value < 0 else "better"
        return f"B is {side} than A {by}, more than chance explains (McNemar p = {p:.3g})."
    interval = interval_of(change)
    if not known(p) and interval and not interval[0] <= 0 <= interval[1]:
        side = "worse" if sign * change.value < 0 else "better"
        return f"B is {side} than A {by}; the 95 % interval ({span(change)}) does not hold 0."
    words = "No difference is shown"
    if known(p):
        words += f" (McNemar p = {p:.3g})"
    if interval is None:
        return words + ", and how large a loss may hide is not known."
    loss = interval[0] if sign == 1 else -interval[1]
    if loss < 0:
        return words + f"; a loss of {_size(loss, change.unit)} is not ruled out."
    return words + "; the 95 % interval holds no loss."


def _size(change: float, unit: str) -> str:
    return quantity(abs(change), unit).lstrip("+")


def _faster(measured: Measured) -> Card | None:
    if not (ratios := measured.named("latency ratio", between="runtimes")):
        return None
    pairs = list(dict.fromkeys(of(m) for m in ratios))
    if len(pairs) > MOST_PAIRS:
        return _fastest(ratios, pairs, measured)
    cells = {(of(m), m.conditions.get("batch")): with_span(m) for m in ratios}
    rows = []
    for batch in dict.fromkeys(m.conditions.get("batch") for m in sorted(ratios, key=batch_of)):
        noise = measured.noise(batch)
        ratios_at = [cells.get((pair, batch), ABSENT) for pair in pairs]
        rows.append((str(batch), *ratios_at, (span(noise) if noise else "") or ABSENT))
    says = " ".join(_speed(p, [m for m in ratios if of(m) == p], measured) for p in pairs)
    table = Table("", ("batch", *pairs, "noise"), tuple(rows), note=_RATIOS)
    return Card("Which runtime is faster?", says, table)


def _fastest(ratios: Sequence[Measurement], pairs: Sequence[str], measured: Measured) -> Card:
    """Many lanes: a row each, and one sentence for all of which the same can be said."""
    same: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        top, _, base = pair.partition(" / ")
        words = _speeds([m for m in ratios if of(m) == pair], measured)
        same.setdefault((base, words), []).append(top)
    says = [f"{listed(tops)} against {base}: {words}." for (base, words), tops in same.items()]
    bases = list(dict.fromkeys(base for base, _ in same))
    batches = list(dict.fromkeys(m.conditions.get("batch") for m in sorted(ratios, key=batch_of)))
    cells = {(of(m), m.conditions.get("batch")): with_span(m) for m in ratios}
    rows = [
        (
            pair.partition(" / ")[0] if len(bases) == 1 else pair,
            *(cells.get((pair, batch), ABSENT) for batch in batches),
        )
        for pair in pairs
    ]
    noise = [measured.noise(batch) for batch in batches]
    rows.append(("noise", *((span(m) if m else "") or ABSENT for m in noise)))
    head = f"against {bases[0]}" if len(bases) == 1 else ""
    columns = (head, *(f"batch {batch}" for batch in batches))
    table = Table("", columns, tuple(rows), note=_RATIOS)
    return Card("Which runtime is faster?", " ".join(says), table)


def _speed(pair: str, measurements: Iterable[Measurement], measured: Measured) -> str:
    """ "A onnxruntime against A pytorch: faster at batch 1 and 8, slower at batch 32." """
    return f"{pair.replace(' / ', ' against ')}: {_speeds(measurements, measured)}."


def _speeds(measurements: Iterable[Measurement], measured: Measured) -> str:
    """ "faster at batch 1 and 8, slower at batch 32" """
    by_word: dict[str, list[str]] = {}
    for m in measurements:
        by_word.setdefault(measured.versus(m), []).append(f"{batch_of(m):g}")
    return ", ".join(f"{word} at batch {listed(batches)}" for word, batches in by_word.items())


# ---------------------------------------------------------------- the drawings


def figures(measured: Measured) -> list[Figure]:
    """The drawings that the measurements have figures for."""
    drawings = [
        _accuracy(measured),
        *matrices(measured.classes),
        *_latencies(measured),
        _throughput(measured),
        _ratios(measured),
        *_processes(measured),
    ]
    return [figure for figure in drawings if figure is not None]


def _accuracy(measured: Measured) -> Figure | None:
    figures = measured.group(Group.ACCURACY)
    shares = [m for m in figures if m.unit == Unit.SHARE and known(m.value)]
    if not (blocks := _blocks(shares, lambda m: m.name, measured, of)):
        return None
    title = "Accuracy"
    svg = charts.intervals("accuracy", title, blocks, "share")
    return Figure(title, svg, "Dot: the share measured. Rod: its 95 % interval.")


def _blocks(
    measurements: Iterable[Measurement], heading: Words, measured: Measured, label: Words
) -> list[Block]:
    marks: dict[str, list[Mark]] = {}
    for m in measurements:
        runtime, model = measured.look(m)
        mark = Mark(label(m), with_span(m), m.value, interval_of(m), runtime, model)
        marks.setdefault(heading(m), []).append(mark)
    return [Block(title, tuple(rows)) for title, rows in marks.items()]


def _latencies(measured: Measured) -> list[Figure]:
    by_batch: dict[float, list[Mark]] = {}
    for m in sorted(measured.named("latency"), key=batch_of):
        samples = tuple(v for v in m.samples if known(v))
        lines = tuple(v for v in (m.value, *_tail(m)) if known(v))
        if not samples and not lines:
            continue
        runtime, model = measured.look(m)
        named = zip(("p50", "p90", "p99"), lines, strict=False)
        text = " · ".join(f"{name} {v:.2f}" for name, v in named)
        mark = Mark(of(m), text, m.value, None, runtime, model, samples=samples, lines=lines)
        by_batch.setdefault(batch_of(m), []).append(mark)
    return [_latency(batch, marks) for batch, marks in by_batch.items()]


def _tail(m: Measurement) -> tuple[Json, Json]:
    return m.conditions.get("p90"), m.conditions.get("p99")


def _latency(batch: float, marks: list[Mark]) -> Figure:
    title = f"Latency, batch {batch:g}"
    svg = charts.strips(f"latency-{batch:g}", title, [Block("", tuple(marks))], "ms")
    counts = {len(m.samples) for m in marks}
    drawn = f", {charts.DOTS} of them drawn" if max(counts) > charts.DOTS else ""
    of_each = " to ".join(str(c) for c in sorted({min(counts), max(counts)}))
    note = f"Dots: {of_each} runs of each{drawn}. Lines across: median, then p90 and p99 (shorter)."
    return Figure(title, svg, note)


def _throughput(measured: Measured) -> Figure | None:
    points: dict[str, list[Span]] = {}
    looks: dict[str, tuple[int, int]] = {}
    back_to_back = measured.named("throughput")
    for m in sorted(back_to_back or measured.named("latency"), key=batch_of):
        rate = m.value if back_to_back else m.conditions.get("per_second")
        if known(rate):
            points.setdefault(of(m), []).append((batch_of(m), rate))
            looks[of(m)] = measured.look(m)
    if not points:
        return None
    series = [Line(name, tuple(at), *looks[name]) for name, at in points.items()]
    title = "Throughput"
    svg = charts.lines("throughput", title, series, "batch size", "samples a second")
    how = "in runs that follow each other at once" if back_to_back else "at the median latency"
    return Figure(title, svg, f"Samples a second {how}. Higher is better.")


def _ratios(measured: Measured) -> Figure | None:
    measurements = [m for m in measured.group(Group.LATENCY_RATIO) if known(m.value)]
    if not measurements:
        return None
    rows: dict[str, list[Mark]] = {}
    for m in measurements:
        batch = m.conditions.get("batch")
        band = None if m.name == "latency noise" else band_of(measured.noise(batch))
        mark = Mark(f"batch {batch}", with_span(m), m.value, interval_of(m), band=band)
        rows.setdefault(of(m), []).append(mark)
    # What the noise is, comes after what is held against it.
    noise = {of(m) for m in measured.named("latency noise")}
    order = sorted(rows, key=lambda name: name in noise)
    title = "Ratios of latency"
    blocks = [Block(name, tuple(rows[name])) for name in order]
    return Figure(
        title,
        charts.intervals("ratios", title, blocks, "ratio", reference=1.0),
        "Left of 1 the first named is faster. Shaded: by how much the same runtime differs from "
        "itself in the same run; a ratio that touches it shows no difference.",
    )


def _processes(measured: Measured) -> list[Figure]:
    by_name: dict[str, list[Measurement]] = {}
    for m in measured.group(Group.OWN_PROCESS):
        if known(m.value) and m.value >= 0:
            by_name.setdefault(m.name, []).append(m)
    processes = []
    for name, measurements in by_name.items():
        title = name.capitalize()
        blocks = _blocks(measurements, lambda _: "", measured, of)
        if name == "first run":
            blocks = _first_runs(measurements, measured)
        svg = charts.bars(name.replace(" ", "-"), title, blocks, measurements[0].unit)
        processes.append(Figure(title, svg, f"{_PROCESS.get(name, '')} A process for each."))
    return processes


def _first_runs(measurements: Iterable[Measurement], measured: Measured) -> list[Block]:
    """The first run of each new shape, and below it the same shape once it is known."""
    marks: dict[str, list[Mark]] = {}
    for m in measurements:
        steady = m.conditions.get("steady_ms")
        rows = [(f"{of(m)}, first", m.value), (f"{of(m)}, later", steady)]
        for label, value in rows:
            if known(value):
                mark = Mark(label, shown(value, m.unit), value, None, *measured.look(m))
                marks.setdefault(shape_of(m), []).append(mark)
    return [Block(title, tuple(rows)) for title, rows in marks.items()]


_PROCESS = {
    "cold start": "From the start of the process to the first answer.",
    "peak memory": "The most that the process took, libraries and all.",
    "peak device memory": "What the process took on the GPU.",
    "first run": "The first run of a shape that the process had not seen, and the median of the "
    "five after it.",
}


# ---------------------------------------------------------------- the tables


def tables(measured: Measured) -> list[Table]:
    """Every measurement, in one table a group, in the order in which they came."""
    groups: dict[str, list[Measurement]] = {}
    for m in measured.all:
        groups.setdefault(str(m.conditions.get("group", "measured")), []).append(m)
    return [*starmap(_table, groups.items()), *by_class(measured)]


def _table(name: str, measurements: list[Measurement]) -> Table:
    if name == "latency":
        return _latency_table(measurements)
    columns: dict[str, Words] = {
        "measurement": lambda m: m.name,
        "of": of,
        "at": shape_of,
        "value": lambda m: shown(m.value, m.unit),
        "95 % interval": span,
        "later": _later,
        "verdict": lambda m: str(m.conditions.get("verdict", "")),
    }
    cells = {head: [words(m) for m in measurements] for head, words in columns.items()}
    always = ("measurement", "of", "value", "95 % interval")
    heads = tuple(h for h in columns if h in always or any(cells[h]))
    figures = tuple(i for i, h in enumerate(heads) if h in ("value", "95 % interval", "later"))
    return Table(name, heads, tuple(zip(*(cells[h] for h in heads), strict=True)), figures)


def _later(m: Measurement) -> str:
    """What a first run takes once its shape is known."""
    return shown(m.conditions["steady_ms"], m.unit) if "steady_ms" in m.conditions else ""


def _latency_table(measurements: Sequence[Measurement]) -> Table:
    rows = []
    for m in sorted(measurements, key=batch_of):
        rate, rounds = m.conditions.get("per_second"), m.conditions.get("rounds")
        rows.append(
            (
                of(m),
                str(m.conditions.get("batch", "")),
                shown(m.value, m.unit),
                span(m),
                *(shown(v, m.unit) for v in _tail(m)),
                f"{rate:.0f}" if known(rate) else ABSENT,
                str(rounds if rounds is not None else len(m.samples)),
            )
        )
    head = ("latency", "batch", "p50", "95 % interval", "p90", "p99", "samples/s", "runs")
    return Table("latency", head, tuple(rows), tuple(range(1, len(head))))


def flips(measured: Measured) -> list[Flips]:
    """The samples on which two runs answer differently, one by one, with their pictures."""
    sections = []
    for m in measured.named("flips"):
        samples = m.conditions.get("flipped") or []
        if not samples:
            continue
        before, after = _sides(m)
        rows = tuple(_flip(f, before, after) for f in samples)
        note = _tally(rows, before, after)
        if known(m.value) and m.value > len(rows):
            note = f"The first {len(rows)} of {m.value:.0f}; of these: {note}"
        head = ("sample", "truth", f"{before} says", f"{after} says", "right is")
        table = Table(f"Flips, {of(m)}", head, rows, note=note)
        tiles = [_tile(f, before, after, measured.previews) for f in samples]
        sections.append(Flips(table, tuple(t for t in tiles if t is not None)))
    return sections


def _sides(m: Measurement) -> tuple[str, str]:
    sides = m.conditions.get("sides") or ["A", "B"]
    return str(sides[0]), str(sides[1])


def _flip(sample: Mapping[str, Json], before: str, after: str) -> tuple[str, ...]:
    truth, a, b = (str(sample.get(k, "")) for k in ("truth", "a", "b"))
    ours, theirs = sample.get("right") or (a == truth, b == truth)
    if ours is None or theirs is None:
        right = ABSENT  # the task knows no right or wrong
    else:
        right = before if ours and not theirs else after if theirs and not ours else "neither"
        right = "both" if ours and theirs else right
    return str(sample.get("path") or sample.get("sample", "")), truth, a, b, right


def _tile(
    flip: Mapping[str, Json], before: str, after: str, previews: Mapping[str, SamplePreview]
) -> Tile | None:
    if (preview := previews.get(str(flip.get("sample")))) is None:
        return None
    name, truth, a, b, right = _flip(flip, before, after)
    words = (("truth", truth), (before, a), (after, b))
    # What a stored report calls a picture is markup only if it is nothing but base64.
    png = preview.png if _BASE64.fullmatch(preview.png) else ""
    return Tile(png, preview.text, name, words, right)


def _tally(rows: Sequence[tuple[str, ...]], before: str, after: str) -> str:
    verdicts = [row[-1] for row in rows]
    if ABSENT in verdicts:
        return "What the two answer is not the same; the task knows no right or wrong."
    a, b, neither = (verdicts.count(w) for w in (before, after, "neither"))
    both = f", both on {verdicts.count('both')}" if "both" in verdicts else ""
    return f"{before} alone is right on {a}, {after} alone on {b}{both}, neither on {neither}."


# ---------------------------------------------------------------- class by class


def matrices(classes: Iterable[ClassTables]) -> list[Figure]:
    """Truth against answer, for models of so few classes that a person can see each."""
    drawings = []
    for n, one in enumerate(classes):
        if not one.confusion or not 2 <= len(one.labels) <= MOST_CLASSES:
            continue
        title = f"Confusion, {one.of}"
        svg = charts.matrix(f"confusion-{n}", title, one.labels, one.confusion)
        note = "Rows: the truth. Columns: the answer. Shade: the share of the row."
        drawings.append(Figure(title, svg, note))
    return drawings


def by_class(measured: Measured) -> list[Table]:
    """Each class's own figures."""
    tables = []
    for one in measured.classes:
        if not (rows := one.classes):
            continue
        keys = list(dict.fromkeys(k for r in rows for k in r))
        cells = tuple(tuple(_cell(r.get(k)) for k in keys) for r in rows[:MOST_ROWS])
        more = len(rows) - len(cells)
        note = f"and {more} more, in the JSON report" if more > 0 else ""
        title = f"Class by class, {one.of}"
        tables.append(Table(title, tuple(keys), cells, tuple(range(1, len(keys))), note))
    return tables


def _cell(value: Json) -> str:
    if value is None:
        return ABSENT
    return f"{value:.4g}" if isinstance(value, float) else str(value)
