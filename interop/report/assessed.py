"""A Report of `assess` -> the tables and sentences that each format lays out.

Models go by their place in the ranking, so that a table has room for eight with long names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interop.facts import (
    Answer,
    Basis,
    Group,
    Input,
    InputRole,
    Measurement,
    Report,
    TaskName,
    Unit,
)
from interop.facts.sections.assess import AssessSection, ReplacementRow
from interop.records import replace
from interop.report.values import ABSENT, Table, interval_of, known, listed, of, plain

# Of a replacement; whatever else is said of one is open.
SIGNS = {Answer.YES: "yes", Answer.NO: "no"}
OPEN, NOT_COMPARED = "?", "–"
MOST_SENTENCES = 16
ENOUGH = 5  # folds, below which a spread over them says little
FRONT = "front"  # the column that marks it
INTERCHANGE = "Which can stand in for which"

_FIGURES = {
    "accuracy": "the share of samples answered right",
    "macro F1": "for each class a figure that falls with the samples missed and with those called "
    "so wrongly, averaged so that rare classes count as much as common ones",
    "R2": "the share of the targets' spread that the answers explain: 1 is exact, 0 is no better "
    "than always answering the mean",
    "mean absolute error": "how far answers lie from the targets, in their unit; less is better",
}
_SCORES = {
    "LogME": "how well a linear model of the features accounts for the labels",
    "H-score": "how far the classes' features lie apart, against their whole spread",
    "regularised H-score": "the same, made steady for few samples and many features",
    "TransRate": "how much of the features' variety the classes account for",
    "NLEEP": "how well groups of like features foretell the class",
    "PARC": "whether samples that differ in their features differ in class",
    "kNN probe": "share of samples whose nearest neighbours are of their class",
    "LEEP": "how well the model's own old answers, with their odds, foretell the class",
    "NCE": "how much the model's own old answer leaves open of the class",
    "linear probe": "accuracy of a linear classifier on the frozen features",
}
_AXES = {"latency": "latency", "weight bytes": "size"}


class Assessed:
    """What a report of `assess` says, by candidate, the best first."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.section = report.section(AssessSection)
        self.candidates = self.section.candidates or ()
        self.names = [c.name for c in self.candidates]
        self.pairs = self.section.interchange or ()
        self.folds = self.section.folds or None
        self._found: dict[tuple[str, str], dict[str, Measurement]] = {}
        for m in report.measurements:
            key = str(m.conditions.get("group", "")), of(m)
            self._found.setdefault(key, {}).setdefault(m.name, m)

    def known_as(self, name: str) -> str:
        """A model by its place and name: "1 resnet50"."""
        return f"{self.names.index(name) + 1} {name}" if name in self.names else name

    def get(self, group: str, name: str, figure: str) -> Measurement | None:
        return self._found.get((group, name), {}).get(figure)

    def group_of(self, group: str, name: str) -> list[Measurement]:
        """A model's figures of a group."""
        return list(self._found.get((group, name), {}).values())

    def figures(self, group: str) -> list[str]:
        """Names of a group's figures, in the order in which they came."""
        return list(dict.fromkeys(m.name for m in self.every(group)))

    def every(self, group: str) -> list[Measurement]:
        """All figures of a group, in the order in which they came."""
        return [m for m in self.report.measurements if m.conditions.get("group") == group]

    @property
    def group(self) -> str:
        """What the ranking goes by: fine-tuned figures where there are any, else the probes'."""
        tuned = any(group == Group.FINE_TUNED for group, _ in self._found)
        return Group.FINE_TUNED if tuned else Group.REUSE

    @property
    def main(self) -> str:
        """The figure that the ranking goes by; "" where nothing was trained."""
        return next(iter(self.figures(self.group)), "")

    def outcome(self, name: str) -> Measurement | None:
        return self.get(self.group, name, self.main)

    def on_front(self) -> list[str]:
        return [c.name for c in self.candidates if c.front]

    def pair(self, original: str, instead: str) -> ReplacementRow | None:
        """What is known of `instead` in the place of `original`."""
        return next((p for p in self.pairs if (p.a, p.b) == (original, instead)), None)

    @property
    def data(self) -> Input | None:
        # A model may go by that name too; the data set comes last.
        return next((i for i in reversed(self.report.inputs) if i.role == InputRole.DATA), None)

    def given(self, name: str) -> Input | None:
        return next((i for i in self.report.inputs if i.role == name), None)


