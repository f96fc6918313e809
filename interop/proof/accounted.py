"""The weights of an artefact and those of its source -> is every one of the first made of the
second, and by which step?

Exporters and optimisers turn weights round, merge, fold, cast and quantise them. Each such step is
named here and checked on the numbers; what no step explains is not the source's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from math import gcd
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.facts import FEW, Json, Proof, ProofName

NAME = ProofName.SAME_WEIGHTS
Array = NDArray[Any]
Step = tuple[str, tuple[str, ...]]  # what was done, and the source's tensors that it was done to
_SHOWN = 4
_ENOUGH = 16  # faults, after which no more are looked for: each is held against all weights
_ROUNDINGS = 8  # by which a step that computes may differ: a square root, a quotient, a product
_BLOCKS = 16  # of which a merged tensor consists at the most: gates, directions, two biases
_PLACES = 64  # at which a row is looked for, if it occurs so often
_PAIRS = 64  # unused vectors among which a sum of two is looked for
_LIFTED = 3e-7  # what float16 converters make of smaller numbers, at the most
_LAYOUTS = (16, 8, 4)  # channels in a block of ONNX Runtime's own layout for convolutions
_AXES = 4  # whose orders are all tried


@dataclass(frozen=True, slots=True)
class Codes:
    """How the whole numbers of a quantised tensor stand for others: (codes - zero) * scale.

    `scale` and `zero` are scalars, or have a number for each place of `axis`, or as many axes as
    the codes.
    """

    scale: Array
    zero: Array
    axis: int = 0

    def numbers(self, codes: Array) -> tuple[Array, Array]:
        """What the codes stand for, and half a step of each: how far rounding may be off."""
        scale, zero = (
            self._spread(a.astype(np.float64), codes.ndim) for a in (self.scale, self.zero)
        )
        numbers = (codes.astype(np.float64) - zero) * scale
        return numbers, np.broadcast_to(np.abs(scale) / 2, codes.shape)

    def _spread(self, array: Array, ndim: int) -> Array:
        if array.size == 1:
            return array.reshape(())
        if array.ndim == ndim > 1:
            return array
        return array.reshape([-1 if i == self.axis else 1 for i in range(ndim)])


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch normalisation in inference, by the names of its tensors ("" where it has none)."""

    scale: str
    shift: str
    mean: str
    variance: str
    eps: float


@dataclass(frozen=True, slots=True)
class Computed:
    """A constant that the source computes of its own tensors `of`, at `place` in it."""

    array: Array
    of: tuple[str, ...]
    place: str


@dataclass(frozen=True, slots=True)
class SourceWeights:
    """A source's tensors by name, its batch normalisations, and what it computes without its
    inputs, which is asked for only where no plainer step explains a weight."""

    tensors: Mapping[str, Array]
    norms: Sequence[Norm] = ()
    computed: Callable[[], Sequence[Computed]] = lambda: ()


@dataclass(frozen=True, slots=True)
class ArtefactWeights:
    """An artefact's tensors by name, each read when it is asked for, and how the quantised ones are
    to be read. `scales` are the scales and zero points themselves, which no source has; `unread`
    are codes packed in a way that is not read here; `blocked` are weights of convolutions in ONNX
    Runtime's own layout, blocks of channels side by side."""

    tensors: Iterable[tuple[str, Array]]
    codes: Mapping[str, Codes] = field(default_factory=dict)
    scales: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()
    container: str = "graph"


