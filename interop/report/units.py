"""Figures as people compare them: with a unit, an interval, a batch."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts import Json, Unit


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, in the digits that people compare."""
    if unit == Unit.SHARE:
        return f"{100 * value:.2f} %"
    if unit == Unit.BYTES:
        return in_bytes(value)
    if unit == Unit.POINTS:
        return f"{100 * value:+.2f} points"
    if unit == Unit.ABS:
        size = abs(value)
        return f"{value:#.2g}" if size < 1 else f"{value:.{2 if size < 10 else 1}f}"
    if unit == Unit.PER_SECOND:
        return f"{value:.{2 if value < 10 else 0}f} per second"
    if unit == Unit.COUNT:
        return f"{value:.0f}"
    if unit == Unit.RATIO:
        return f"{value:.3f}"
    if unit == Unit.NATS:
        return f"{value:.3g} {unit}"
    return f"{value:.3g}" if unit == Unit.P else f"{value:.2f} {unit}"


def spanned(low: float, high: float, unit: str, bare: bool = False) -> str:
    """Both ends of an interval, a unit of both named once, or not at all where it is `bare`."""
    a, b = quantity(low, unit), quantity(high, unit)
    if (word := b.partition(" ")[2]) and a.endswith(f" {word}"):
        a = a.removesuffix(f" {word}")
        b = b.removesuffix(f" {word}") if bare else b
    return f"{a} to {b}"


def at_of(conditions: Mapping[str, Json]) -> str:
    """ "batch 8", or the sizes of other axes where they are what was changed."""
    if shape := conditions.get("shape"):
        return ", ".join(f"{k} {v}" for k, v in shape.items())
    batch = conditions.get("batch")
    return "" if batch is None else f"batch {batch}"


def in_bytes(number: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} bytes"