def verdict(pair: ReplacementRow | None) -> str:
    """ "yes", "no", "?" where the samples leave it open, "–" where the two were not compared."""
    return NOT_COMPARED if pair is None else SIGNS.get(pair.stands_in, OPEN)


# ---------------------------------------------------------------- figures as words


def amount(value: object) -> str:
    """A count in the unit that people say: "354.9 k"."""
    if not known(value):
        return ABSENT
    for unit, size in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def number(value: object, unit: str) -> str:
    """A figure without its unit: shares in percent."""
    if not known(value):
        return ABSENT
    if unit == Unit.SHARE:
        return f"{100 * value:.1f}"
    size = abs(value)
    return f"{value:.{3 if size < 1 else 2 if size < 100 else 1}f}"


def ranged(m: Measurement | None) -> str:
    """ "99.6 (98.5 to 100.0)", a share in percent."""
    if m is None:
        return ABSENT
    interval = interval_of(m)
    around = " to ".join(number(v, m.unit) for v in interval) if interval else ""
    return number(m.value, m.unit) + (f" ({around})" if around else "")


def lone(m: Measurement | None) -> str:
    return ABSENT if m is None else number(m.value, m.unit)


def seconds(m: Measurement | None) -> str:
    """A time in ms, as people say it."""
    if m is None or not known(m.value):
        return ABSENT
    value = m.value / 1000
    return f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


def _unit(measurements: Iterable[Measurement | None]) -> str:
    """ ", %" where figures are shares."""
    return ", %" if any(m is not None and m.unit == Unit.SHARE for m in measurements) else ""


def _mega(m: Measurement | None) -> str:
    return ABSENT if m is None or not known(m.value) else f"{m.value / 1e6:.{_places(m.value)}f}"


def _places(value: float) -> int:
    return 2 if value < 1e7 else 1 if value < 1e9 else 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------- the answers


def answers(of_all: Assessed) -> list[str]:
    """Which model to take, in a few sentences."""
    if not of_all.names:
        return []
    best = of_all.names[0]
    if (first := of_all.outcome(best)) is None or not known(first.value):
        return ["The models are not ranked: nothing was trained on the data, for the task is not "
                "one that a probe answers. What they answer as they are stands below.",
                *_left_out(of_all)]  # fmt: skip
    tuned = of_all.group == Group.FINE_TUNED
    how = "fine-tuned" if tuned else "with a probe on its frozen features"
    figure = f"{of_all.main} {_with_unit(first)}"
    if len(of_all.names) == 1:
        return [
            f"{best} comes to {figure}, {how}; there is no other model to hold it against.",
            *_left_out(of_all),
        ]
    sentences = [f"{best} comes first: {figure}, {how}."]
    if near := _near(of_all, first):
        sentences.append(
            f"The order among it and {listed(near)} is not settled: their intervals overlap."
        )
    return [*sentences, *_controls(of_all), *_taught(of_all), *_left_out(of_all)]


def _left_out(of_all: Assessed) -> list[str]:
    """Who was not judged at all; the notes have why."""
    names = of_all.section.left_out or ()
    whose = "Its weights do" if len(names) == 1 else "Their weights do"
    return [f"Left out: {listed(names)}. {whose} not fit the architecture."] if names else []


def _taught(of_all: Assessed) -> list[str]:
    """Whose figures are too good, by the record in its own file."""
    return [
        f"Mind: {c.name} was trained on {c.trained_on} of these samples, as its file says: its "
        "figures here are too good."
        for c in of_all.candidates
        if c.trained_on
    ]


