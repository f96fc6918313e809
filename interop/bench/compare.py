"""Two saved bench Reports -> what changed from the one to the other, beyond noise.

Latency is compared by its raw samples, and a change counts only outside of what the same runtime
showed against itself in either run; accuracy by the answers to the samples that both saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interop.errors import ConfigError
from interop.facts import Answer, Group, Input, InputRole, Json, Measurement, Report, Skipped, Unit
from interop.facts.sections.bench import BenchSection, CompareSection, Predictions
from interop.stats.intervals import change, share

RESAMPLES = 2000
SEED = 0
# What is measured once a run: a change below this share of it is not called one. A process's start
# hangs on the disk's cache.
SINGLE = {"bytes": 0.1, "ms": 0.5}
ANSWER = 4  # what is stored of one: truth, answer, whether it is right, its key
SLOWER, FASTER, SAME = "slower", "faster", "no change shown"
OTHERS = "changed"
LOSSES = (SLOWER, "worse")
# Where these differ, a change of latency may be the machine's and not the model's.
MACHINE = ("processor", "cpus", "gpu", "device", "system")
Key = tuple[str, str, Json]


def compare(old: Report, new: Report, names: tuple[str, str] = ("old", "new")) -> Report:
    """What changed; the outcome is NO where something is worse or slower beyond noise, else UNKNOWN
    where a host was too noisy to tell, else YES.

    Raises ConfigError where a report is not of bench, or the two have nothing in common.
    """
    for report, name in zip((old, new), names, strict=True):
        if report.command != "bench":
            what = f"is a report of {report.command!r}"
            raise ConfigError(what, where=name, fix="give two reports of bench")
        if any(given.role == InputRole.OLD for given in report.inputs):
            what = "is a comparison itself"
            raise ConfigError(what, where=name, fix="give the two reports that it compares")
        if any(len(sample) < ANSWER for p in _predictions(report) for sample in p.samples.values()):
            what = "its answers were stored by an older version, which do not tell right from wrong"
            raise ConfigError(what, where=name, fix="bench again")
    pairs = _pairs(old, new)
    if not pairs:
        what = "the two reports measure nothing in common"
        fix = "bench the same runtimes and batch sizes in both"
        raise ConfigError(what, where=" and ".join(names), fix=fix)
    _same_subject(old, new, names)
    changes = [*_accuracy(old, new), *_figures(old, new, pairs), *_latencies(old, new, pairs)]
    changes += _single(pairs)
    moved = _conditions(old, new)
    machine = {k: v for k, v in moved.items() if k in MACHINE}
    sides = zip(names, (old, new), strict=True)
    noisy = [n for n, r in sides if any(f.rule == "host-too-noisy" for f in r.findings)]
    roles = zip((InputRole.OLD, InputRole.NEW), names, (old, new), strict=True)
    return Report(
        command="bench",
        outcome=_outcome(changes, noisy),
        summary=_summary(changes, machine, noisy),
        inputs=tuple(Input(role, name, r.summary, {"command": "bench"}) for role, name, r in roles),
        measurements=tuple(changes),
        skipped=(*_other_samples(old, new), *_unmatched(old, new)),
        details=CompareSection(conditions_changed=moved or None),
    )


def _outcome(changes: Sequence[Measurement], noisy: Sequence[str]) -> Answer:
    if any(m.conditions.get("verdict") in LOSSES for m in changes):
        return Answer.NO
    return Answer.UNKNOWN if noisy else Answer.YES


def _same_subject(old: Report, new: Report, names: tuple[str, str]) -> None:
    """ConfigError for reports of other tasks, or of data sets that share no sample."""
    where, fix = " and ".join(names), "compare two runs on the same task and data"
    tasks = [r.section(BenchSection).task for r in (old, new)]
    if None not in tasks and tasks[0] != tasks[1]:
        raise ConfigError(f"are of {tasks[0]} and of {tasks[1]}", where=where, fix=fix)
    hashes = [_hashes(r) for r in (old, new)]
    if all(hashes) and not hashes[0] & hashes[1]:
        raise ConfigError("were measured on data that share no sample", where=where, fix=fix)


def _hashes(report: Report) -> set[str]:
    return {h for p in _predictions(report) for h in p.samples}


def _other_samples(old: Report, new: Report) -> list[Skipped]:
    before, after = _hashes(old), _hashes(new)
    if before == after:
        return []
    shared = f"{len(before & after)} samples are shared by {len(before)} and {len(after)}"
    return [Skipped("each score against the other", f"of other data: {shared}")]


def _predictions(report: Report) -> Sequence[Predictions]:
    return report.section(BenchSection).predictions or ()


def _key(m: Measurement) -> Key:
    return m.name, str(m.conditions.get("of", "")), m.conditions.get("batch")


def _pairs(old: Report, new: Report) -> list[tuple[Measurement, Measurement]]:
    before = {_key(m): m for m in old.measurements}
    return [(before[_key(m)], m) for m in new.measurements if _key(m) in before]


def _unmatched(old: Report, new: Report) -> list[Skipped]:
    ours = {_key(m): m for m in old.measurements}, {_key(m): m for m in new.measurements}
    skipped = []
    for here, there, which in ((*ours, "old"), (*reversed(ours), "new")):
        for name, of, batch in here:
            if (name, of, batch) not in there:
                at = f", batch {batch}" if batch is not None else ""
                skipped.append(Skipped(f"{name} of {of}{at}", f"in the {which} report alone"))
    return skipped


# ---------------------------------------------------------------- accuracy


def _accuracy(old: Report, new: Report) -> list[Measurement]:
    """Answers to the samples that both saw, one by one."""
    before = {p.of: p for p in _predictions(old)}
    measurements: list[Measurement] = []
    for after in _predictions(new):
        earlier = before.get(after.of)
        if earlier is None:
            continue
        both = [h for h in after.samples if h in earlier.samples]
        truths_agree = all(after.samples[h][0] == earlier.samples[h][0] for h in both)
        if not both or not truths_agree:
            continue
        conditions = {"group": Group.ACCURACY_CHANGE, "of": after.of, "samples": len(both)}
        was, now = ([p.samples[h] for h in both] for p in (earlier, after))
        same = np.array([a[3] == b[3] for a, b in zip(was, now, strict=True)])
        if all(one[2] is not None for one in (*was, *now)):
            right = [np.array([one[2] for one in rows], dtype=bool) for rows in (was, now)]
            points, test = change(right[0], right[1], conditions)
            verdict = SAME
            if test.value is not None and test.value < 0.05:
                verdict = "worse" if (points.value or 0) < 0 else "better"
            measurements += [_with(points, verdict=verdict), test]
        verdict = SAME if same.all() else OTHERS
        measurements.append(_with(share("agreement", same, conditions), verdict=verdict))
    return measurements


def _figures(
    old: Report, new: Report, pairs: Sequence[tuple[Measurement, Measurement]]
) -> list[Measurement]:
    """Each score's difference. It is called a change where the two intervals do not meet, which is
    stricter than a test of the difference. Of other samples it would say nothing, and none is."""
    measurements: list[Measurement] = []
    if _hashes(old) != _hashes(new):
        return measurements
    for a, b in pairs:
        if b.conditions.get("group") != Group.ACCURACY or a.value is None or b.value is None:
            continue
        verdict = SAME
        if a.interval and b.interval:
            better = b.conditions.get("better", 1)
            if b.interval[0] > a.interval[1]:
                verdict = "better" if better == 1 else "worse"
            elif b.interval[1] < a.interval[0]:
                verdict = "worse" if better == 1 else "better"
        unit = Unit.POINTS if b.unit == Unit.SHARE else b.unit
        conditions: dict[str, Json] = {
            "group": Group.SCORE_CHANGE,
            "of": b.conditions.get("of"),
            "old": a.value,
            "new": b.value,
            "verdict": verdict,
        }
        name = f"{b.name} change"
        measurements.append(Measurement(name, unit, b.value - a.value, conditions=conditions))
    return measurements


# ---------------------------------------------------------------- latency


def _latencies(
    old: Report, new: Report, pairs: Sequence[tuple[Measurement, Measurement]]
) -> list[Measurement]:
    """New against old at the median, held against the noise of both runs."""
    latencies = []
    for a, b in pairs:
        if b.name not in ("latency", "throughput") or not a.samples or not b.samples:
            continue
        value, interval = ratio(b.samples, a.samples)
        batch = b.conditions.get("batch")
        band = _band([*_noise(old, batch), *_noise(new, batch)])
        slow, fast = (SLOWER, FASTER) if b.name == "latency" else (FASTER, SLOWER)
        verdict = slow if interval[0] > band[1] else fast if interval[1] < band[0] else SAME
        conditions: dict[str, Json] = {
            "group": Group.LATENCY_CHANGE,
            "of": b.conditions.get("of"),
            "batch": batch,
            "noise": list(band),
            "verdict": verdict,
        }
        name = f"{b.name} ratio"
        latencies.append(Measurement(name, Unit.RATIO, value, interval, (), conditions))
    return latencies


def ratio(top: Sequence[float], bottom: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The ratio of the medians of two runs that know nothing of each other, with a 95 % percentile
    bootstrap interval: each side is drawn anew by itself."""
    draw = np.random.default_rng(SEED)
    a, b = np.asarray(top), np.asarray(bottom)
    over = np.median(a[draw.integers(0, len(a), (RESAMPLES, len(a)))], axis=1)
    under = np.median(b[draw.integers(0, len(b), (RESAMPLES, len(b)))], axis=1)
    low, high = np.quantile(over / under, (0.025, 0.975))
    return float(np.median(a) / np.median(b)), (float(low), float(high))