def accounted(
    artefact: ArtefactWeights,
    source: SourceWeights,
    acting: Callable[[Sequence[str]], Sequence[str]] = lambda names: (),
) -> Proof:
    """Proves "same weights" of an artefact that any tool wrote.

    Every weight of the artefact (a tensor of floating point, or codes of one) is one of the
    source's bit for bit, or made of some by a step that the numbers bear out; of `acting`, which is
    given the tensors that were not used, those on which the source's outputs depend are faults. A
    constant of up to 16 numbers that no step explains is arithmetic (an epsilon, a scale): it is
    counted, and parity judges it.
    """
    start = perf_counter()
    search = _Search(source)
    counts: dict[str, int] = defaultdict(int)
    steps: dict[str, str] = {}
    faults: dict[str, str] = {}
    arithmetic: list[str] = []
    total = 0
    for name, array in artefact.tensors:
        codes = artefact.codes.get(name)
        if name in artefact.scales or (codes is None and not _is_float(array)):
            continue
        if array.size < 2 and codes is None:
            search.scalar(array)
            continue
        total += 1
        step = search.unblocked(name, array) if name in artefact.blocked else None
        step = step or search.step(name, array, codes)
        if step is not None:
            what, used = step
            counts[what.partition(" (")[0]] += 1
            search.used.update(used)
            if what != SAME:
                steps[name] = f"{what} of {_listed(used)}" if used else what
            if (own := search.own(name)) and own not in used:
                faults[name] = f"holds {_listed(used) or what}, and not the source's {own}"
        elif array.size <= FEW and codes is None and search.own(name) is None:
            arithmetic.append(name)
        else:
            faults[name] = search.nearest(name, array, codes)
        if len(faults) == _ENOUGH:
            break
    unused = search.unused()
    lacking = list(acting(unused)) if unused and not faults else []
    what = f"is in no {artefact.container} weight, and the outputs depend on it"
    faults |= dict.fromkeys(lacking, what)
    facts: dict[str, Json] = {
        "weights": total,
        "steps": dict(counts),
        "derivations": steps,
        "arithmetic": arithmetic,
        "scales": len(artefact.scales),
        "not_used": unused,
        "faults": faults,
    }
    seconds = perf_counter() - start
    return Proof(NAME, not faults, _sentence(total, facts, artefact), facts, seconds)


SAME, ROUNDED = "the same bits", "the same to rounding"


def _sentence(total: int, facts: Mapping[str, Json], artefact: ArtefactWeights) -> str:
    faults, counts = facts["faults"], facts["steps"]
    if faults:
        shown = "; ".join(f"{name} {why}" for name, why in list(faults.items())[:_SHOWN])
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        of = (
            f"at least {_ENOUGH} weights"
            if len(faults) == _ENOUGH
            else f"{len(faults)} of {total} weights"
        )
        return f"{of} are not the source's: {shown}{more}"
    if not total:
        return f"the {artefact.container} holds no weights"
    ways = ", ".join(f"{n} {what}" for what, n in sorted(counts.items(), key=lambda c: -c[1]))
    rest = []
    if facts["arithmetic"]:
        rest.append(f"{len(facts['arithmetic'])} small constants are arithmetic")
    if facts["scales"]:
        rest.append(f"{facts['scales']} scales and zero points are a quantiser's")
    if facts["not_used"]:
        rest.append(f"not used, and without effect: {_listed(facts['not_used'])}")
    every = f"every weight of the {artefact.container} is the source's ({ways})"
    return "; ".join([every, *rest])


