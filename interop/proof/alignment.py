"""A graph that another tool wrote, and its source -> the first node that departs from the source.

Names and scopes are not needed: values are aligned by their numbers, in whatever layout they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import TypeVar

import numpy as np

from interop.errors import first_line
from interop.proof.divergence import WITH, WITHOUT, Departure, Measure
from interop.proof.intermediates_onnx import Observed
from interop.proof.parity import FLOOR, STATED, distance, is_float, most
from interop.proof.source_values import INPUT, SourceValue, SourceValues
from interop.runtimes.base import Array

HUGE = 1e30  # what is larger stands for infinity: masks are filled with the least of a type
FLAT = 1e-6  # values that differ by less of the largest are one constant: alike by chance
BLOCKS = (4, 8, 16)  # channels that ONNX Runtime's own layout holds together
NEAR = 16  # unmatched values behind a departing node that its right answer is looked for among
_SAMPLE = 64
_ENOUGH = 1 << 16  # elements by which two arrays are ranked
V = TypeVar("V", str, int)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What any order of an array's elements has in common.

    `special` counts all elements, NaN, infinities of either sign; `figures` are the largest, least,
    mean and root mean square of the finite ones, `scale` their largest absolute value. Two arrays
    that are t * scale apart have figures that are no further apart.
    """

    special: tuple[int, int, int, int]
    figures: tuple[float, float, float, float]
    scale: float
    floating: bool
    eps: float

    @classmethod
    def of(cls, array: Array) -> Fingerprint:
        """The fingerprint of an array of real numbers of any shape."""
        flat = _clamped(array).ravel()
        finite = flat[np.isfinite(flat)]
        special = len(flat), int(np.isnan(flat).sum()), int((flat == np.inf).sum())
        figures = 0.0, 0.0, 0.0, 0.0
        if finite.size:
            high, low = float(finite.max()), float(finite.min())
            figures = high, low, float(finite.mean()), float(np.sqrt(np.square(finite).mean()))
        scale = max(abs(figures[0]), abs(figures[1]))
        floating = is_float(array)
        eps = float(np.finfo(array.dtype).eps) if floating else 0.0
        return cls((*special, int((flat == -np.inf).sum())), figures, scale, floating, eps)

    @property
    def constant(self) -> bool:
        """Whether all elements are one number, or there is but one: no order to compare."""
        high, low, *_ = self.figures
        if any(self.special[1:]):
            return False
        return self.special[0] < 2 or high - low <= FLAT * self.scale

    def near(self, other: Fingerprint, tolerance: float, *, counted: bool = True) -> bool:
        """Whether an array of `other` may be this one but for a share of the largest value."""
        if self.floating != other.floating or (counted and self.special != other.special):
            return False
        return self.apart(other) <= tolerance

    def apart(self, other: Fingerprint) -> float:
        """The largest difference of two figures, as a share of the larger scale."""
        gap = max(abs(a - b) for a, b in zip(self.figures, other.figures, strict=True))
        return gap / (max(self.scale, other.scale) or 1.0)


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a source value."""

    value: SourceValue  # its array is empty
    print: Fingerprint
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A graph's wrong value and the right one, in the graph's layout if the sizes are the same."""

    source: int
    relative: float
    right: Array


def first_departure(
    source: SourceValues,
    graph: Path,
    batch: Mapping[str, Array],
    outputs: Sequence[Array],
    *,
    fed: Mapping[str, Array] | None = None,
) -> Departure:
    """Find the first node of `graph` that departs from `source` on `batch`.

    `batch` are the graph's inputs, in its order or by its names; `fed` the source's, if they are
    other arrays; `outputs` the source's right answers, in the order of the graph's outputs.

    A value of the graph matches one of the source if both hold the same numbers within parity's
    bounds, in the same order or in one that a change of layout gives. From the outputs that depart
    the search goes back through values without a match; the node where that begins is the first to
    depart. What an optimiser fused or took apart has no match either, yet a match follows it, and
    so the search never gets there. `module` and `kind` are of the source value that has no match
    there. `node` is a node's first output if the node has no name, and "" if nothing departs.
    """
    return Search(source, graph, batch, outputs, fed=fed).find()