def _with_unit(m: Measurement) -> str:
    """ "99.6 % (98.5 to 100.0)"."""
    figure, bracket, rest = ranged(m).partition(" (")
    return figure + (" %" if m.unit == Unit.SHARE else "") + bracket + rest


def _near(of_all: Assessed, first: Measurement) -> list[str]:
    """The models whose intervals reach into that of the first."""
    names = []
    ours = interval_of(first)
    for name in of_all.names[1:]:
        m = of_all.outcome(name)
        theirs = interval_of(m) if m is not None else None
        if ours and theirs and theirs[1] >= ours[0] and ours[1] >= theirs[0]:
            names.append(name)
    return names


def _controls(of_all: Assessed) -> list[str]:
    """Whether weights drawn at random do as well as trained ones."""
    controls = []
    for place, candidate in enumerate(of_all.candidates):
        name = of_all.names[place]
        if not candidate.random or not known(getattr(of_all.outcome(name), "value", None)):
            continue
        own = of_all.outcome(name)
        others = [c.name for c in of_all.candidates if c.name != name and not c.random]
        outcomes = {n: of_all.outcome(n) for n in others}
        values = {n: m.value for n, m in outcomes.items() if m is not None and known(m.value)}
        better = -1 if own is not None and own.conditions.get("better") == -1 else 1
        mine = own.value if own is not None and known(own.value) else 0.0
        below = [n for n, v in values.items() if better * v < better * mine]
        if level := [n for n, v in values.items() if v == mine]:
            controls.append(
                f"{name} has weights drawn at random and comes to the same as {listed(level)}: "
                "this data does not tell them apart."
            )
        if below:
            controls.append(
                f"{name} has weights drawn at random and still comes before {listed(below)}: what "
                f"{'that model' if len(below) == 1 else 'those models'} learnt is no help here."
            )
        elif not level and place + 1 == len(of_all.names) and place:
            controls.append(
                f"{name}, whose weights were drawn at random as a control, comes last, as it should"
                "."
            )
    return controls


def front_in_words(of_all: Assessed) -> str:
    """What the Pareto front is, and who is on it."""
    if not (names := of_all.on_front()) or len(of_all.names) < 2:
        return ""
    main = of_all.main or "accuracy"
    points = [c.figures for c in of_all.candidates]
    axes = [main] if any(known(p.get("accuracy")) for p in points) else []
    axes += [w for k, w in _AXES.items() if any(known(p.get(k)) for p in points)]
    missing = [w for w in (main, *_AXES.values()) if w not in axes]
    if len(names) == len(of_all.names):
        who = "All models are on it (*)"
    else:
        away = [n for n in of_all.names if n not in names]
        who = f"{_named(of_all, names)} {'is' if len(names) == 1 else 'are'} on it (*), "
        who += f"{_named(of_all, away)} not"
        who = _capital(who) if _named(of_all, names).startswith(_PLACES) else who
    front_in_words = (
        f"A model is on the front (Pareto's) if no other is at least as good in {listed(axes)} and "
        f"better in one of them; small differences count too. {who}."
    )
    if missing:
        were, play = ("was", "plays") if len(missing) == 1 else ("were", "play")
        front_in_words += f" {_capital(listed(missing))} {were} not measured and {play} no part."
    real = [c.figures for c in of_all.candidates if not c.random]
    keys = [k for k in ("accuracy", *_AXES) if _word(k, main) in axes]
    if any(not known(p.get(k)) for p in real for k in keys):
        front_in_words += " A figure that a model lacks may be anything, so that model stays on it."
    if 0 < len(real) < len(points):
        front_in_words += (
            " A control is not held against the others for it, and its latency not measured."
        )
    return front_in_words


def _named(of_all: Assessed, names: Sequence[str], most: int = 60) -> str:
    """Models by name, or by place where that would fill lines."""
    text = listed(names)
    if len(text) <= most:
        return text
    places = listed(str(of_all.names.index(n) + 1) for n in names)
    return f"{_PLACES[len(names) > 1]} {places}"


_PLACES = ("model", "models")


def _word(axis: str, main: str) -> str:
    return main if axis == "accuracy" else _AXES[axis]


