"""Two candidates' answers to the same rows -> whether one can stand in for the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from interop.facts import Answer, Basis
from interop.stats.agreement import cohen_kappa, not_worse_paired, tost_paired
from interop.stats.intervals import mcnemar, paired_interval

Array = NDArray[Any]
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Replacement:
    """B in A's place, on `count` rows.

    `agreement` and the two shares of flips are 0 to 1: `lost` of rows that A alone has right, `won`
    that B alone has. `change` is B's accuracy less A's with its 95 % interval. `equivalent` is the
    p-value of TOST against the margin, `not_worse` that of its lower side alone, `worse` that of
    the opposite, `differs` that of McNemar's exact test. `stands_in` is YES where B is shown not to
    be worse by the margin or more; NO where it is shown to be; else UNKNOWN. `kappa` is None where
    both give one answer throughout. `doubt` says why a verdict that the figures would allow was not
    drawn: a model that has been trained on these samples looks better than it is.
    """

    a: str
    b: str
    basis: Basis
    count: int
    agreement: float
    kappa: float | None
    lost: float
    won: float
    change: float
    interval: tuple[float, float]
    equivalent: float
    not_worse: float
    worse: float
    differs: float
    stands_in: Answer
    doubt: str = ""


def compared(
    a: str, b: str, basis: Basis, ours: Array, theirs: Array, right_a: Array, right_b: Array,
    margin: float, taught: tuple[int, int] = (0, 0),
) -> Replacement:  # fmt: skip
    """`ours` and `theirs` (n,) are answers by A and by B, `right_a` and `right_b` (n,) bool.

    `margin` is a share of 1. `taught` tells of A and of B how many of the samples it was trained
    on: nothing good is concluded of such a B, and nothing bad of whoever is held against such an A.
    """
    count = len(right_a)
    lost, won = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    not_worse = not_worse_paired(won, lost, count, margin)
    worse = 1 - not_worse
    if not_worse < ALPHA:
        verdict = Answer.YES
    elif worse < ALPHA:
        verdict = Answer.NO
    else:
        verdict = Answer.UNKNOWN
    doubt = ""
    if taught[1] and verdict is Answer.YES:
        verdict, doubt = Answer.UNKNOWN, f"{b} was trained on {taught[1]} of these samples"
    elif taught[0] and verdict is Answer.NO:
        verdict, doubt = Answer.UNKNOWN, f"{a} was trained on {taught[0]} of these samples"
    return Replacement(
        a, b, basis, count,
        float((ours == theirs).mean()),
        cohen_kappa(ours, theirs),
        lost / count, won / count, (won - lost) / count,
        paired_interval(lost, won, count),
        tost_paired(won, lost, count, margin),
        not_worse,
        worse,
        mcnemar(lost, won),
        verdict, doubt,
    )  # fmt: skip


def same(a: str, b: str, count: int, right: Array) -> Replacement:
    """The pair of two files with the very same weights, which answer alike whatever is asked.

    `right` (n,) says which of the answers are.
    """
    comparison = compared(a, b, Basis.SAME, right, right, right, right, 0.5)
    return replace(comparison, count=count, kappa=1.0, not_worse=0.0, equivalent=0.0,
                   stands_in=Answer.YES)  # fmt: skip


def sentence(
    pair: Replacement,
    margin: float,
    callers: str,
    latency: tuple[float, tuple[float, float]] | None,
) -> str:
    """The verdict for people: "B can stand in for A on this task (within 1 point, p = 0.003),
    callers unchanged, 0.4 x the latency"."""
    points = f"{100 * margin:g} point{'s' if margin != 0.01 else ''}"
    if pair.basis is Basis.SAME:
        verdict = f"{pair.b} can stand in for {pair.a}: the weights are the same, bit for bit"
    elif pair.doubt:
        verdict = (
            f"whether {pair.b} can stand in for {pair.a} is open: {pair.doubt}, and its figures "
            "are too good; assess on samples that none has seen"
        )
    elif pair.stands_in is Answer.YES and pair.equivalent < ALPHA:
        verdict = (
            f"{pair.b} can stand in for {pair.a} on this task (within {points}, "
            f"p {_p(pair.equivalent)})"
        )
    elif pair.stands_in is Answer.YES:
        verdict = (
            f"{pair.b} can stand in for {pair.a} on this task ({_moved(pair)}, worse by {points} "
            f"is refuted with p {_p(pair.not_worse)})"
        )
    elif pair.stands_in is Answer.NO:
        verdict = (
            f"{pair.b} cannot stand in for {pair.a} on this task ({_moved(pair)}, p "
            f"{_p(pair.worse)})"
        )
    else:
        verdict = (
            f"whether {pair.b} can stand in for {pair.a} is open ({_moved(pair)}): {pair.count} "
            f"samples do not settle it within {points} (p {_p(pair.not_worse)})"
        )
    parts = [verdict, callers]
    if latency is not None:
        value, (low, high) = latency
        alike = low <= 1 <= high
        span = f"{value:.2g} x the latency ({low:.2g} to {high:.2g})"
        parts.append("about the same latency" if alike else span)
    return ", ".join(p for p in parts if p)


def _moved(pair: Replacement) -> str:
    points = 100 * pair.change
    return f"{abs(points):.1f} points {'better' if points >= 0 else 'worse'}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"