class Search:
    """One search; `find` comes first, and what it found is kept for a reproduction."""

    def __init__(
        self,
        source: SourceValues,
        graph: Path,
        batch: Mapping[str, Array],
        outputs: Sequence[Array],
        *,
        fed: Mapping[str, Array] | None = None,
    ) -> None:
        self.source, self.outputs = source, outputs
        self.whole = self.graph = Observed(graph)
        names = self.graph.inputs
        self.batch = {n: batch[n] for n in names} if set(names) <= set(batch) else dict(batch)
        self.fed = batch if fed is None else fed
        self.known: list[Known] = []
        self.prints: dict[str, Fingerprint] = {}
        self.matched: dict[str, dict[int, float]] = {}  # to source values, each so far off
        self.ends: dict[int, int] = {}  # the source value that each output is
        self.pair: Pair | None = None  # of the value `end`
        self.end = ""
        self._share = 1.0  # how far off the outputs are

    def find(self) -> Departure:
        """The departure. Raises what the source raises."""
        self.source.visit(self.fed, self._know)
        try:
            plain, optimised = (self._outputs(optimised=o) for o in (False, True))
        except Exception as error:  # ONNX Runtime's own, of whatever class
            return self._failed(error)
        if off := self._off(plain):
            self._share = min(max(off.values()), 1.0)
            self._match()
            return self._begun(off)
        if off := self._off(optimised):
            return self._optimised()
        what = "nothing departs: the outputs are within their bounds on this input"
        return Departure(WITHOUT, what)

    def wrong(self, values: Array, right: Array) -> float:
        """How far an array is from the right one, as a share of the largest value."""
        return _distance(values, right)

    # ------------------------------------------------------------ what is compared

    def _know(self, value: SourceValue) -> None:
        if not value.index:
            self.known, self.ends = [], {}
        array = value.array
        number = Fingerprint.of(array if _real(array) else np.zeros(0))
        self.known.append(Known(replace(value, array=np.zeros(0)), number, array.shape))
        for i, right in enumerate(self.outputs):
            if array.shape == right.shape and _real(array) and value.kind != INPUT:
                bound = self._bound(number.eps, value.native)
                # The last of several: a view of the output is no nearer to it.
                if _distance(array, right) <= max(bound, STATED):
                    self.ends[i] = value.index

    def _outputs(self, *, optimised: bool) -> list[Array]:
        values = self.graph.values(self.graph.outputs, self.batch, optimised=optimised)
        return [values[n] for n in self.graph.outputs if n in values]

    def _off(self, given: Sequence[Array]) -> dict[str, float]:
        """The outputs that depart, and how far."""
        off = {}
        names = self.graph.outputs
        for i, (name, found, right) in enumerate(zip(names, given, self.outputs, strict=False)):
            native = self.known[self.ends[i]].value.native if i in self.ends else None
            far = _distance(found, right)
            if far > (self._bound(_eps(found), native) if is_float(right) else 0.0):
                off[name] = far
        return off

    @staticmethod
    def _bound(eps: float, native: float | None) -> float:
        """Parity's bound; the stated one if native's own distance is unknown."""
        return Measure(eps).bound(native) if native is not None else max(STATED, FLOOR * eps)

    def _allowed(self, eps: float, index: int) -> float:
        """How far off a match may be: between parity's bound and how far the outputs are off.

        Roundings slightly beyond their bound are not where a far larger departure begins.
        """
        value = self.known[index].value
        around = [value.native, *(self.known[i].value.native for i in value.inputs)]
        native = None if value.native is None else max(n for n in around if n is not None)
        bound = self._bound(eps, native)
        return float(max(bound, min(most(eps), bound ** (2 / 3) * self._share ** (1 / 3))))

    # ------------------------------------------------------------ matches

    def _match(self) -> None:
        """Match all values of the graph with the source's, as many at a time as memory holds."""
        self._match_part({n: a for n, a in self.batch.items() if n in self.graph.inputs})
        for part in self.graph.parts(self.graph.dependent, self.batch):
            self._match_part(part)

    def _match_part(self, part: Mapping[str, Array]) -> None:
        sized: dict[int, list[str]] = {}
        for name, array in part.items():
            if not _real(array):
                continue
            number = self.prints[name] = Fingerprint.of(array)
            if not number.constant:
                sized.setdefault(array.size, []).append(name)
                continue
            for index, known in enumerate(self.known):
                # Broadcast or not: a constant says nothing but its number.
                if known.print.constant and number.near(known.print, STATED, counted=False):
                    self.matched.setdefault(name, {})[index] = 0.0

        def compare(value: SourceValue) -> None:
            known = self.known[value.index]
            for name in sized.get(value.array.size, ()) if not known.print.constant else ():
                number = self.prints[name]
                allowed = self._allowed(number.eps, value.index) if number.floating else 0.0
                if not number.near(known.print, allowed):
                    continue
                for right in arrangements(value.array, part[name].shape):
                    if _alike(part[name], right, allowed):
                        far = _distance(part[name], right)
                        self.matched.setdefault(name, {})[value.index] = far
                        break

        if sized:
            self.source.visit(self.fed, compare)

    @cached_property
    def _found(self) -> set[int]:
        """The source values that the graph has; those that say nothing count as had."""
        found = {i for matches in self.matched.values() for i in matches}
        return found | {
            i for i, k in enumerate(self.known)
            if k.value.kind == INPUT or k.print.constant or not k.print.floating
        }  # fmt: skip

    def _blocks(self, name: str) -> bool:
        return name in self.matched or name in self.graph.inputs

    def _parents(self, name: str) -> list[str]:
        return [n for n in self.whole.taken(name) if n in self._live]

    @cached_property
    def _live(self) -> set[str]:
        return {*self.whole.dependent, *self.whole.inputs}

    def frontier(self, name: str) -> list[str]:
        """The nearest values, inputs included, that are right and that a value is computed from."""
        return _frontier(name, self._parents, self._blocks)

    def _origins(self, name: str) -> set[int]:
        """The source values at the frontier of a graph's value."""
        return {i for n in self.frontier(name) for i in self.matched.get(n, ())}

    def _source_frontier(self, index: int) -> set[int]:
        inputs = {i for i in self._found if i in self._all_matches}
        return set(_frontier(index, self._inputs, lambda i: i in inputs))

    @cached_property
    def _all_matches(self) -> set[int]:
        matches = {i for m in self.matched.values() for i in m}
        return matches | {i for i, k in enumerate(self.known) if k.value.kind == INPUT}

    def _inputs(self, index: int) -> tuple[int, ...]:
        return self.known[index].value.inputs

    # ------------------------------------------------------------ where it begins

    def _begun(self, off: Mapping[str, float]) -> Departure:
        """The departure of which outputs are `off`, from the values' matches."""
        order = [n for n in self.graph.dependent if n in self.prints or n in off]
        region = _region(off, self._parents, self._blocks)
        floating = {n for n in order if n in off or self.prints[n].floating}
        roots = _roots([n for n in self.graph.dependent if n in region], self._parents,
                       floating, region)  # fmt: skip
        if not roots:  # an output that no node gives
            name = next(iter(off))
            return Departure(WITHOUT, f"the output {name} departs, and no node computes it")
        indices = self._source_region(off)
        behind = [n for n in order if n in region and n in floating]
        # If many weights are wrong, everything departs: the first of it is what is looked at.
        first, last = behind.index(roots[0]), behind.index(roots[-1])
        pairs = self._pairs(behind[: min(last, first + 2 * NEAR) + NEAR], indices)
        node = next((n for n in roots if n in pairs), roots[0])
        after = behind[behind.index(node) :]
        self.end = next((n for n in after if n in pairs and self._follows(n, node)), "")
        self.pair = pairs.get(self.end)
        if self.pair is None:
            self.end = next(n for n in off if self._follows(n, node))
            if self.end in self.graph.outputs:
                right = self.outputs[self.graph.outputs.index(self.end)]
                self.pair = Pair(self._nearest_source(node, indices), off[self.end], right)
        relative = self.pair.relative if self.pair is not None else off[self.end]
        index = self._nearest_source(node, indices)
        before = [n for n in order[: order.index(node)] if self.prints[n].floating]
        departure = Departure(
            WITHOUT, "",
            relative=relative,
            at_inputs=max((min(m.values()) for n in self.frontier(node)
                           if (m := self.matched.get(n))), default=0.0),
            bound=self._allowed(self.prints[node].eps if node in self.prints else 0.0, index)
            if index >= 0 else STATED,
            compared=sum(n in self.prints and self.prints[n].floating for n in order),
            agreed=sum(n in self.matched for n in before),
            others=tuple(self._name(n) for n in roots if n != node)[:8],
        )  # fmt: skip
        return self._at(departure, node, index)

    def _follows(self, name: str, node: str) -> bool:
        """Whether a value is `node`'s or computed from it."""
        return name == node or node in _region([name], self._parents, lambda _: False)

    def _source_region(self, off: Collection[str]) -> list[int]:
        """The source's values without a match that lead to its outputs which depart, in order."""
        names = self.graph.outputs
        ends = [self.ends[i] for i, n in enumerate(names) if n in off and i in self.ends]
        blocks = self._found.__contains__
        if not ends:
            return [i for i in range(len(self.known)) if not blocks(i)]
        starts = [i for i in ends if not blocks(i)]
        return sorted(i for i in _region(starts, self._inputs, blocks) if not blocks(i))

    def _nearest_source(self, node: str, indices: Sequence[int]) -> int:
        """The first source value without a match that is computed from what `node` is; else -1."""
        origins = self._origins(node)
        roots = _roots(indices, self._inputs, set(indices), set(indices))
        near = (i for i in roots if origins & self._source_frontier(i))
        return next(near, roots[0] if roots else -1)

    def _pairs(self, names: Sequence[str], indices: Sequence[int]) -> dict[str, Pair]:
        """Which of the source's values some of the graph's should be.

        Both are computed from the same right values, and each is the nearest to the other.
        """
        if not indices or not names:
            return {}
        origins = {n: self._origins(n) for n in names}
        sources = {i: self._source_frontier(i) for i in indices[: 8 * NEAR]}
        shapes = self.graph.values(names, self.batch, optimised=False)
        scores: dict[tuple[str, int], tuple[float, float, Array]] = {}

        def score(value: SourceValue) -> None:
            i = value.index
            for name in names if i in sources else ():
                found = shapes.get(name)
                common = len(origins[name] & sources[i])
                if found is None or not common or not _real(found):
                    continue
                if found.size == value.array.size:
                    options = [value.array.reshape(found.shape)]
                    if found.shape != value.array.shape:
                        options = list(arrangements(value.array, found.shape))
                    gaps = [_rms(found, o) for o in options]
                    right = options[int(np.argmin(gaps))]
                    number = self.prints[name].apart(self.known[i].print)
                    other = len(sources[i] | (origins[name] & self._twins(sources[i]))) - common
                    far = other / (other + common) + min(gaps) + number
                    scores[name, i] = far, _distance(found, right), right.copy()
                elif found.ndim == value.array.ndim and found.shape[:2] == value.array.shape[:2]:
                    scores[name, i] = float("inf"), float("inf"), value.array.copy()

        self.source.visit(self.fed, score)
        pairs: dict[str, Pair] = {}
        for (name, i), (far, relative, right) in scores.items():
            rivals = [f for (n, j), (f, _, _) in scores.items() if (n == name) != (j == i)]
            if name not in pairs and all(far <= f for f in rivals):
                pairs[name] = Pair(i, relative, right)
        return pairs

    def _twins(self, indices: Collection[int]) -> set[int]:
        """The source values that the same values of the graph match."""
        return {i for m in self.matched.values() if not m.keys().isdisjoint(indices) for i in m}

    # ------------------------------------------------------------ other causes

    def _failed(self, error: Exception) -> Departure:
        """The graph does not run: the search goes through as many nodes as do."""
        low, high = 0, len(self.graph.nodes)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._runs(self.whole.first(middle)) else (low, middle)
        reason = first_line(error, 300)
        failing = self.whole.nodes[high - 1]
        self.graph = self.whole.first(high - 1)
        self._match()
        taken = [n for n in dict.fromkeys(self.whole.taken(failing.output[0])) if n in self._live]
        off = {n: float("inf") for n in taken if not self._blocks(n)}
        departure = Departure(WITHOUT, "", relative=float("inf"), bound=STATED,
                              compared=len(self.prints), agreed=len(self.matched))  # fmt: skip
        indices = self._source_region(())
        if any(self.prints[n].floating for n in off if n in self.prints):
            departure = self._begun(off)
        else:
            self.end = failing.output[0]
            departure = self._at(departure, self.end, self._nearest_source(self.end, indices))
        return replace(departure, what=f"it fails: {reason}; {departure.what}")

    def _runs(self, graph: Observed) -> bool:
        used = {n for node in graph.nodes for n in graph.taken(node.output[0])}
        leaves = [n for n in graph.producer if n not in used]
        try:
            graph.values(leaves, self.batch, optimised=False)
        except Exception:  # ONNX Runtime's own, of whatever class
            return False
        return True

    def _optimised(self) -> Departure:
        """Only the optimised form departs: one value is looked at a time, so that fusions stay."""
        names = [n for n in self.graph.dependent if n not in self.graph.outputs]
        gaps: dict[int, float] = {}
        rights: dict[int, Array] = {}

        def departs(i: int) -> bool:
            found, right = (
                self.graph.values([names[i]], self.batch, optimised=o).get(names[i])
                for o in (True, False)
            )
            if found is None or right is None:
                return False
            gaps[i], rights[i] = _distance(found, right), right
            return gaps[i] > (max(STATED, FLOOR * _eps(right)) if is_float(right) else 0.0)

        low, high = -1, len(names)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if departs(middle) else (middle, high)
        cause = "none departs with optimisation off: ONNX Runtime's graph optimisation is the cause"
        departure = Departure(WITH, cause, compared=len(names), agreed=low + 1)
        if high == len(names):
            return departure
        self._match()
        index = min(self.matched.get(names[high], {}), default=-1)
        self.end, self.pair = names[high], Pair(index, gaps[high], rights[high])
        departure = replace(departure, relative=gaps[high], bound=STATED)
        departure = self._at(departure, names[high], index)
        return replace(departure, what=f"{departure.what}; {cause}")

    # ------------------------------------------------------------ the answer

    def _name(self, value: str) -> str:
        node = self.whole.producer.get(value)
        return (node.name if node is not None else "") or value

    def _at(self, departure: Departure, value: str, index: int) -> Departure:
        """The departure with its node, the source's module (none for -1), and the sentence."""
        node = self.whole.producer.get(value)
        operator = node.op_type if node is not None else ""
        known = self.known[index].value if index >= 0 else None
        module, kind = (known.module, known.kind) if known is not None else ("", "")
        if module:
            where = f"in {module} ({kind})"
        else:
            where = f"in {kind}" if kind else "after the source's last value"
        what = (
            f"{departure.runtime}: {self._name(value)} ({operator}) {where} is the first node that "
            f"departs, {departure.relative:.1e} of the largest value off ({departure.bound:.1e} "
            f"allowed, {departure.at_inputs:.1e} at its inputs); {departure.agreed} "
            f"values before it match the source, {departure.compared} were compared"
        )
        return replace(departure, what=what, node=self._name(value), operator=operator,
                       module=module, kind=kind, value=value)  # fmt: skip