# ---------------------------------------------------------------- what it rests on


def data_in_words(of_all: Assessed) -> str:
    """The data set by name, size and the front of its hash."""
    if (data := of_all.data) is None:
        return ""
    digest = str(data.facts.get("sha256") or "")
    known_by = f", content hash sha256 {digest[:12]}…" if digest else ""
    return f"{data.path}: {data.summary}{known_by}"


def folds_in_words(of_all: Assessed) -> list[str]:
    """How the samples were shared out."""
    plan = of_all.folds
    if not of_all.names:
        return []
    if plan is None:
        return ["No folds: the models answered all samples as they are, and nothing was trained."]
    noun = "words" if of_all.section.task is TaskName.TOKEN_CLASSIFICATION else "samples"
    count, how = plan.folds, plan.how
    folds_in_words = [
        f"{plan.rows} {noun} were cut into {count} parts (folds); each part was answered by a "
        f"probe, a linear model on the frozen features, trained on the other "
        f"{count - 1}, with the same parts for all models."
    ]
    if plan.repeats != 1:
        folds_in_words.append(f"This was done {plan.repeats} times, cut anew each time.")
    elif count < ENOUGH:
        folds_in_words.append(
            f"Intervals from {count} folds are wide and rough: --folds {ENOUGH} or more, or "
            "--repeats, narrows them."
        )
    if "stratified" in how:
        folds_in_words.append("Stratified: each part has about the same share of each class.")
    if "by group" in how:
        what = f"of one {plan.grouped_by}" if plan.grouped_by else "that belong together"
        folds_in_words.append(f"By group: {noun} {what} are never on both sides.")
    if how and "stratified" not in how and "by group" not in how:
        folds_in_words.append(f"Parts were drawn {how}.")
    if plan.held_back:
        folds_in_words.append(
            f"{plan.held_back} further {noun} were held back as a test set and used once."
        )
    else:
        folds_in_words.append(f"No {noun} were held back as a test set.")
    return folds_in_words


# ---------------------------------------------------------------- the tables


def ranking(of_all: Assessed) -> Table:
    """The candidates by what they came to, with what they cost beside it."""
    main, group = of_all.main, of_all.group
    second = next(iter(of_all.figures(Group.REUSE)[1:]), "") if group == Group.REUSE else ""
    test = next(iter(of_all.figures(Group.HELD_BACK)), "")
    probe = next(iter(of_all.figures(Group.REUSE)), "") if group == Group.FINE_TUNED else ""
    scored = any(known(c.score) for c in of_all.candidates)
    outcomes = [of_all.outcome(n) for n in of_all.names]
    heads = ["model", FRONT]
    if main:
        tuned = "fine-tuned " if group == Group.FINE_TUNED else ""
        heads.append(f"{tuned}{main}{_unit(outcomes)} (95 % interval)")
    extra = [
        (Group.REUSE, second, second),
        (Group.REUSE, probe, f"probe {probe}"),
        (Group.HELD_BACK, test, "test set"),
    ]
    extra = [(g, f, w) for g, f, w in extra if f]
    heads += [f"{w}{_unit(of_all.get(g, n, f) for n in of_all.names)}" for g, f, w in extra]
    heads += ["ms a sample", "size, MB", "params, M", *(["score"] if scored else [])]
    rows = []
    for name, candidate in zip(of_all.names, of_all.candidates, strict=True):
        cells = [of_all.known_as(name), "*" if candidate.front else ""]
        cells += [ranged(of_all.outcome(name))] if main else []
        cells += [lone(of_all.get(g, name, f)) for g, f, _ in extra]
        cells += [lone(of_all.get(Group.COST, name, "latency"))]
        cells += [_mega(of_all.get(Group.COST, name, f)) for f in ("weight bytes", "weights")]
        cells += [number(candidate.score, Unit.ABS)] if scored else []
        rows.append(tuple(cells))
    figures = tuple(range(2, len(heads)))
    title = "Ranking" if main else "The models, in the order in which they were given"
    return Table(title, tuple(heads), tuple(rows), figures, _about_ranking(of_all, scored))