def _noise(report: Report, batch: Json) -> list[tuple[float, float]]:
    return [
        m.interval
        for m in report.measurements
        if m.name == "latency noise" and m.interval and m.conditions.get("batch") == batch
    ]


def _band(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The hull of what a runtime showed against itself, 1 and the mirror image of both ends."""
    ends = [1.0, *(e for i in intervals for e in i), *(1 / e for i in intervals for e in i if e)]
    return min(ends), max(ends)


def _single(pairs: Sequence[tuple[Measurement, Measurement]]) -> list[Measurement]:
    """Cold start and memory: one figure a run, whose noise nobody knows."""
    measurements = []
    for a, b in pairs:
        if b.conditions.get("group") != Group.OWN_PROCESS or not a.value or b.value is None:
            continue
        value = b.value / a.value
        reach = 1 + SINGLE[b.unit]
        verdict = "more" if value > reach else "less" if value < 1 / reach else SAME
        conditions: dict[str, Json] = {
            "group": Group.OWN_PROCESS_CHANGE,
            "of": b.conditions.get("of"),
            "verdict": verdict,
        }
        if "batch" in b.conditions:
            conditions["batch"] = b.conditions["batch"]
        name = f"{b.name} ratio"
        measurements.append(Measurement(name, Unit.RATIO, value, conditions=conditions))
    return measurements


def _with(m: Measurement, **more: Any) -> Measurement:
    from dataclasses import replace

    return replace(m, conditions={**m.conditions, **more})


# ---------------------------------------------------------------- what else is not the same


def _conditions(old: Report, new: Report) -> dict[str, tuple[Json, Json]]:
    """What the runs were made under and that is not alike: [before, after] by its name."""
    before, after = (
        {**_flat(r.environment), **(r.section(BenchSection).conditions or {})} for r in (old, new)
    )
    skipped = ("unix_time", "made at")
    return {
        k: (before.get(k), after.get(k))
        for k in dict.fromkeys([*before, *after])
        if before.get(k) != after.get(k) and k not in skipped
    }


def _flat(environment: Mapping[str, Json]) -> dict[str, Json]:
    return {k: v for k, v in environment.items() if not isinstance(v, Mapping)}


def _summary(
    changes: Sequence[Measurement], machine: Mapping[str, Json], noisy: Sequence[str]
) -> str:
    verdicts = (m.conditions.get("verdict") for m in changes)
    counts = Counter(v for v in verdicts if v and v != SAME)
    words = ", ".join(f"{n} {word}" for word, n in counts.items()) or "nothing changed beyond noise"
    if machine:
        words += f"; another machine ({', '.join(machine)}): latency is not the model's alone"
    if noisy:
        words += f"; the host was too noisy in {' and '.join(noisy)}"
    return words