class _Search:
    """The steps, the plainest first, for one weight after the other."""

    def __init__(self, source: SourceWeights) -> None:
        self.source = source
        self.used: set[str] = set()
        self.tensors = {n: a for n, a in source.tensors.items() if _is_float(a)}
        self._shapes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, array in self.tensors.items():
            self._shapes[_sides(array)].append(name)
        self._prints: dict[str, tuple[int, int]] = {}
        self._computed: Sequence[Computed] | None = None
        self._rows: dict[bytes, list[tuple[str, bool, int]]] | None = None
        # A recurrent layer has two biases, of which some tools keep the sum.
        self.sums = {
            f"{n} + {o}": (a + self.tensors[o], (n, o))
            for n, a in self.tensors.items()
            if "bias_ih" in n and (o := n.replace("bias_ih", "bias_hh")) in self.tensors
        }
        self._scales: dict[int, list[tuple[str, Array, tuple[str, ...]]]] | None = None

    def own(self, name: str) -> str | None:
        """The source's tensor of the same name, with or without a wrapper's part in front."""
        names = (name, name.removeprefix("model."))
        return next((n for n in names if n in self.tensors), None)

    def unused(self) -> list[str]:
        """Tensors that may matter and that nothing was made of. Zeros are left out for good, and of
        several that are alike an artefact may have one."""
        left = [n for n, a in self.tensors.items() if n not in self.used and a.size > 1 and a.any()]
        if not left:
            return []
        sizes = {self.tensors[n].size for n in left}
        used = {
            self._print(n) for n in self.used if n in self.tensors and self.tensors[n].size in sizes
        }
        return [n for n in left if self._print(n) not in used]

    def scalar(self, array: Array) -> None:
        """Note the source's tensor of one number that this constant may be."""
        for name in self._shapes.get((), []):
            if self.tensors[name].reshape(()) == array.reshape(()):
                self.used.add(name)

    def step(self, name: str, array: Array, codes: Codes | None) -> Step | None:
        """How a weight comes about; None where no step explains it."""
        if codes is not None:
            return self._quantised(array, codes)
        exact = self._same(name, array)
        if exact is not None:
            return exact
        if array.size > 1 and (array == array.flat[0]).all():
            return f"a constant of equal numbers ({array.flat[0]:.6g})", ()
        wide = array.astype(np.float64)
        tolerance = _tolerance(wide, array.dtype)
        for way in (self._cast, self._merged):
            if (step := way(array)) is not None:
                return step
        return (
            self._folded(name, wide, tolerance)
            or self._of_constants(wide, tolerance)
            or self._summed(wide, tolerance)
        )

    def unblocked(self, name: str, array: Array) -> Step | None:
        """How a weight in blocks of channels comes about."""
        for plain in _plain_layouts(array):
            step = self._same(name, plain)
            if step is None:
                wide = plain.astype(np.float64)
                step = self._folded(name, wide, _tolerance(wide, plain.dtype))
            if step is not None:
                return f"in blocks of channels ({step[0]})", step[1]
        return None

    def nearest(self, name: str, array: Array, codes: Codes | None) -> str:
        """What is wrong with a weight that no step explains."""
        shape = " x ".join(map(str, array.shape))
        alike = self._shapes.get(_sides(array), [])
        if codes is not None:
            return f"({shape}, quantised) is over half a step from every weight of the source"
        for one in alike:
            if self.tensors[one].dtype == array.dtype and self._print(one) == _fingerprint(array):
                return f"({shape}) has the numbers of {one} in another order"
        own = self.own(name)
        if own is not None and self.tensors[own].shape == array.shape:
            tensor = self.tensors[own].astype(np.float64)
            far = np.abs(tensor - array).max() / (float(np.abs(tensor).max()) or 1.0)
            return f"differs from the source's tensor of its name by {far:.1e} of the largest"
        free = [n for n in alike if n not in self.used]
        beside = f"; {_listed(free)} of this shape are not used" if free else ""
        return f"({shape}) is no tensor of the source, nor made of some by a known step{beside}"

    # ------------------------------------------------------------ bit for bit

    def _same(self, name: str, array: Array) -> Step | None:
        own = self.own(name)
        order = self._shapes.get(_sides(array), [])
        order = [own, *(n for n in order if n != own)] if own in order else order
        unused_first = sorted(order, key=lambda n: (n != own, n in self.used))
        mine: tuple[int, int] | None = None
        for one in unused_first:
            tensor = self.tensors[one]
            if tensor.dtype != array.dtype:
                continue
            if tensor.shape == array.shape and _equal(tensor, array):
                return SAME, (one,)
            mine = mine or _fingerprint(array)
            if self._print(one) != mine:
                continue
            for how, turned in _turned(tensor, array.shape):
                if _equal(turned, array):
                    return how, (one,)
        return None

    def _print(self, name: str) -> tuple[int, int]:
        if name not in self._prints:
            self._prints[name] = _fingerprint(self.tensors[name])
        return self._prints[name]

    # ------------------------------------------------------------ by a step

    def _cast(self, array: Array) -> Step | None:
        for one in self._shapes.get(_sides(array), []):
            tensor = self.tensors[one]
            if tensor.dtype == array.dtype:
                continue
            with np.errstate(over="ignore"):
                cast = tensor.astype(array.dtype)
            for how, turned in _turned(cast, array.shape):
                if _equal(turned, array) or _rounded_alike(turned, array):
                    also = "" if how == SAME else f", {how}"
                    return f"cast to {array.dtype}{also}", (one,)
        return None

    def _merged(self, array: Array) -> Step | None:
        """Blocks of the source's tensors, one after the other along an axis: gates of an LSTM, the
        three parts of attention; or a block of one of them."""
        if array.size <= FEW:
            return None
        rows = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(-1, 1)
        for flat, turned in ((rows, False), (rows.T, True), (array.reshape(-1, 1), False)):
            if len(flat) > 1 and (blocks := self._blocks(flat)):
                used = (
                    x for n, *_ in blocks for x in (self.sums[n][1] if n in self.sums else (n,))
                )
                names = tuple(dict.fromkeys(used))
                how = "a block" if len(blocks) == 1 else f"{len(blocks)} blocks"
                return f"merged or split ({how}{', transposed' * turned})", names
        return None

    def _blocks(self, rows: Array) -> list[tuple[str, int, int]] | None:
        """(tensor, first row, how many) for each run of rows; None where they are no blocks."""
        index, at = self._row_index(), 0
        blocks: list[tuple[str, int, int]] = []
        while at < len(rows):
            best: tuple[str, int, int] | None = None
            for name, turned, first in index.get(_key(rows[at]), ())[:_PLACES]:
                tensor = _flat(self._part(name), turned)
                count = min(len(rows) - at, len(tensor) - first)
                if tensor.shape[1] != rows.shape[1] or tensor.dtype != rows.dtype:
                    continue
                same = (rows[at : at + count] == tensor[first : first + count]).all(axis=1)
                run = count if same.all() else int(same.argmin())
                if run and (best is None or run > best[2]):
                    best = name, first, run
            if best is None or len(blocks) == _BLOCKS:
                return None
            blocks.append(best)
            at += best[2]
        # Rows of a head in another order are runs too; blocks are even, of two rows at the least.
        even = gcd(*(n for _, first, run in blocks for n in (first, run)))
        whole = all(first == 0 for _, first, _ in blocks)
        return blocks if len(blocks) == 1 or whole or even > 1 else None

    def _row_index(self) -> dict[bytes, list[tuple[str, bool, int]]]:
        if self._rows is None:
            self._rows = defaultdict(list)
            for name in (*self.tensors, *self.sums):
                tensor = self._part(name)
                for turned in (False, True) if tensor.ndim == 2 else (False,):
                    flat = _flat(tensor, turned)
                    for i in range(len(flat)):
                        self._rows[_key(flat[i])].append((name, turned, i))
        return self._rows

    def _part(self, name: str) -> Array:
        return self.sums[name][0] if name in self.sums else self.tensors[name]

    def _folded(self, name: str, wide: Array, tolerance: Array) -> Step | None:
        """A weight that something was multiplied into: a batch normalisation, a scale, a number;
        or a bias that went through one."""
        if wide.size != max(wide.shape):
            return self._scaled(name, wide, tolerance)
        wide, tolerance = wide.reshape(-1), tolerance.reshape(-1)
        for norm in self.source.norms:
            if norm.mean and self.tensors[norm.mean].size == wide.size:
                scale, shift, mean = self._norm(norm)
                used = tuple(filter(None, (norm.scale, norm.shift, norm.mean, norm.variance)))
                for bias, of in self._biases(wide.size):
                    if _near(wide, shift + (bias - mean) * scale, tolerance, mean * scale):
                        return "batch normalisation folded into a bias", (*used, *of)
        for how, scale, used in self._vectors(wide.size):
            for one in self._shapes.get((wide.size,), []):
                tensor = self.tensors[one].astype(np.float64)
                if one not in used and _near(wide, tensor.reshape(-1) * scale, tolerance):
                    return f"{how} multiplied in", (one, *used)
        for one in self._shapes.get((wide.size,), []):
            tensor = self.tensors[one].astype(np.float64).reshape(-1)
            if _near(wide, tensor, tolerance):
                return ROUNDED, (one,)
            if factor := self._factor(wide, tensor, tolerance):
                return f"multiplied by a number ({factor:.6g})", (one, *self._scalar_of(factor))
        return None

    def _scaled(self, name: str, wide: Array, tolerance: Array) -> Step | None:
        own = self.own(name)
        order = sorted(self._shapes.get(_sides(wide), []), key=lambda n: (n != own, n in self.used))
        # A scale that is learned of rounded numbers is itself no better than those.
        rough = max(1e-4, float(np.median(tolerance / np.maximum(np.abs(wide), 1e-30))))
        for one in order:
            for how, turned in _turned(self.tensors[one].astype(np.float64), wide.shape):
                also = "" if how == SAME else f" ({how})"
                if _near(wide, turned, tolerance):
                    # What the source computes may differ from what it computes it of by nothing
                    # but rounding: weight norm, before it is trained.
                    return self._of_constants(wide, tolerance) or (f"{ROUNDED}{also}", (one,))
                # Only where both have the same zeros can one be the other times something.
                if factor := self._factor(wide, turned, tolerance):
                    used = (one, *self._scalar_of(factor))
                    return f"multiplied by a number ({factor:.6g}){also}", used
                for axis in (0, 1, wide.ndim - 1):
                    scale = _by_axis(wide, turned, axis, tolerance)
                    if scale is None:
                        continue
                    for what, vector, used in self._vectors(scale.size):
                        if np.allclose(scale, vector, rtol=rough, atol=1e-12):
                            return f"{what} folded{also}", (one, *used)
        return None

    def _factor(self, wide: Array, tensor: Array, tolerance: Array) -> float | None:
        """The one number by which a tensor was multiplied, if a tool or the source has it."""
        factor = _factor(wide, tensor, tolerance)
        return factor if factor and (_is_scale(factor) or self._scalar_of(factor)) else None

    def _scalar_of(self, factor: float) -> tuple[str, ...]:
        """The source's own number that this is."""
        single = (n for n in self._shapes.get((), []) if np.isclose(
            float(self.tensors[n].reshape(())), factor, rtol=1e-5, atol=0))  # fmt: skip
        return tuple(single)[:1]

    def _vectors(self, size: int) -> list[tuple[str, Array, tuple[str, ...]]]:
        """What may have been multiplied in: scales of batch normalisations, and any vector."""
        if self._scales is None:
            self._scales = defaultdict(list)
            for norm in self.source.norms:
                if norm.variance:
                    scale = self._norm(norm)[0]
                    used = tuple(filter(None, (norm.scale, norm.variance)))
                    self._scales[scale.size].append(("batch normalisation", scale, used))
            for name, tensor in self.tensors.items():
                if 1 < tensor.size == max(tensor.shape):
                    vector = tensor.astype(np.float64).reshape(-1)
                    self._scales[tensor.size].append(("a scale", vector, (name,)))
        return self._scales.get(size, [])

    def _norm(self, norm: Norm) -> tuple[Array, Array, Array]:
        """Its scale, shift and mean in float64: y = (x - mean) * scale + shift."""
        variance = self.tensors[norm.variance].astype(np.float64)
        scale = 1 / np.sqrt(variance + norm.eps)
        scale = scale * self.tensors[norm.scale].astype(np.float64) if norm.scale else scale
        shift = self.tensors[norm.shift].astype(np.float64) if norm.shift else 0 * scale
        return scale, shift, self.tensors[norm.mean].astype(np.float64)

    def _biases(self, size: int) -> Iterator[tuple[Array, tuple[str, ...]]]:
        yield np.zeros(size), ()
        for one in self._shapes.get((size,), []):
            yield self.tensors[one].astype(np.float64).reshape(-1), (one,)

    def _of_constants(self, wide: Array, tolerance: Array) -> Step | None:
        if self._computed is None:
            self._computed = self.source.computed()
        for one in self._computed:
            if one.array.size != wide.size or not _is_float(one.array):
                continue
            for how, turned in _turned(one.array.astype(np.float64), wide.shape):
                if _near(wide, turned, tolerance):
                    also = "" if how == SAME else f", {how}"
                    return f"computed by the source (in {one.place}{also})", one.of
        return None

    def _summed(self, wide: Array, tolerance: Array) -> Step | None:
        """A sum of two: a bias that another was added to."""
        if wide.size != max(wide.shape, default=0):
            return None
        names = [n for n in self._shapes.get((wide.size,), []) if n not in self.used][:_PAIRS]
        flat = wide.reshape(-1)
        for a, b in combinations(names, 2):
            one, two = (self.tensors[n].astype(np.float64).reshape(-1) for n in (a, b))
            if _near(flat, one + two, tolerance.reshape(-1), one):
                return "a sum of two", (a, b)
        return None

    def _quantised(self, array: Array, codes: Codes) -> Step | None:
        numbers, half = codes.numbers(array)
        # The quotient is taken in float32, where a bias may be a million steps.
        half = half * (1 + 1e-3) + _ROUNDINGS * float(np.finfo(np.float32).eps) * np.abs(numbers)
        how = f"quantised to {array.dtype}"
        if numbers.ndim < 2:
            if array.dtype.itemsize < 4 and numbers.size <= 1:
                return None
            for norm in self.source.norms:
                if norm.mean and self.tensors[norm.mean].size == numbers.size:
                    scale, shift, mean = self._norm(norm)
                    for bias, of in self._biases(numbers.size):
                        if (np.abs(shift + (bias - mean) * scale - numbers) <= half).all():
                            named = (norm.scale, norm.shift, norm.mean, norm.variance)
                            return f"{how}, batch normalisation folded", (*filter(None, named), *of)
        for one in sorted(self._shapes.get(_sides(array), []), key=lambda n: n in self.used):
            tensor = self.tensors[one].astype(np.float64)
            for turn, turned in (*_turned(tensor, array.shape), *_gated(tensor, array.shape)):
                also = "" if turn == SAME else f", {turn}"
                if (np.abs(turned - numbers) <= half).all():
                    return f"{how}{also}", (one,)
                if numbers.ndim < 2:
                    continue
                for axis in (0, 1):
                    for what, vector, used in self._vectors(numbers.shape[axis]):
                        shape = [1] * numbers.ndim
                        shape[axis] = -1
                        if (np.abs(turned * vector.reshape(shape) - numbers) <= half).all():
                            return f"{how}, {what} folded{also}", (one, *used)
        if self._computed is None:
            self._computed = self.source.computed()
        for each in self._computed:
            if each.array.size == numbers.size:
                for _, turned in _turned(each.array.astype(np.float64), numbers.shape):
                    if (np.abs(turned - numbers) <= half).all():
                        return f"{how}, computed by the source (in {each.place})", each.of
        return None


