"""Values of a Report -> words, and the table that formats lay out.

What is not known is said in words: a page that shows `nan` or an empty cell hides the gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TypeGuard

from interop.facts import Json, Measurement
from interop.records import dataclass
from interop.report.units import at_of, quantity, spanned

ABSENT = "not measured"
MOST_ITEMS, MOST_CHARACTERS, MOST_ROWS = 30, 2000, 200


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; `figures` are the columns of numbers, which are set to the right."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[int, ...] = ()
    note: str = ""


def known(value: object) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and isfinite(value)


def shown(value: object, unit: str) -> str:
    """A figure with its unit, or that there is none."""
    return quantity(value, unit) if known(value) else ABSENT


def interval_of(m: Measurement) -> tuple[float, float] | None:
    """The interval where both ends are numbers, the lower first."""
    if m.interval is None or not all(known(v) for v in m.interval):
        return None
    low, high = m.interval
    return (low, high) if low <= high else (high, low)


def span(m: Measurement) -> str:
    """The 95 % interval as text, a unit of both named once; empty where there is none."""
    interval = interval_of(m)
    return "" if interval is None else spanned(*interval, m.unit)


def with_span(m: Measurement) -> str:
    """ "0.393 (0.386 to 0.400)"."""
    interval = span(m)
    return shown(m.value, m.unit) + (f" ({interval})" if interval else "")


def of(m: Measurement) -> str:
    return str(m.conditions.get("of", ""))


def batch_of(m: Measurement) -> float:
    """The batch size, by which measurements are ordered; 0 where there is none."""
    batch = m.conditions.get("batch")
    return batch if known(batch) else 0


def shape_of(m: Measurement) -> str:
    """ "batch 8", or the sizes of other axes where they are what was changed."""
    return at_of(m.conditions)


def listed(words: Iterable[str]) -> str:
    """ "a, b and c"."""
    parts = list(words)
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


def plain(value: Json, key: str = "") -> str:
    """One JSON value in words; long ones are cut, and say so."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "unix_time" and known(value):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if key.endswith("bytes") and known(value):
        return quantity(value, "bytes")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return _cut([f"{k}: {plain(v, str(k))}" for k, v in value.items()])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _cut([_item(v) for v in value])
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def _item(value: Json) -> str:
    """An entry of a list: a record by its values alone, in brackets where it holds several."""
    inner = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(inner, (list, tuple)):
        return "(" + ", ".join(plain(v) for v in inner[:MOST_ITEMS]) + ")"
    return plain(inner)


def _cut(items: list[str]) -> str:
    if not items:
        return "none"
    more = len(items) - MOST_ITEMS
    text = ", ".join(items[:MOST_ITEMS])
    text = text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
    return text + (f" and {more} more, in the JSON report" if more > 0 else "")
