"""Sizes at which a graph was tried against its module -> the sizes at which it is that module.

Each axis that a graph leaves open is tried on both sides of every guard of its trace, and at sizes
that no guard speaks of. What differs, fails or was too large to try is outside of the domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product
from math import prod
from typing import Any

from interop.facts import AxisDomain, AxisState, outside
from interop.models.signature import BATCH, Forward, Signature, drawn
from interop.models.signature.types import DETECTIONS, padded
from interop.proof.guards import Guard, Sizes, fails
from interop.proof.parity import Reference, elsewhere
from interop.runtimes import TorchRuntime
from interop.runtimes.base import Batch, Runtime

FEEDS = 24  # runs of both sides, at the most
_KEPT = 6  # of them, for the ends of what is claimed
LARGEST = 1 << 22  # numbers in one feed
GROWTH = 16  # times as many numbers as the example has, unless they are few
SMALL = 1 << 12
_FAR = 4096  # guards are followed up to this size, and to four times the example's
_FURTHEST = 1 << 16  # or as far as the numbers in them, up to this size
_ALL = 1 << 18  # places of several axes at which a guard that comes and goes is looked at
_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 53, 67, 97, 131, 227, 257, 389, 521, 1031)
_BATCHES = (5, 8, 33, 65)
_DIVISORS = 256
_UNNAMED = "the model was described with one size here; --input with a name for the axis opens it"
_LARGE = f"was not tried: it has over {GROWTH} times as many values as the example"
_UNKNOWN = "the trace has no conditions on sizes"
_FEW = 8  # sizes of one axis, beside which equality with another says more
_SHORT = 120  # letters of a condition that a person still reads


def _far(home: int, guards: Iterable[Guard] = ()) -> int:
    numbers = [n + 1 for g in guards for n in g.numbers if n < _FURTHEST]
    return max(_FAR, 4 * home, *numbers)


class Outcome(StrEnum):
    """What came of one feed."""

    SAME = "same"
    DIFFERS = "differs"
    FAILS = "fails"
    REFUSED = "refused"  # by the module itself: there is nothing to compare
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class SizeTrial:
    """One feed: the sizes of all named axes, and what came of it.

    `relative` is the difference as a share of the largest output, `allowed` its bound.
    """

    sizes: Sizes
    outcome: Outcome
    relative: float = 0.0
    allowed: float = 0.0
    why: str = ""

    @property
    def good(self) -> bool:
        return self.outcome is Outcome.SAME


Run = Callable[[Sizes], SizeTrial]


@dataclass(slots=True)
class Search:
    """The trials of one graph.

    `home` are the sizes of the traced example, by axis. `guards` is None where the trace has none
    to give: then no more is claimed than the span of what was tried, with gaps. `others` are sizes
    that are worth a try; `thorough` tries more of them, and `dear` fewer: each run takes seconds.
    `numbers` counts those of a feed.
    """

    home: Sizes
    guards: tuple[Guard, ...] | None
    numbers: Callable[[Sizes], int]
    run: Run
    others: Mapping[str, Sequence[int]] = field(default_factory=dict)
    thorough: bool = False
    dear: bool = False
    trials: list[SizeTrial] = field(default_factory=list)

    def explore(self) -> tuple[SizeRange, ...]:
        """Tries sizes, and gives the range of each axis in which all that was tried holds."""
        for sizes in self._planned():
            self._try(sizes)
        for trial in [t for t in self.trials if not t.good]:
            self._alone(trial)
        ranges = self.describe()
        for _ in range(3):  # what is claimed is tried at its ends, and claimed again
            count = len(self.trials)
            for sizes in self._corners(ranges):
                self._try(sizes, FEEDS)
            if all(t.good for t in self.trials[count:]):
                break
            ranges = self.describe()
        return ranges

    def describe(self) -> tuple[SizeRange, ...]:
        """The ranges that the trials and guards allow."""
        ranges = _Description(self.home, self.guards or (), self.trials).ranges()
        return ranges if self.guards is not None else tuple(map(self._spanned, ranges))

    def _spanned(self, given: SizeRange) -> SizeRange:
        """No more than the span of what was tried; between those sizes nothing is known."""
        tried = [t.sizes[given.axis] for t in self.trials if t.good]
        inside = [n for n in tried if given.has(n)]
        if given.fixed or not inside:
            return given
        beyond = SizeTrial({}, Outcome.UNTRIED, why=_UNKNOWN)
        low, high = min(inside), max(inside)
        return replace(given, low=low, high=high, trial=given.trial or beyond, gaps=True)

    # ------------------------------------------------------------ what is tried

    def _planned(self) -> Iterator[dict[str, int]]:
        smallest = {axis: 1 if self.dear else self._smallest(axis) for axis in self.home}
        yield from self.sides()
        if self.thorough and BATCH in self.home:  # by itself: memory grows with it alone
            yield from ({**self.home, BATCH: n} for n in _BATCHES)
        values = {axis: self._values(axis, smallest[axis]) for axis in self.home}
        axes = [axis for axis in self.home if values[axis]]
        for i in range(max((len(values[a]) for a in axes if a != BATCH), default=0)):
            # Each axis goes through its own list from another place: pairs of sizes meet.
            moved = {a: values[a][(i + k) % len(values[a])] for k, a in enumerate(axes)}
            yield {**self.home, **moved}

    def sides(self) -> list[dict[str, int]]:
        """Sizes on the far side of each guard, few for many of them."""
        wanted: list[tuple[Guard, dict[str, int]]] = []
        for guard in self.guards or ():
            points = list(self._beyond(guard))
            wanted += [(guard, sizes) for sizes in points]
            if not points and (nearest := self._nearest_beyond(guard)):
                why = f"{_at(nearest)} {_LARGE}"
                self.trials.append(SizeTrial(nearest, Outcome.UNTRIED, why=why))
        chosen: list[dict[str, int]] = []
        left = {id(g): g for g, _ in wanted}
        while wanted and len(chosen) < FEEDS // 2:
            best = max(wanted, key=lambda pair: sum(fails(g, pair[1]) for g in left.values()))
            covered = [key for key, g in left.items() if fails(g, best[1])]
            if not covered:
                break
            chosen.append(best[1])
            for key in covered:
                del left[key]
        for _, sizes in wanted:  # then the second side of each, as far as there is room
            if sizes not in chosen and len(chosen) < FEEDS // 2:
                chosen.append(sizes)
        return chosen

    def _beyond(self, guard: Guard) -> Iterator[dict[str, int]]:
        """The nearest and the furthest sizes at which a guard does not hold, within the cost."""
        beyond = [s for s in self._around(guard) if fails(guard, s) and self._affordable(s)]
        if beyond:
            others = [g for g in self.guards or () if g is not guard]

            def rank(sizes: dict[str, int]) -> tuple[int, int]:
                return sum(fails(g, sizes) for g in others), self._away(sizes)

            # Sizes at which fewer other guards fail tell more of this one.
            yield min(sorted(beyond, key=self._away)[:64], key=rank)
            yield max((s for s in beyond if self._away(s) < 16 * _FAR), key=self._away)

    def _nearest_beyond(self, guard: Guard) -> dict[str, int]:
        beyond = [sizes for sizes in self._around(guard) if fails(guard, sizes)]
        return min(beyond, key=self._away, default={})

    def _around(self, guard: Guard) -> Iterator[dict[str, int]]:
        """Sizes that differ from the example's in one axis of a guard, or in all of them alike."""
        single = len(guard.axes) == 1
        for axis in guard.axes:
            home = self.home[axis]
            far = (n + d for n in guard.numbers for d in (-1, 1) if n >= _FURTHEST)
            near = range(1, _far(home, [guard]) + 1)
            for n in (*near, *far) if single else _grid(home):
                yield {**self.home, axis: n}
            if BATCH in self.home and not single:  # of one alone, more is possible
                for n in _grid(home):
                    yield {**self.home, BATCH: 1, axis: n}
        if not single:
            for n in _grid(max(self.home[axis] for axis in guard.axes)):
                yield {**self.home, **dict.fromkeys(guard.axes, n)}

    def _affordable(self, sizes: Sizes) -> bool:
        """Whether a feed is small enough: attention takes memory as the square of what it gets."""
        home = {**self.home, BATCH: sizes.get(BATCH, 1)}
        return self.numbers(sizes) <= min(LARGEST, max(GROWTH * self.numbers(home), SMALL))

    def _away(self, sizes: Sizes) -> int:
        return sum(abs(sizes[axis] - n) for axis, n in self.home.items())

    def _values(self, axis: str, smallest: int) -> list[int]:
        """Sizes of an axis that no guard speaks of: small, odd, prime, next to a power of two,
        large, and equal to another axis."""
        n = self.home[axis]
        if axis == BATCH:
            return [1, 2, 3]
        prime = next((p for p in _PRIMES if p > n), n + 1)
        large = 2 * n + 1
        sizes = [*self.others.get(axis, ()), prime]
        sizes += [n // 4, 3 * n + 1] if self.dear else [smallest, large]
        if self.thorough and not self.dear:
            power = 1 << n.bit_length()
            equal = [m for a, m in self.home.items() if a not in (axis, BATCH)]
            sizes += [smallest + 1, 3, power - 1, power + 1, n + n // 2, 2 * n, *equal]
        room = [m for m in dict.fromkeys(sizes) if m >= smallest and m != n]
        return [m for m in room if self._affordable({**self.home, axis: m})]

    def _smallest(self, axis: str) -> int:
        """The smallest size that the module takes, others as in the example; tries it."""
        if axis == BATCH:
            return 1
        low, n = 1, 1
        while n < self.home[axis]:
            if self._try({**self.home, axis: n}).outcome is not Outcome.REFUSED:
                break
            low, n = n + 1, min(2 * n, self.home[axis])
        high = n
        while low < high:
            middle = (low + high) // 2
            if self._try({**self.home, axis: middle}).outcome is Outcome.REFUSED:
                low = middle + 1
            else:
                high = middle
        return high

    def _alone(self, trial: SizeTrial) -> None:
        """Which of several axes is at fault: each of them by itself."""
        moved = [axis for axis, n in trial.sizes.items() if n != self.home[axis]]
        if len(moved) > 1 and trial.outcome is not Outcome.UNTRIED:
            for axis in moved:
                self._try({**self.home, axis: trial.sizes[axis]})

    def _corners(self, ranges: Sequence[SizeRange]) -> Iterator[dict[str, int]]:
        """The ends of what is claimed."""
        moving = [r for r in ranges if not r.fixed and r.axis != BATCH]
        for r in moving:
            if r.narrowed:
                for n in (r.low, r.low + r.step, self.home[r.axis] + r.step):
                    yield self._tied(ranges, {**self.home, r.axis: n})
        if any(r.narrowed for r in moving):
            yield self._tied(ranges, {**self.home, **{r.axis: r.low for r in moving}})

    def _tied(self, ranges: Sequence[SizeRange], sizes: dict[str, int]) -> dict[str, int]:
        for r in ranges:
            if r.equal_to:
                sizes[r.axis] = sizes[r.equal_to]
        return sizes

    def _try(self, sizes: Sizes, most: int = FEEDS - _KEPT) -> SizeTrial:
        for known in self.trials:
            if known.sizes == sizes:
                return known
        counted = sum(t.outcome not in (Outcome.REFUSED, Outcome.UNTRIED) for t in self.trials)
        if counted >= most or not self._affordable(sizes):
            return SizeTrial(sizes, Outcome.UNTRIED)
        self.trials.append(self.run(sizes))
        return self.trials[-1]


def _grid(home: int) -> list[int]:
    """Sizes of one axis for guards of several: all small ones, and those around the example's."""
    near = range(max(home - 64, 1), home + 65)
    return sorted({*range(1, 513), *near, *(home * k // 8 for k in range(1, 33))} - {0})


@dataclass(frozen=True, slots=True)
class SizeRange:
    """The sizes of one axis: from `low` to `high` (None: without end) in steps of `step`, all
    multiples of it. `trial` is what keeps it from more. With `gaps`, those between the sizes that
    were tried are assumed."""

    axis: str
    low: int
    high: int | None
    step: int = 1
    fixed: bool = False
    equal_to: str | None = None
    not_equal_to: str | None = None
    trial: SizeTrial | None = None
    guard: str = ""
    gaps: bool = False

    @property
    def narrowed(self) -> bool:
        tied = self.equal_to or self.not_equal_to
        return bool(self.fixed or self.low > 1 or self.high or self.step > 1 or tied)

    def has(self, n: int) -> bool:
        return self.low <= n <= (self.high or n) and n % self.step == 0

    def all(self) -> Sequence[int]:
        """Its sizes, where it ends."""
        if self.fixed or self.high is None:
            return range(self.low, self.low + 1)
        return range(-(-self.low // self.step) * self.step, self.high + 1, self.step)

    def some(self, home: int) -> list[int]:
        """A few of its sizes, with its ends."""
        if self.fixed:
            return [home]
        far = self.high or _far(home) // self.step * self.step
        near = [self.low + i * self.step for i in range(6)]
        near += [home + i * self.step for i in range(-2, 3)]
        near += [n // self.step * self.step for n in (97, 128, 257, 509, 1024, far)]
        return sorted({n for n in near if self.has(n) and n <= far})


class _Description:
    """Trials and guards -> a range an axis that has nothing in it that did not hold."""

    def __init__(self, home: Sizes, guards: Sequence[Guard], trials: Sequence[SizeTrial]) -> None:
        self.home, self.trials = home, trials
        good = [t.sizes for t in trials if t.good]
        bad = [t for t in trials if not t.good]
        cleared = {id(g) for g in guards if any(fails(g, s) for s in good)}
        self.blamed: dict[str, tuple[Guard, SizeTrial]] = {}
        self.unexplained: list[SizeTrial] = []
        for trial in bad:
            false = [g for g in guards if fails(g, trial.sizes)]
            for g in [g for g in false if id(g) not in cleared] or false:
                known = self.blamed.get(g.text)
                # That the module refuses is the weaker reason: it restricts nobody.
                if known is None or known[1].outcome is Outcome.REFUSED:
                    self.blamed[g.text] = g, trial
            if not false:
                self.unexplained.append(trial)
        tried = {id(g) for g in guards if any(fails(g, t.sizes) for t in trials)}
        for g in guards:
            if id(g) not in tried:
                nowhere = SizeTrial({}, Outcome.UNTRIED, why="the other side was not tried")
                self.blamed[g.text] = g, nowhere

        self.relations = {
            text: relation
            for text, (guard, _) in self.blamed.items()
            if (relation := self._relation(guard))
        }

    def _relation(self, guard: Guard) -> str:
        """Whether a guard of two axes asks for equal sizes, or for unequal ones."""
        if len(guard.axes) != 2:
            return ""
        one, two = guard.axes
        some = (*range(1, 40), 63, 64, 97, 128, 257)

        def holds(m: int, n: int) -> bool:
            return not fails(guard, {**self.home, one: m, two: n})

        if all(holds(n, n) for n in some):
            near = [n for n in some if holds(self.home[one], n)]
            return "equal_to" if self.home[one] == self.home[two] and len(near) < _FEW else ""
        if not any(holds(n, n) for n in some):
            apart = [holds(m, n) for m in some for n in some if m != n]
            return "not_equal_to" if all(apart) else ""
        return ""

    def ranges(self) -> tuple[SizeRange, ...]:
        ranges = {axis: self._of(axis) for axis in self.home}
        for text, relation in self.relations.items():
            guard, trial = self.blamed[text]
            first, last = guard.axes
            why: dict[str, Any] = {"trial": trial, "guard": guard.text, relation: first}
            ranges[last] = replace(ranges[last], **why)
        for guard, trial in self.blamed.values():
            if len(guard.axes) > 1:
                ranges = self._joined(ranges, guard, trial)
        for trial in self.unexplained:
            if self._inside(ranges, trial.sizes):
                ranges = self._without(ranges, trial)
        return tuple(ranges.values())

    def _of(self, axis: str) -> SizeRange:
        """One axis with all others as in the example."""
        n = self.home[axis]
        pairs = [(g, t) for g, t in self.blamed.values() if axis in g.axes]
        blamed = [(g, t) for g, t in pairs if g.text not in self.relations]
        alone = [t for t in self.unexplained if self._moved(t) == [axis]]
        bad = {t.sizes[axis] for t in alone}
        passed = {t.sizes[axis] for t in self.trials if t.good and self._moved(t) in ([], [axis])}
        passed |= {n} | {t.sizes[axis] for t in self.trials if t.good and axis == BATCH}
        far = _far(n, (g for g, _ in blamed))
        beyond = [x + d for g, _ in blamed for x in g.numbers for d in (-1, 0, 1)]
        beyond += [1 << k for k in range(13, 41)]
        ends = any(fails(g, {**self.home, axis: m}) for g, _ in blamed for m in beyond if m > far)
        best: SizeRange | None = None
        best_score: tuple[int, ...] = ()
        holds = {
            m: m not in bad and not any(fails(g, {**self.home, axis: m}) for g, _ in blamed)
            for m in range(1, far + 1)
        }
        for step in (d for d in range(1, min(n, _DIVISORS) + 1) if n % d == 0):
            low = high = n
            while low - step >= 1 and holds[low - step]:
                low -= step
            while high + step <= far and holds[high + step]:
                high += step
            ended = high + step <= far or ends
            if bad:  # nothing explains them: no more is claimed than what was seen to hold
                kept = [m for m in passed if low <= m <= high and m % step == 0]
                low, high, ended = min(kept, default=n), max(kept, default=n), True
                # Of steps that take in as many of them, the coarsest claims least.
                score = (len(kept), step)
            else:
                score = ((high - low) // step, -step)
            if best is None or score > best_score:
                best, best_score = SizeRange(axis, low, high if ended else None, step), score
        assert best is not None
        if best.low == best.high:
            best = replace(best, fixed=True)
        reasons = [*alone, *(t for _, t in blamed)]
        guard = next((g.text for g, t in blamed if t.outcome is not Outcome.REFUSED), "")
        trial = min(reasons, key=lambda t: t.outcome is Outcome.REFUSED, default=None)
        return replace(best, trial=trial if best.narrowed else None, guard=guard)

    def _joined(
        self, bounds: dict[str, SizeRange], guard: Guard, trial: SizeTrial
    ) -> dict[str, SizeRange]:
        """Ranges within which a guard of several axes holds wherever they meet."""

        whole = not guard.steady and guard.text not in self.relations
        whole = whole and trial.outcome is not Outcome.REFUSED

        def sizes_of(given: SizeRange) -> Sequence[int]:
            if not whole:
                return given.some(self.home[given.axis])
            if not guard.passing:
                return given.all()
            most = int(_ALL ** (1 / len(guard.axes)))
            small = given if given.fixed else replace(given, high=given.low + most)
            ends = [n for n in small.all() if given.has(n)]
            return sorted({*ends, *given.some(self.home[given.axis])})

        def sound(ranges: Mapping[str, SizeRange]) -> bool:
            lists = [sizes_of(ranges[a]) for a in guard.axes]
            for sizes in product(*lists):
                met = dict(zip(guard.axes, sizes, strict=True))
                if self._related(ranges, met) and fails(guard, {**self.home, **met}):
                    return False
            return True

        why: dict[str, Any] = {"trial": trial, "guard": guard.text}
        if whole and not guard.passing:
            bounds = self._bounded(bounds, guard, why)
        if sound(bounds):
            return bounds
        lows = sorted({m for a in guard.axes for m in bounds[a].some(self.home[a])})
        sides = [a for a in guard.axes if a != BATCH]  # a batch of one is what most people run
        for axes, low in product(filter(None, (sides, guard.axes)), lows):
            raised = {**bounds, **{a: self._raised(bounds[a], low, why) for a in axes}}
            if sound(raised):
                return raised
        for high in (2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
            cut = {**bounds, **{a: self._cut(bounds[a], high, why) for a in guard.axes}}
            if sound(cut):
                return cut
        for axis in reversed(guard.axes):
            n = self.home[axis]
            bounds = {**bounds, axis: SizeRange(axis, n, n, fixed=True, **why)}
            if sound(bounds):
                break
        return bounds

    def _bounded(
        self, ranges: dict[str, SizeRange], guard: Guard, why: Mapping[str, Any]
    ) -> dict[str, SizeRange]:
        """Ranges that end where all places in them can be looked at: a guard that comes and goes
        tells nothing between two of them."""
        moving = [a for a in guard.axes if not ranges[a].fixed]
        for axis in reversed(moving):
            most = int(_ALL ** (1 / max(len(moving), 1)))
            cut = {**ranges, **{a: self._cut(ranges[a], most, why) for a in moving}}
            if prod(len(cut[a].all()) for a in moving) <= 4 * _ALL:
                return cut
            n = self.home[axis]
            ranges = {**ranges, axis: SizeRange(axis, n, n, fixed=True, **why)}
            moving = moving[:-1]
        return ranges

    def _raised(self, given: SizeRange, low: int, why: Mapping[str, Any]) -> SizeRange:
        if given.fixed or low <= given.low or low > self.home[given.axis]:
            return given
        return replace(given, low=-(-low // given.step) * given.step, **why)

    def _cut(self, given: SizeRange, high: int, why: Mapping[str, Any]) -> SizeRange:
        most = max(high // given.step * given.step, self.home[given.axis])
        if given.fixed or (given.high or most + 1) <= most:
            return given
        return replace(given, high=most, **why)

    def _without(self, ranges: dict[str, SizeRange], trial: SizeTrial) -> dict[str, SizeRange]:
        """Ranges without one place where several axes moved and no guard says why."""
        moved = [a for a in self._moved(trial) if not ranges[a].fixed]
        good = [t.sizes for t in self.trials if t.good]
        for first, last in product(moved, moved):
            if first == last:
                continue
            differ = [s[first] != s[last] for s in good]
            equal = trial.sizes[first] == trial.sizes[last]
            if equal and all(differ):
                return {**ranges, last: replace(ranges[last], not_equal_to=first, trial=trial)}
            if not equal and not any(differ) and self.home[first] == self.home[last]:
                return {**ranges, last: replace(ranges[last], equal_to=first, trial=trial)}
        axis = moved[-1]
        n = self.home[axis]
        return {**ranges, axis: SizeRange(axis, n, n, fixed=True, trial=trial)}

    def _moved(self, trial: SizeTrial) -> list[str]:
        # The batch is tried together with other axes; a fault is theirs if they have moved.
        moved = [a for a, n in trial.sizes.items() if n != self.home[a]]
        return [a for a in moved if a != BATCH] or moved

    def _inside(self, ranges: Mapping[str, SizeRange], sizes: Sizes) -> bool:
        return all(ranges[a].has(n) for a, n in sizes.items()) and self._related(ranges, sizes)

    @staticmethod
    def _related(ranges: Mapping[str, SizeRange], sizes: Sizes) -> bool:
        for r in ranges.values():
            if r.equal_to and sizes.get(r.axis) != sizes.get(r.equal_to):
                return False
            if r.not_equal_to and sizes.get(r.axis) == sizes.get(r.not_equal_to):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Explored:
    """The ranges of a graph's open axes, and the trials behind them. `clean` says that guards, or
    the module itself, explain all that did not hold: another exporter would do no better."""

    signature: Signature
    ranges: tuple[SizeRange, ...] = ()
    trials: tuple[SizeTrial, ...] = ()
    clean: bool = True

    def axes(self, fixed: Mapping[tuple[str, int], tuple[str, str]]) -> tuple[AxisDomain, ...]:
        """What a receipt says; `fixed` has the name of axes, by input and number, that were held
        at one size, and why."""
        return _axis_domains(self.signature, self.ranges, self.trials, fixed)


def explore(
    held: Reference,
    forward: Forward,
    runtime: Runtime,
    guards: tuple[Guard, ...] | None,
    *,
    shapes: Mapping[str, Sequence[int | str | None]],
    thorough: bool = False,
    device: str = "cpu",
    draws: int = 1,
) -> Explored:
    """The sizes at which a graph that answers as its module at its own sizes does so elsewhere.

    `held` is the reference that parity was proved against, `shapes` are the graph's inputs, and
    `draws` the inputs of other values that are tried of each size.
    """
    signature = opened(forward.signature, shapes)
    home = _home(signature)
    if not home:
        return Explored(signature)
    known = None if guards is None else tuple(g for g in guards if set(g.axes) <= set(home))
    with TorchRuntime(forward, device) as native:
        search = Search(
            home, known, lambda sizes: _numbers(signature, sizes),
            lambda sizes: tried(held, forward, native, runtime, signature, sizes, draws),
            {axis: (n,) for axis, n in signature.others.items()},
            thorough=thorough, dear=signature.kind == DETECTIONS,
        )  # fmt: skip
        search.trials += [
            SizeTrial(sizes, Outcome.SAME) for sizes in at_home(signature, held, shapes)
        ]
        ranges = search.explore()
    broken = (Outcome.DIFFERS, Outcome.FAILS)
    clean = all(
        any(fails(g, t.sizes) for g in known or ()) for t in search.trials if t.outcome in broken
    )
    return Explored(signature, ranges, tuple(search.trials), clean)


def beyond(
    signature: Signature, known: tuple[Guard, ...], domain: Sequence[AxisDomain]
) -> list[dict[str, int]]:
    """Sizes within a domain at which a guard does not hold: a module as it is now may go another
    way there than the one that was exported."""
    home = _home(signature)
    search = Search(
        home, tuple(g for g in known if set(g.axes) <= set(home)),
        lambda sizes: _numbers(signature, sizes), lambda sizes: SizeTrial(sizes, Outcome.UNTRIED),
    )  # fmt: skip
    return [
        sizes
        for sizes in search.sides()
        if not outside(domain, {a.name: a.shape(sizes) for a in signature.arguments})
    ]


def at_home(
    signature: Signature, held: Reference, shapes: Mapping[str, Sequence[int | str | None]]
) -> list[dict[str, int]]:
    """The sizes at which parity is proved against `held`, of the axes that a graph of such inputs
    leaves open."""
    home = _home(opened(signature, shapes))
    if BATCH not in home:
        return [home]
    return [{**home, BATCH: int(label)} for label in held.labels if label.isdecimal()]


def _home(signature: Signature) -> dict[str, int]:
    """The sizes of the traced example, by axis."""
    named = (x for a in signature.arguments for x in a.axes if isinstance(x, str))
    return {x: signature.sizes.get(x, 2) for x in named}


def repeat(
    held: Reference,
    forward: Forward,
    runtime: Runtime,
    sizes: Iterable[Sizes],
    *,
    device: str = "cpu",
    draws: int = 1,
) -> tuple[SizeTrial, ...]:
    """The same feeds once more, of sizes that a receipt says were tried."""
    takes = forward.signature
    with TorchRuntime(forward, device) as native:
        return tuple(tried(held, forward, native, runtime, takes, given, draws) for given in sizes)


def tried(
    held: Reference,
    forward: Forward,
    native: TorchRuntime,
    runtime: Runtime,
    signature: Signature,
    sizes: Sizes,
    draws: int = 1,
) -> SizeTrial:
    """Feeds of these sizes to both, as many as `draws`, every second one padded: the first that is
    not the same, else the furthest apart."""
    trials = []
    for first in range(draws):

        def draw(seed: int, first: int = first) -> Batch:
            batch = drawn(signature, sizes.get(BATCH, 1), sizes, first + seed)
            return padded(signature, batch, first % 4 == 1) if first % 2 else batch

        difference = elsewhere(held, forward, native, runtime.outputs, draw, _at(sizes))
        if difference is None:
            continue
        other = Outcome.DIFFERS if difference.ran else Outcome.FAILS
        outcome = Outcome.SAME if difference.holds else other
        trials.append(
            SizeTrial(sizes, outcome, difference.relative, difference.allowed, difference.fault)
        )
        if not trials[-1].good:
            return trials[-1]
    return max(trials, key=lambda t: t.relative, default=SizeTrial(sizes, Outcome.REFUSED))


def opened(signature: Signature, shapes: Mapping[str, Sequence[int | str | None]]) -> Signature:
    """The signature with a number for each axis that the graph holds at one."""
    single = next(iter(shapes.values())) if len(shapes) == 1 else ()
    arguments = []
    for argument in signature.arguments:
        graph = shapes.get(argument.name, single if len(signature.arguments) == 1 else ())
        axes = [
            there if isinstance(there, int) else axis
            for axis, there in zip(argument.axes, graph, strict=False)
        ]
        arguments.append(replace(argument, axes=(*axes, *argument.axes[len(axes) :])))
    return replace(signature, arguments=tuple(arguments))


def _numbers(signature: Signature, sizes: Sizes) -> int:
    return sum(prod(a.shape(sizes)) for a in signature.arguments)


def _axis_domains(
    signature: Signature,
    ranges: Sequence[SizeRange],
    trials: Sequence[SizeTrial],
    fixed: Mapping[tuple[str, int], tuple[str, str]],
) -> tuple[AxisDomain, ...]:
    """What a receipt says of each axis of each input."""
    by_name = {r.axis: r for r in ranges}
    good = [t.sizes for t in trials if t.good]
    domains = []
    for argument in signature.arguments:
        for place, axis in enumerate(argument.axes):
            if isinstance(axis, int):
                name, why = fixed.get((argument.name, place), ("", _UNNAMED))
                domains.append(
                    AxisDomain(
                        argument.name, place, name, AxisState.FIXED, axis, axis,
                        tried=(axis,), why=why,
                    )
                )  # fmt: skip
                continue
            r = by_name[axis]
            tried = sorted({s[axis] for s in good if r.has(s[axis])})
            domains.append(
                AxisDomain(
                    argument.name, place, axis, _state(r), r.low, r.high,
                    None if r.step == 1 or r.fixed else r.step, r.equal_to, r.not_equal_to,
                    tuple(tried), _why(r), r.gaps and len(tried) <= tried[-1] - tried[0],
                )
            )  # fmt: skip
    return tuple(domains)


def _state(given: SizeRange) -> AxisState:
    if given.fixed:
        return AxisState.FIXED
    if given.gaps:
        return AxisState.RESTRICTED
    # Where only the module itself refuses more, the graph goes wherever the module does.
    refused = given.trial is None or given.trial.outcome is Outcome.REFUSED
    return AxisState.OPEN if refused or not given.narrowed else AxisState.RESTRICTED


def _why(given: SizeRange) -> str:
    trial = given.trial
    if trial is None or not given.narrowed:
        return ""
    at = _at({a: n for a, n in trial.sizes.items() if a != BATCH or a == given.axis})
    differs = f"the graph is {trial.relative:.1e} of the largest output off"
    reasons = {
        Outcome.REFUSED: f"the module itself refuses {at}",
        Outcome.DIFFERS: f"at {at} {trial.why or differs}",
        Outcome.FAILS: f"at {at} the graph does not run",
        Outcome.UNTRIED: trial.why,
        Outcome.SAME: "",
    }[trial.outcome]
    if not given.guard:
        return reasons
    guard = given.guard
    if len(guard) > _SHORT:
        named = [axis for axis in trial.sizes if re.search(rf"\b{re.escape(axis)}\b", guard)]
        guard = f"a condition on {' and '.join(named) or 'several sizes'} holds"
    return f"the module goes another way unless {guard}: {reasons}"


def _at(sizes: Sizes) -> str:
    return ", ".join(f"{axis} {n}" for axis, n in sizes.items())