def worded(table: Table) -> Table:
    """The ranking with words where a terminal has room for a mark."""
    if FRONT not in table.head:
        return table
    at = table.head.index(FRONT)
    rows = tuple((*r[:at], "yes" if r[at] else "no", *r[at + 1 :]) for r in table.rows)
    head = tuple("on the front" if h == FRONT else h for h in table.head)
    return replace(table, head=head, rows=rows, note=table.note.replace(" (*)", ""))


def _about_ranking(of_all: Assessed, scored: bool) -> str:
    second = of_all.figures(Group.REUSE)[1:2] if of_all.group == Group.REUSE else []
    shown = [of_all.main, *second]
    sentences = [f"{_capital(n)}: {_FIGURES[n]}." for n in dict.fromkeys(shown) if n in _FIGURES]
    if any(interval_of(m) for n in of_all.names if (m := of_all.outcome(n)) is not None):
        sentences.append(
            "95 % interval: where the figure would lie on other samples of this kind; made wider "
            "because folds share what they train on, and left out where all folds came to the same."
        )
    if of_all.folds and of_all.folds.held_back and of_all.main:
        by = ", answered by a probe" if of_all.group == Group.FINE_TUNED else ""
        sentences.append(f"Test set: the held-back samples{by}.")
    timed = [m for n in of_all.names if (m := of_all.get(Group.COST, n, "latency")) is not None]
    if timed:
        sentences.append(
            f"ms a sample: the median time of one sample at a time, in PyTorch on "
            f"{_device(timed[0])}, all models in turns."
        )
    elif len(of_all.names) < 2:
        sentences.append("Latency was not measured.")
    if scored:
        weights = of_all.section.weights or {}
        parts = listed(f"{_AXES.get(k, k)} {v:g}" for k, v in weights.items())
        sentences.append(
            f"Score: the policy's weights ({parts}) of figures set from 0 (the worst here) "
            "to 1 (the best here)."
        )
    return "\n".join(filter(None, [*sentences, front_in_words(of_all)]))


def _device(m: Measurement) -> str:
    device = str(m.conditions.get("device"))
    return {"cpu": "the CPU", "cuda": "the GPU"}.get(device, "this machine")


def all_figures(of_all: Assessed) -> list[Table]:
    """Every figure of quality with its interval."""
    tables = []
    for group, title in (
        (Group.FINE_TUNED, "Fine-tuned"),
        (Group.REUSE, "A probe on frozen features, over the folds"),
        (Group.HELD_BACK, "A probe on frozen features, on the held-back test set"),
    ):
        if not (shown := [f for f in of_all.figures(group) if "time" not in f]):
            continue
        by_figure = {f: [of_all.get(group, n, f) for n in of_all.names] for f in shown}
        heads = ("model", *(f"{f}{_unit(by_figure[f])}" for f in shown))
        rows = tuple(
            (of_all.known_as(n), *(ranged(by_figure[f][i]) for f in shown))
            for i, n in enumerate(of_all.names)
        )
        note = "In brackets: the 95 % interval."
        tables.append(Table(title, heads, rows, tuple(range(1, len(heads))), note))
    return tables


