"""Candidates' figures -> which of them nothing known beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interop.errors import ConfigError


def front(points: Sequence[Mapping[str, float | None]], better: Mapping[str, int]) -> list[bool]:
    """For each point whether it is on the Pareto front: whether no other is known to dominate it.

    `better` tells the axes, and which way each is better: 1 for more, -1 for less. A point
    dominates another that is at least as good on every axis and better on one; equal points are
    both on the front. What is None, NaN or left out is unknown and may be anything: a point with an
    unknown figure dominates none and is dominated by none, so that it is on the front. An axis that
    no point has a figure of says nothing and is left out.
    Raises ConfigError where `better` names no axis, or a way that is neither 1 nor -1.
    """
    if not better or any(way not in (1, -1) for way in better.values()):
        raise ConfigError("a Pareto front needs axes that are better for 1 (more) or -1 (less)")
    if not points:
        return []
    table = np.array([[_figure(p.get(axis)) * way for axis, way in better.items()] for p in points])
    table = table[:, ~np.isnan(table).all(axis=0)]
    # NaN compares false: whoever holds one neither dominates nor is dominated.
    return [not any((one >= this).all() and (one > this).any() for one in table) for this in table]


def _figure(value: float | None) -> float:
    return float("nan") if value is None else float(value)
