"""A bench report, an export and a check -> the figures that budgets are held against.

What a report holds only as raw samples (a percentile, a throughput, the providers that took nodes)
becomes one figure with its interval here. Standard library alone: the gate runs without numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isfinite

from interop.facts import Group, Json, Measurement, Report, Unit
from interop.facts.sections.export import ExportSection, VerifySection
from interop.policy.policy import Policy
from interop.records import replace

# A ratio, its 95 % interval where there is one, and conditions.
Ratio = tuple[float, tuple[float, float] | None, dict[str, Json]]

# Each of two percentiles is bounded at 97.5 %, so that their ratio is at 95 % (Bonferroni).
_TAIL = 0.0125
_RARE = 0.01  # the share of runs beyond a 99th percentile
_MOST_RUNS = 50_000  # beyond, 0.99^n is no number any more


def derived(benched: Report, policy: Policy) -> tuple[Measurement, ...]:
    """The measurements of a bench report, and those that its samples give."""
    measurements = [_headline(m) for m in benched.measurements]
    return (
        *measurements,
        *_pairs(measurements, "latency", "p99 ratio", p99_ratio),
        *_pairs(measurements, "throughput", "throughput ratio", _of_intervals),
        *_providers(benched, policy),
    )


def finite(m: Measurement) -> bool:
    """Whether it has a value, and that and its interval and samples are numbers that a budget can
    be held against: a NaN would compare as false with every bound, and so pass."""
    return m.value is not None and all(map(isfinite, (m.value, *(m.interval or ()), *m.samples)))


def of_files(checked: Report, exported: Sequence[Report]) -> Iterator[Measurement]:
    """The candidate's size on disk in bytes, and the opset of its graph where it is known: by its
    own graph, else by each export of it."""
    facts = checked.inputs[1].facts
    conditions: dict[str, Json] = {"group": Group.FILE, "of": "candidate"}
    if isinstance(size := facts.get("bytes"), int):
        yield Measurement("file size", Unit.BYTES, size, conditions=conditions)
    own = _opset(facts.get("graph"))
    for opset in [own] if own else [_made(r) for r in exported]:
        if isinstance(opset, int):
            yield Measurement("opset", Unit.COUNT, opset, conditions=conditions)


def _made(report: Report) -> int | None:
    """The opset of the graph that an export wrote, or that another tool wrote and verify proved."""
    if report.command == "verify":
        return report.section(VerifySection).opset
    return report.section(ExportSection).opset


def _opset(graph: Json) -> int | None:
    opsets = graph.get("opsets", {}) if isinstance(graph, dict) else {}
    version = opsets.get("", opsets.get("ai.onnx"))
    return version if isinstance(version, int) else None


def _headline(m: Measurement) -> Measurement:
    """The change of another task's first figure, as that of accuracy is called."""
    conditions = m.conditions
    points = (
        m.unit == Unit.POINTS
        and conditions.get("better") == 1
        and conditions.get("between") == "models"
    )
    if not points or not m.name.endswith(" change"):
        return m
    figure = m.name.removesuffix(" change")
    return replace(m, name="accuracy change", conditions={**conditions, "figure": figure})


def _pairs(
    measurements: Sequence[Measurement],
    name: str,
    ratio_name: str,
    ratio: Callable[[Measurement, Measurement], Ratio],
) -> list[Measurement]:
    """The ratio of B to A wherever both were measured alike."""
    sides: dict[tuple[str, str], dict[str, Measurement]] = {}
    for m in measurements:
        if m.name == name:
            alike = (str(m.conditions.get("runtime")), str(m.conditions.get("batch")))
            sides.setdefault(alike, {})[str(m.conditions.get("model"))] = m
    out = []
    for (runtime, _), side in sides.items():
        if {"A", "B"} <= side.keys():
            a, b = side["A"], side["B"]
            whole = finite(a) and finite(b) and a.value and b.value
            # A side without a value makes a ratio without one, which no budget takes for a pass.
            value, interval, more = ratio(a, b) if whole else (None, None, {})
            about = {"of": f"B {runtime} / A {runtime}", "batch": a.conditions.get("batch")}
            conditions = {"group": ratio_name, "between": "models", **about, **more}
            out.append(Measurement(ratio_name, Unit.RATIO, value, interval, (), conditions))
    return out


def _of_intervals(a: Measurement, b: Measurement) -> Ratio:
    """B / A, with the interval from the worst to the best of the two intervals."""
    first, second = a.value or 0.0, b.value or 0.0
    low_a, high_a = a.interval or (first, first)
    low_b, high_b = b.interval or (second, second)
    interval = (low_b / high_a, high_b / low_a) if low_a and high_a else None
    return second / first, interval, {}


def p99_ratio(a: Measurement, b: Measurement) -> Ratio:
    """The ratio of the 99th percentiles, B / A; no interval where the runs are too few for one."""
    runs = min(len(a.samples), len(b.samples))
    first, second = (float(m.conditions.get("p99") or m.value or 0.0) for m in (a, b))
    (low_a, high_a), (low_b, high_b) = (p99_bounds(m.samples) for m in (a, b))
    interval = None
    if low_a and high_a and low_b and high_b:
        interval = (low_b / high_a, high_b / low_a)
    return second / first, interval, {"runs": runs}


def p99_bounds(samples: Sequence[float]) -> tuple[float | None, float | None]:
    """A 97.5 % interval of the 99th percentile: two of the samples, in order of size.

    Distribution-free, from the binomial distribution of how many lie beyond it (David and
    Nagaraja, Order Statistics, 3rd ed., 7.1); an end is None where no sample bounds it.
    """
    ordered = sorted(samples[-_MOST_RUNS:])
    n = len(ordered)
    chance = (1 - _RARE) ** n  # that none lies beyond
    total, beyond = chance, 0
    high: float | None = None
    while total < 1 - _TAIL and beyond < n:
        if total <= _TAIL:
            high = ordered[n - beyond - 1]
        chance *= (n - beyond) / (beyond + 1) * _RARE / (1 - _RARE)
        total += chance
        beyond += 1
    low = ordered[n - beyond - 1] if beyond < n else None
    return low, high


def _providers(benched: Report, policy: Policy) -> Iterator[Measurement]:
    """How many execution providers took nodes of the candidate that the policy does not allow."""
    took: dict[str, list[str]] = {}
    for name, facts in benched.environment.items():
        there = facts.get("providers") if isinstance(facts, dict) else None
        if not name.startswith("B ") or not there or not isinstance(there, (list, tuple)):
            continue
        took.setdefault(str(there[0]), [])
        elsewhere = facts.get("elsewhere") or ()
        for node in elsewhere if isinstance(elsewhere, (list, tuple)) else [elsewhere]:
            what, _, provider = str(node).rpartition(" on ")
            took.setdefault(provider, []).append(what)
    if not policy.providers or not took:
        return
    others = {p: nodes for p, nodes in took.items() if p not in policy.providers}
    phrases = [
        f"{p} took {len(nodes)} node{'s' * (len(nodes) != 1)}, {nodes[0]} for one"
        if nodes
        else f"{p} took the graph"
        for p, nodes in others.items()
    ]
    conditions: dict[str, Json] = {
        "group": Group.PROVIDERS,
        "of": "candidate",
        "model": "B",
        "took": phrases,
        "allowed": list(policy.providers),
    }
    yield Measurement("providers not allowed", Unit.COUNT, len(others), conditions=conditions)