def costs(of_all: Assessed) -> Table | None:
    """What each takes to run, and what it took to find this out."""
    if not of_all.figures(Group.COST):
        return None
    tuned = [f for f in of_all.figures(Group.FINE_TUNED) if "time" in f]
    devices = [f for f in of_all.figures(Group.COST) if "device time" in f]  # where there is a GPU
    heads = ["model", "operations a sample", "training memory, MB", "features", "probes"]
    heads += [_TIMES.get(f, f) for f in (*devices, *tuned)]
    rows = []
    for name in of_all.names:
        features = of_all.get(Group.COST, name, "features, processor time")
        operations = of_all.get(Group.COST, name, "FLOPs")
        rows.append((
            of_all.known_as(name),
            amount(operations.value if operations else None),
            _mega(of_all.get(Group.COST, name, "activation bytes")),
            seconds(features),
            seconds(of_all.get(Group.COST, name, "probes, processor time")),
            *(seconds(of_all.get(Group.COST, name, f)) for f in devices),
            *(seconds(of_all.get(Group.FINE_TUNED, name, f)) for f in tuned),
        ))  # fmt: skip
    note = (
        "Operations: floating-point operations for one sample, a multiplication and its addition "
        "two of them.\nTraining memory: what one sample leaves in memory for a step of training.\n"
        "Features, probes: processor time for all samples here, and for all probes."
    )
    if kept := [n for n in of_all.names if _kept(of_all, n)]:
        note += f"\nThe features of {_named(of_all, kept)} are from an earlier run, with its times."
    if tuned:
        note += (
            "\nFine-tuning: processor time of a fold; to 95 %: until 95 % of its best was there."
        )
    return Table("What each costs", tuple(heads), tuple(rows), tuple(range(1, len(heads))), note)


def _kept(of_all: Assessed, name: str) -> bool:
    m = of_all.get(Group.COST, name, "features, processor time")
    return m is not None and bool(m.conditions.get("cached"))


_TIMES = {
    "training, processor time": "fine-tuning", "time to 95 % of its best": "to 95 %",
    "training, device time": "fine-tuning, GPU", "features, device time": "features, GPU",
}  # fmt: skip


def few(of_all: Assessed) -> Table | None:
    """Accuracy with few samples of each class."""
    measurements = sorted(of_all.every(Group.SAMPLE_EFFICIENCY), key=_count)
    if not (names := list(dict.fromkeys(m.name for m in measurements))):
        return None
    heads = ("model", *(f"{n.removeprefix('accuracy at ')}, %" for n in names))
    rows = tuple(
        (of_all.known_as(c), *(ranged(of_all.get(Group.SAMPLE_EFFICIENCY, c, n)) for n in names))
        for c in of_all.names
    )
    note = (
        "Accuracy of a probe that is given only so many samples of each class to train on, with "
        "its 95 % interval: which model serves where labels are scarce."
    )
    title = "How many labelled samples it takes"
    return Table(title, heads, rows, tuple(range(1, len(heads))), note)


def _count(m: Measurement) -> float:
    count = m.conditions.get("samples")
    return count if known(count) else 0.0


def as_it_is(of_all: Assessed) -> Table | None:
    """What models answer with the head that they have."""
    if not (names := of_all.figures(Group.AS_IT_IS)):
        return None
    by_name = {n: [of_all.get(Group.AS_IT_IS, c, n) for c in of_all.names] for n in names}
    heads = ("model", *(f"{n}{_unit(by_name[n])}" for n in names))
    rows = tuple(
        (of_all.known_as(c), *(ranged(by_name[n][i]) for n in names))
        for i, c in enumerate(of_all.names)
        if any(by_name[n][i] is not None for n in names)
    )
    note = (
        "All samples answered by the model's own head, without any training here. Mind: nothing "
        "shows that a model has not been trained on these very samples; if it was, its figure is "
        "too good."
    )
    return Table("As it is", heads, rows, tuple(range(1, len(heads))), note)


def interchange(of_all: Assessed) -> Table | None:
    """Who may stand in for whom: a row for each stand-in, a column for each model replaced."""
    if not of_all.pairs:
        return None
    heads = ("model", *(f"for {n + 1}" for n in range(len(of_all.names))))
    rows = tuple(
        (
            of_all.known_as(instead),
            *("" if a == instead else verdict(of_all.pair(a, instead)) for a in of_all.names),
        )
        for instead in of_all.names
    )
    points = _points(of_all)
    note = (
        f"Can the model of a row stand in for that of a column?\n"
        f"yes: it is shown not to be worse by {points} or more.\n"
        "no: it is shown to be.\n"
        "?: open. These samples do not settle it, which is not a yes."
    )
    others = [(a, b) for a in of_all.names for b in of_all.names if a != b]
    if any(verdict(of_all.pair(*both)) == NOT_COMPARED for both in others):
        note += f"\n{NOT_COMPARED}: not compared."
    figures = tuple(range(1, len(heads)))
    return Table(INTERCHANGE, heads, rows, figures, f"{note}\n{_basis(of_all)}".strip())