# ---------------------------------------------------------------- ways through a graph


def _region(
    starts: Iterable[V], parents: Callable[[V], Iterable[V]], blocks: Callable[[V], bool]
) -> set[V]:
    """The starts, and all that they are computed from up to what blocks the way."""
    region: set[V] = set()
    waiting = list(starts)
    while waiting:
        value = waiting.pop()
        if value not in region:
            region.add(value)
            waiting += [p for p in parents(value) if not blocks(p)]
    return region


def _frontier(
    value: V, parents: Callable[[V], Iterable[V]], blocks: Callable[[V], bool]
) -> list[V]:
    region = _region([value], parents, blocks)
    return list(dict.fromkeys(p for v in region for p in parents(v) if blocks(p)))


def _roots(
    order: Sequence[V],
    parents: Callable[[V], Iterable[V]],
    floating: Collection[V],
    region: Collection[V],
) -> list[V]:
    """Those of `order` (a region in topological order) that no other floating one leads to."""
    carries: set[V] = set()
    roots = []
    for value in order:
        above = any(p in carries for p in parents(value) if p in region)
        if value in floating and not above:
            roots.append(value)
        if above or value in floating:
            carries.add(value)
    return roots


# ---------------------------------------------------------------- numbers


def arrangements(array: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    """The elements of an array in a given shape, in each order that a change of layout gives.

    First the order that they have; then with the axes of either side permuted; last the channels
    in blocks, as ONNX Runtime's own convolutions have them.
    """
    yield array.reshape(shape)
    for source, target in ((_squeezed(array.shape), None), (None, _squeezed(shape))):
        own = source if source is not None else target
        assert own is not None
        if not 2 <= len(own) <= 5:
            continue
        for axes in permutations(range(len(own))):
            if axes == tuple(range(len(own))):
                continue
            if source is not None:
                yield array.reshape(own).transpose(axes).reshape(shape)
            else:
                there = array.reshape([own[a] for a in axes])
                yield there.transpose(np.argsort(axes)).reshape(shape)
    if array.ndim == 4 and array.shape == shape:
        n, c, h, w = shape
        for block in BLOCKS:
            if c % block == 0:
                parts = array.reshape(n, c // block, block, h, w)
                yield parts.transpose(0, 1, 3, 4, 2).reshape(shape)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s for s in shape if s != 1)


def _real(array: Array) -> bool:
    return bool(array.size) and array.dtype.kind in "fiub"


def _eps(array: Array) -> float:
    return float(np.finfo(array.dtype).eps) if is_float(array) else 0.0


def _clamped(array: Array) -> Array:
    """In float64, with infinities for what stands for them."""
    wide = array.astype(np.float64)
    large = np.abs(wide) >= HUGE
    return np.where(large, np.copysign(np.inf, wide), wide) if large.any() else wide


def _distance(a: Array, b: Array) -> float:
    """parity.distance, of clamped numbers; whole numbers of any type are compared as such."""
    if a.shape != b.shape:
        return float("inf")
    if not is_float(b) or not is_float(a):
        return 0.0 if np.array_equal(a, b) else float("inf")
    return distance(_clamped(a), _clamped(b))


def _alike(a: Array, b: Array, allowed: float) -> bool:
    """Whether two arrays of one shape are near; a few elements say at once that most are not."""
    head = [_clamped(x.ravel()[:_SAMPLE]) for x in (a, b)]
    ok = np.isfinite(head[0]) & np.isfinite(head[1])
    scale = float(np.abs(_clamped(b)[np.isfinite(b)]).max(initial=0.0)) if allowed else 0.0
    if np.abs(head[0][ok] - head[1][ok]).max(initial=0.0) > allowed * scale:
        return False
    return _distance(a, b) <= allowed


def _rms(a: Array, b: Array) -> float:
    """The root mean square of the difference as a share of the larger array's; of large arrays, by
    elements far from each other."""
    step = max(a.size // _ENOUGH, 1)
    a, b = a.reshape(-1)[::step], b.reshape(-1)[::step]
    x, y = (np.nan_to_num(_clamped(v), posinf=0.0, neginf=0.0) for v in (a, b))
    scale = max(float(np.square(v).mean()) for v in (x, y)) ** 0.5
    return float(np.square(x - y).mean() ** 0.5 / scale) if scale else 0.0