def _is_float(array: Array) -> bool:
    # numpy knows bfloat16 by extension alone.
    return array.dtype.kind == "f" or array.dtype.name in ("bfloat16", "float8_e4m3fn")


def _sides(array: Array) -> tuple[int, ...]:
    """The lengths of the axes, in no order and without those of one: what turning leaves."""
    return tuple(sorted(n for n in array.shape if n != 1))


def _flat(tensor: Array, turned: bool) -> Array:
    rows = tensor.reshape(tensor.shape[0], -1) if tensor.ndim > 1 else tensor.reshape(-1, 1)
    return rows.T if turned else rows


def _key(row: Array) -> bytes:
    """What rows are looked up by: the beginning of one."""
    return np.ascontiguousarray(row[:16]).tobytes()


def _fingerprint(array: Array) -> tuple[int, int]:
    """The same for the same bits in whatever order."""
    bits = np.ascontiguousarray(array).reshape(-1).view(f"u{array.dtype.itemsize}")
    total = int(bits.sum(dtype=np.uint64))
    return total, int(np.bitwise_xor.reduce(bits, initial=0)) if bits.size else 0


def _equal(a: Array, b: Array) -> bool:
    """Whether two arrays have the same bits in the same order."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    kind = f"u{a.dtype.itemsize}"
    return bool(
        np.array_equal(np.ascontiguousarray(a).view(kind), np.ascontiguousarray(b).view(kind))
    )


def _rounded_alike(cast: Array, array: Array) -> bool:
    """Whether a cast by another tool differs at the ends of the range alone: a converter clips what
    is too large, and lifts what would be nothing to the smallest number."""
    if cast.shape != array.shape or array.dtype != np.float16:
        return False
    largest, tiny = float(np.finfo(np.float16).max), 2.0**-24
    ends = (np.abs(array) >= largest) | (np.abs(array) <= 2 * tiny)
    far = np.abs(cast.astype(np.float64) - array.astype(np.float64))
    return bool(((cast == array) | (ends & ((far <= 2 * tiny) | np.isinf(cast)))).all())


def _turned(tensor: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """A tensor in all orders of its axes that give this shape, but for axes of one."""
    if tensor.shape == shape:
        yield SAME, tensor
    elif tensor.size == int(np.prod(shape)):
        yield "reshaped", tensor.reshape(shape)
    core = tensor.reshape([n for n in tensor.shape if n != 1])
    wanted = tuple(n for n in shape if n != 1)
    if core.ndim == 2 and core.T.size == int(np.prod(shape)):
        yield "transposed", core.T.reshape(shape)
    if 2 < core.ndim <= _AXES and len(wanted) == core.ndim:
        for order in list(permutations(range(core.ndim)))[1:]:
            if tuple(core.shape[i] for i in order) == wanted:
                yield "transposed", core.transpose(order).reshape(shape)


def _gated(tensor: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """The gates of a recurrent layer in ONNX's order: of an LSTM input, output, forget, cell
    (torch: input, forget, cell, output), of a GRU update, reset, hidden (torch: reset, update,
    new).
    """
    for order in ((0, 3, 1, 2), (1, 0, 2)):
        if tensor.ndim and len(tensor) % len(order) == 0 and len(shape) > 1:
            gates = np.split(tensor, len(order))
            for how, turned in _turned(np.concatenate([gates[i] for i in order]), shape):
                yield f"gates in ONNX's order{'' if how == SAME else f', {how}'}", turned


def _tolerance(wide: Array, dtype: np.dtype[Any]) -> Array:
    """How far a step that computes in this type may be off, by element."""
    eps = 2.0**-8 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)
    # Near nothing float16 has steps of their own, and converters lift what is below them.
    least = _LIFTED if dtype == np.float16 else 0.0
    return _ROUNDINGS * eps * np.abs(wide) + least


def _plain_layouts(array: Array) -> Iterator[Array]:
    """What a kernel (O, I, h, w), or a vector, may have been before its channels were put in blocks
    of b: (O/b, I/b, h, w, b of I, b of O), or (O/b, I, h, w, b of O). Zeros fill the last block."""
    if array.ndim == 1:
        yield from _unfilled(array, max(_LAYOUTS))
        return
    outer, inner, *kernel = array.shape
    for b in (n for n in _LAYOUTS if outer % n == 0):
        plain = [array.reshape(outer // b, inner, *kernel, b).transpose(0, 4, 1, 2, 3)]
        if inner % b == 0:
            both = array.reshape(outer // b, inner // b, *kernel, b, b)
            plain.append(both.transpose(0, 5, 1, 4, 2, 3))
        for one in plain:
            for rows in _unfilled(one.reshape(array.shape), b):
                yield from (c.swapaxes(0, 1) for c in _unfilled(rows.swapaxes(0, 1), b))


def _unfilled(array: Array, block: int) -> Iterator[Array]:
    """An array, and the same without zeros at its end that may fill a block."""
    yield array
    for count in range(len(array) - 1, max(len(array) - block, 0), -1):
        if array[count:].any():
            return
        yield array[:count]


def _near(wide: Array, other: Array, tolerance: Array, beside: Array | None = None) -> bool:
    """Whether two are alike but for roundings, those of a larger number `beside` them included."""
    if wide.shape != other.shape:
        return False
    eps = float(np.finfo(np.float32).eps)
    room = tolerance + (_ROUNDINGS * eps * np.abs(beside) if beside is not None else 0)
    scale = float(np.abs(wide).max(initial=0)) * eps
    return bool((np.abs(wide - other) <= room + scale).all())


def _factor(wide: Array, tensor: Array, tolerance: Array) -> float | None:
    """The one number by which a tensor was multiplied; None where there is none."""
    if wide.shape != tensor.shape:
        return None
    square = float((tensor * tensor).sum())
    factor = float((wide * tensor).sum()) / square if square else 0.0
    return factor if _near(wide, tensor * factor, tolerance) else None


def _is_scale(factor: float) -> bool:
    """Whether a number is one that a tool folds into weights: a whole number (a count of channels,
    a size), its root, or one over those. Any other one means another weight."""
    square = max(factor, 1 / factor) ** 2 if factor > 0 else 0.0
    return square > 1.5 and abs(square - round(square)) <= 1e-5 * square


def _by_axis(wide: Array, tensor: Array, axis: int, tolerance: Array) -> Array | None:
    """The number by which each slice along an axis was multiplied; None where there is none."""
    if wide.shape != tensor.shape:
        return None
    others = tuple(i for i in range(wide.ndim) if i != axis)
    squares = (tensor * tensor).sum(axis=others)
    scale = (wide * tensor).sum(axis=others) / np.where(squares, squares, 1.0)
    shape = [1] * wide.ndim
    shape[axis] = -1
    return scale if _near(wide, tensor * scale.reshape(shape), tolerance) else None


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - 3} more" if len(every) > 3 else ""
    return ", ".join(every[:3]) + more