def _points(of_all: Assessed) -> str:
    margin = of_all.section.margin
    if not known(margin):
        return "the margin"
    return f"{100 * margin:g} point{'' if margin == 0.01 else 's'} of accuracy"


def _basis(of_all: Assessed) -> str:
    """Whose answers the pairs were compared by."""
    bases = {p.basis for p in of_all.pairs}
    sentences = []
    if Basis.PROBE in bases:
        sentences.append(
            "Compared by the answers of probes to samples that they were not trained on."
        )
    if Basis.TUNED in bases:
        sentences.append(
            "Compared by what each answered on the part that it was not fine-tuned on."
        )
    if Basis.OWN in bases:
        which = "Compared" if bases <= {Basis.OWN, Basis.SAME} else "Pairs marked “own heads”"
        sentences.append(
            f"{which} by the models' own answers as they are: a model that was trained on "
            "these very samples looks better than it is."
        )
    return " ".join(sentences)


def sentences(of_all: Assessed) -> list[tuple[str, str]]:
    """(verdict, sentence) of each pair: yes first, then what is open, then no."""
    order = {"yes": 0, OPEN: 1, "no": 2}
    mixed = len({p.basis for p in of_all.pairs} - {Basis.SAME}) > 1
    rows = [
        (verdict(p), p.sentence + (" (own heads)" if mixed and p.basis is Basis.OWN else ""))
        for p in of_all.pairs
    ]
    return sorted(rows, key=lambda s: order[s[0]])


ABOUT_P = (
    "p: how likely a result as clear as this would be by chance if the contrary held; below 0.05 "
    "counts as shown. Callers: the programs that use the model."
)


# A model's interval is `assess.agreement.corrected_interval`, p is Tango's test of paired answers.
_TWO_VARIANCES = (
    "The order of the ranking may be open where p is not, or the reverse: intervals there are of "
    "each model by itself, by its spread from fold to fold; p is of two models' answers to the "
    "same samples, their training taken as it was."
)


def about_p(of_all: Assessed) -> str:
    """What p is, and why it may not agree with the order, where both are of trained answers."""
    outcomes = (of_all.outcome(n) for n in of_all.names)
    spread = any(m is not None and interval_of(m) for m in outcomes)
    by_training = any(p.basis not in (Basis.OWN, Basis.SAME) for p in of_all.pairs)
    return f"{ABOUT_P} {_TWO_VARIANCES}" if spread and by_training else ABOUT_P


def predicted(of_all: Assessed) -> Table | None:
    """How well each score that needs no training foretold the order."""
    names = of_all.figures(Group.TRANSFERABILITY)
    taus = {of(m): m for m in of_all.every(Group.ORDER)}
    if not (names := list(dict.fromkeys([*names, *taus]))):
        return None
    rows = tuple((n, _tau(of_all, n, taus.get(n)), _SCORES.get(n, "")) for n in names)
    order, main = of_all.section.order, of_all.main or "accuracy"
    against = order.against.replace("accuracy", main) if order else main
    note = (
        f"Foretold: how well the score put the models in the order of the {against} (weighted "
        "Kendall's tau): 1 the same order, 0 no relation, -1 the reverse; places at the top count "
        f"most. With {len(of_all.names)} models that is a hint, not a proof."
    )
    if not taus:
        note = "How well the scores foretell the order is not known: that takes two ranked models."
    heads = ("score", "foretold", "what it asks")
    return Table("Could it have been known without training?", heads, rows, (1,), note)


def _tau(of_all: Assessed, score: str, m: Measurement | None) -> str:
    if m is None:
        return ABSENT
    if not known(m.value):
        return "not defined"
    have = _defined(of_all, score)
    models = len(of_all.names)
    some = f" ({have} of {models} models)" if have not in (0, models) else ""
    return f"{m.value:.2f}{some}"


