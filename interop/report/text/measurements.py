"""Measurements -> a table a group: accuracy, comparison, latency, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interop.facts import Group, Measurement, Report, Unit
from interop.report.table import WIDTH, by_row, table, wrap
from interop.report.units import at_of, quantity, spanned


def measured_blocks(report: Report) -> list[list[str]]:
    """Tables for each group of measurements: accuracy, comparison, latency, memory."""
    groups: dict[str, list[Measurement]] = {}
    for m in report.measurements:
        groups.setdefault(str(m.conditions.get("group", "measured")), []).append(m)
    return [block for name, measurements in groups.items() for block in _group(name, measurements)]


def _group(name: str, measurements: list[Measurement]) -> list[list[str]]:
    if name == Group.LATENCY:
        return [_latency(measurements)]
    if name == Group.LATENCY_RATIO:
        rows = [[name, "batch", "value", "95 % interval"]]
        rows += [[_of(m), str(m.conditions["batch"]), *_figures(m)] for m in measurements]
        return [table(rows)]
    if any("verdict" in m.conditions for m in measurements):
        return [_changes(name, measurements)]
    if all("runtime" in m.conditions for m in measurements):
        return _side_by_side(name, measurements)
    if all("between" in m.conditions for m in measurements):  # what is compared is the heading
        pairs: dict[str, list[Measurement]] = {}
        for m in measurements:
            pairs.setdefault(_of(m), []).append(m)
        return [
            table([[pair, "value", "95 % interval"], *([m.name, *_figures(m)] for m in own)])
            for pair, own in pairs.items()
        ]
    rows = [[name, "of", "value", "95 % interval"]]
    return [table([*rows, *([m.name, _of(m), *_figures(m)] for m in measurements)])]


def _of(m: Measurement) -> str:
    return str(m.conditions.get("of", ""))


def _side_by_side(name: str, measurements: Sequence[Measurement]) -> list[list[str]]:
    """A row for each figure and a column for each runtime, a model's runtimes in one table as far
    as the line takes them."""
    # its name is the heading
    same = len({m.name for m in measurements}) == 1 and measurements[0].name == name
    cells = {(_row(m, same), _of(m)): _cell(m) for m in measurements}
    labels = list(dict.fromkeys(row for row, _ in cells))
    front = max(len(name), *(len(label) for label in labels))
    blocks: list[list[str]] = []
    for ofs in _fitting(measurements, cells, front):
        rows = [[name, *ofs], *([r, *(cells.get((r, of), "") for of in ofs)] for r in labels)]
        blocks.append(table([row for row in rows if any(row[1:])]))
    return blocks


def _fitting(
    measurements: Iterable[Measurement], cells: Mapping[tuple[str, str], str], front: int
) -> list[list[str]]:
    """The runtimes of each model, cut where the line is full."""
    fitting: list[list[str]] = []
    model, left = "", 0
    for m in {_of(m): m for m in measurements}.values():
        wide = 2 + max(len(_of(m)), *(len(c) for (_, of), c in cells.items() if of == _of(m)))
        if str(m.conditions.get("model")) != model or wide > left:
            fitting.append([])
            model, left = str(m.conditions.get("model")), WIDTH - front
        fitting[-1].append(_of(m))
        left -= wide
    return fitting


def _row(m: Measurement, same: bool) -> str:
    """What a figure is of: its name, and the batch or shape where there is one."""
    at = at_of(m.conditions)
    return ", ".join(filter(None, ("" if same and at else m.name, at)))


def _cell(m: Measurement) -> str:
    """ "88.33 % (84.21 to 91.49)"; of a first run, the time that the same takes later too."""
    if m.value is None:
        return "-"
    steady = m.conditions.get("steady_ms")
    more = f" ({spanned(*m.interval, m.unit, bare=True)})" if m.interval else ""
    return quantity(m.value, m.unit) + (f", later {steady:.2f}" if steady is not None else more)


def _changes(name: str, measurements: Iterable[Measurement]) -> list[str]:
    """What is not as it was, from one report to the next."""
    scores = name == Group.SCORE_CHANGE
    head = ("old", "new") if scores else ("value", "95 % interval")
    rows = [[name, "of", *head, "verdict"]]
    measurements = list(measurements)
    for m in measurements:
        c = m.conditions
        unit = Unit.SHARE if m.unit == Unit.POINTS else m.unit
        figures = [quantity(c[k], unit) for k in head] if scores else _figures(m)
        label = m.name.removesuffix(" change") if scores else _row(m, False)
        rows.append([label, _of(m), *figures, str(c.get("verdict", ""))])
    wide = sum(2 + max(len(row[i]) for row in rows) for i in range(len(rows[0]))) - 2
    if wide <= WIDTH:
        return table(rows)
    # What has a long name stands above its figures, in full.
    first, *others = by_row([[row[0], *row[2:]] for row in rows])
    lines, last = list(first), ""
    for m, own in zip(measurements, others, strict=True):
        if _of(m) != last:
            lines += wrap(_of(m), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
            last = _of(m)
        lines += own
    return lines


def _figures(m: Measurement) -> tuple[str, str]:
    interval = "" if m.interval is None else spanned(*m.interval, m.unit)
    return "-" if m.value is None else quantity(m.value, m.unit), interval


def _latency(measurements: list[Measurement]) -> list[str]:
    rows = [["latency", "batch", "p50 ms", "p90 ms", "p99 ms", "samples/s"]]
    for m in sorted(measurements, key=lambda m: (m.conditions["batch"], str(m.conditions["of"]))):
        c = m.conditions
        figures = [f"{v:.2f}" for v in (m.value or 0.0, c["p90"], c["p99"])]
        rows.append([str(c["of"]), str(c["batch"]), *figures, f"{c['per_second']:.0f}"])
    return table(rows)