def _defined(of_all: Assessed, score: str) -> int:
    """Of how many models a score was defined; 0 where it is no score of its own."""
    measurements = [of_all.get(Group.TRANSFERABILITY, n, score) for n in of_all.names]
    return sum(m is not None and known(m.value) for m in measurements)


def scores(of_all: Assessed) -> Table | None:
    """Each score of each model."""
    if not (names := of_all.figures(Group.TRANSFERABILITY)):
        return None
    heads = ("score", *(str(n + 1) for n in range(len(of_all.names))))
    rows = tuple(
        (name, *(_score(of_all.get(Group.TRANSFERABILITY, c, name)) for c in of_all.names))
        for name in names
    )
    note = (
        "The columns are the models by their place in the ranking. More is better. Each score has "
        "a scale of its own; only figures of one row can be held against each other."
    )
    alike, first = _alike(of_all)
    if alike:
        rows = (*rows, alike)
        note += (
            f"\nLikeness: how alike a model's features are to those of {first}, the first that was "
            "given (linear CKA): 1 the same but for turning and scale, 0 unrelated. It is no merit."
        )
    return Table("Scores without training", heads, rows, tuple(range(1, len(heads))), note)


def _alike(of_all: Assessed) -> tuple[tuple[str, ...], str]:
    """The row of how alike each model's features are to the first one's, and who that is."""
    by_model = {c: of_all.get(Group.SIMILARITY, c, "linear CKA") for c in of_all.names}
    first = next((str(m.conditions.get("to")) for m in by_model.values() if m is not None), "")
    if not first:
        return (), ""
    cells = ("-" if c == first else _score(m) for c, m in by_model.items())
    return ("likeness", *cells), of_all.known_as(first)


def _score(m: Measurement | None) -> str:
    return "none" if m is None or not known(m.value) else number(m.value, m.unit)


def trained(of_all: Assessed) -> Table | None:
    """How each model was trained, as far as its file tells."""
    rows = []
    documented = False
    for c in of_all.candidates:
        documented = documented or bool(c.training) or c.random
        words = "; ".join(f"{k} {plain(v)}" for k, v in c.training.items())
        if c.random:
            words = "not at all: its weights were drawn at random, as a control"
        rows.append((of_all.known_as(c.name), words or "not known: its file does not tell"))
    note = "" if documented else "No file tells how its model was trained."
    return Table("How each was trained", ("model", "training"), tuple(rows), (), note)


def notes(report: Report) -> list[str]:
    """What the run itself has to add, and what it left out."""
    skipped = [f"{_capital(one.rule)}: not measured, because {one.why}." for one in report.skipped]
    return [*skipped, *(n if n.endswith(".") else f"{n}." for n in report.notes)]


def tables(of_all: Assessed) -> list[Table]:
    """All tables, in the order in which questions come up; none where no model was judged."""
    if not of_all.names:
        return []
    candidates: Sequence[Table | None] = (
        ranking(of_all), interchange(of_all), few(of_all), as_it_is(of_all), costs(of_all),
        predicted(of_all), scores(of_all), trained(of_all),
    )  # fmt: skip
    return [t for t in candidates if t is not None]


def limits(of_all: Assessed) -> list[str]:
    """What this evidence does not show."""
    limits: list[str] = []
    if not of_all.names:
        return limits
    if (data := of_all.data) is not None:
        limits.append(
            f"It holds for this data set and for data like it; {data.summary} are what it rests on."
        )
    if of_all.group == Group.REUSE and of_all.main:
        limits.append("Probes leave the backbone as it is: fine-tuning can change the order.")
    if of_all.figures(Group.AS_IT_IS):
        limits.append("Whether a model has seen these samples in its own training is not known.")
    if any(verdict(p) == OPEN for p in of_all.pairs):
        limits.append("What is open (?) is not shown either way; more samples may settle it.")
    if any(of_all.get(Group.COST, n, "latency") for n in of_all.names):
        limits.append("Latency is that of one machine.")
    return limits
