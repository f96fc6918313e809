"""What a first convolution received in training, from the BatchNorm directly behind it.

Identity -> Imprint. Only the weights of that convolution and the running statistics are read,
without numpy. The running mean is linear in the mean of the input; the running variance is a
quadratic form of each filter, with the input's variance and its correlations in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from math import exp, isfinite, log, prod, sqrt
from operator import mul
from typing import NamedTuple

from interop.errors import InteropError
from interop.facts import PHOTO_STD, WIDE_FAMILIES, Identity, Imprint, TensorSpec, is_wide
from interop.identity.head import sorted_by_name
from interop.identity.index.order import in_definition_order
from interop.patterns import lazy
from interop.reading.values import plain
from interop.records import replace

# Fewer batches leave the initial 0 and 1 in the average; benchmarks/imprint.py decides how few.
FEWEST_BATCHES = 200
FEWEST_FILTERS = 8
MOST_ELEMENTS, MOST_POSITIONS = 1024, 400  # of one filter, and of one of its colours
MOST_VALUES = 1 << 20  # of the whole convolution
MOST_SORTED = 10_000  # tensors that are put in order; networks with BatchNorm have fewer
MOST_WORK, FEWEST_SAMPLED = 800_000, 16  # multiplications, and filters whatever they cost

# The gates: beyond these the numbers are not those of this convolution's input.
MOST_RMS = 0.6  # of the logarithms of the variances
LEAST_EXPLAINED = 0.5  # of their spread between the filters
MOST_RESIDUAL = 0.3  # of the means, in standard deviations
MOST_SCORE = 12.0  # of the family that fits best
MOST_FAMILY_RESIDUAL = 0.12  # an activation before the BatchNorm halves the scale, and shows here
LEAST_RATIO = 2.0  # of the next best family's score to the best's

# Means that inputs of 0 to 255 can have, and other ones. Decibels are below 0 and vary little.
_WIDE_MEAN, _NARROW_MEAN = (-160.0, 260.0), (-12.0, 12.0)
_FAINT, _FAINT_MEAN = 30.0, -10.0

# The mean of ordinary photos of 0 to 1, and how far a data set may be from it and PHOTO_STD.
PHOTO_MEAN = (0.485, 0.456, 0.406)
_TOGETHER, _APART, _STD_SPREAD = 0.12, 0.05, 0.35
_IMAGENET_STD = (0.229, 0.224, 0.225)

RAW = "0 to 255"
LESS_MEAN = "0 to 255 less a mean"
UNIT = "0 to 1"
STANDARD = "less a mean and over a std (ImageNet's, or the data's own)"
HALF = "-1 to 1"
# (family, what a channel is multiplied by and what is added to it, to be of 0 to 1 again)
_BACK: tuple[tuple[str, Sequence[float], Sequence[float]], ...] = (
    (RAW, (1 / 255,) * 3, (0.0,) * 3),
    (LESS_MEAN, (1 / 255,) * 3, PHOTO_MEAN),
    (UNIT, (1.0,) * 3, (0.0,) * 3),
    (STANDARD, _IMAGENET_STD, PHOTO_MEAN),
    (HALF, (0.5,) * 3, (0.5,) * 3),
)
# Their forward changes the input to another preparation first, with no buffer that shows it.
_PREPARE_INSIDE = frozenset({"torchvision/googlenet", "torchvision/inception_v3"})
# Buffers by which a model normalises its own input: "mean", "pixel_std", "rgb_mean".
_NORMALISER = lazy(
    r"_?((pixel|image|img|rgb|input|norm|data|bgr)_)?(mean|std|means|stds)(_rgb|_bgr)?"
)
_ENDS = ("mean", "std", "means", "stds", "_rgb", "_bgr")  # cheaper to ask of 50,000 tensors


class _Silent(Exception):
    """No statement can be made; the text says why."""


class _Stem(NamedTuple):
    """A first convolution and the BatchNorm behind it; `bias` and `counter` may be absent."""

    weight: TensorSpec
    bias: TensorSpec | None
    mean: TensorSpec
    variance: TensorSpec
    counter: TensorSpec | None


def with_imprint(identity: Identity) -> Identity:
    """Return the same identity with what its weights remember of their inputs."""
    return replace(identity, imprint=remembered(identity))


def remembered(identity: Identity) -> Imprint | None:
    """Return what the first convolution received, or why that cannot be said.

    None if the model has no convolution over two dimensions. Never raises for what is in a file.
    """
    if not any(_is_convolution(t) for t in identity.tensors):
        return None
    seen = Imprint()
    try:
        _suits(identity)
        stem = _stem(identity)
        layer, norm = (t.name.rpartition(".")[0] for t in (stem.weight, stem.mean))
        seen = Imprint(layer=layer, norm=norm)
        values = _read(stem)
        seen = replace(seen, batches=_batches(stem, values))
        return _measured(identity, stem, values, seen)
    except _Silent as silence:
        return replace(seen, why=str(silence))


# ---------------------------------------------------------------- which tensors


def _is_convolution(t: TensorSpec) -> bool:
    return len(t.shape) == 4 and t.numel > 0 and t.name.rpartition(".")[2] in ("weight", "kernel")


def _suits(identity: Identity) -> None:
    if identity.kind:
        raise _Silent(f"not a plain model: {identity.kind}")
    if identity.preprocessing is not None and identity.preprocessing.kind != "image":
        raise _Silent(f"its inputs are {identity.preprocessing.kind}")
    if identity.manifest.graph is not None:
        raise _Silent("a graph usually has its batch normalisation folded into the weights")
    if identity.manifest.channels_last:
        raise _Silent(f"not read from {identity.manifest.container} files")
    for t in identity.tensors:
        named = t.name.endswith(_ENDS) and _NORMALISER.fullmatch(t.name.rpartition(".")[2])
        if named and 0 < t.numel <= 4:
            raise _Silent(f"the model normalises its input itself ({t.name})")
    if not any(t.name.endswith("running_mean") for t in identity.tensors):
        raise _Silent("the model has no batch normalisation")


def _stem(identity: Identity) -> _Stem:
    """The first convolution and its BatchNorm; raises _Silent if they are not there."""
    line = list(_in_order(identity))
    weight = line[0]
    if len(weight.shape) != 4 or weight.name.rpartition(".")[2] != "weight":
        raise _Silent(f"the first tensor is not a convolution ({weight.name})")
    if weight.shape[1] not in (1, 3):
        raise _Silent(f"the first convolution takes {weight.shape[1]} channels, not 1 or 3")
    path, width = weight.name.rpartition(".")[0], (weight.shape[0],)
    behind = line[1:]
    bias = None
    if behind and behind[0].name == _under(path, "bias") and behind[0].shape == width:
        bias = behind.pop(0)
    norm = behind[0].name.rpartition(".")[0] if behind else ""
    own = {t.name: t for t in line if t.name.rpartition(".")[0] == norm}
    mean, variance = (own.get(_under(norm, leaf)) for leaf in ("running_mean", "running_var"))
    if mean is None or variance is None or (mean.shape, variance.shape) != (width, width):
        raise _Silent(f"no batch normalisation directly behind the first convolution ({path})")
    if width[0] < FEWEST_FILTERS:
        raise _Silent(f"the first convolution has only {width[0]} filters")
    positions = prod(weight.shape[2:])
    large = positions > MOST_POSITIONS or weight.shape[1] * positions > MOST_ELEMENTS
    if large or weight.numel > MOST_VALUES:
        raise _Silent(f"the first convolution is too large ({'x'.join(map(str, weight.shape))})")
    return _Stem(weight, bias, mean, variance, own.get(_under(norm, "num_batches_tracked")))


def _under(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf


def _in_order(identity: Identity) -> Sequence[TensorSpec]:
    """The tensors as their module defines them; raises _Silent if nothing says how."""
    tensors = [t for t in identity.tensors if t.numel]
    state = identity.state
    if state is not None and state.ordered and not sorted_by_name(tensors):
        return tensors
    if len(tensors) > MOST_SORTED:
        raise _Silent("the file sorts its tensors by name, and they are too many to put in order")
    line = in_definition_order(tensors, [a.name for a in identity.architectures])
    if identity.architectures:
        return line
    # Of an unknown module the order is a guess, unless one convolution alone can be the first.
    takes = [t for t in tensors if _is_convolution(t) and t.shape[1] in (1, 3)]
    if not takes:
        raise _Silent("no convolution takes 1 or 3 channels")
    if len(takes) != 1 or takes[0] is not line[0]:
        raise _Silent("the file sorts its tensors by name: which layer is the first is unknown")
    return line


# ---------------------------------------------------------------- their values


class _Values(NamedTuple):
    weight: list[float]
    bias: list[float]
    mean: list[float]
    variance: list[float]
    counter: float | None


def _read(stem: _Stem) -> _Values:
    specs = [t for t in stem if t is not None]
    try:
        lists = dict(zip(specs, plain.numbers(specs), strict=True))
    except (InteropError, OSError) as error:
        what = error.what if isinstance(error, InteropError) else str(error)
        raise _Silent(f"the values cannot be read: {what}") from None
    counter = lists[stem.counter][0] if stem.counter is not None else None
    bias = [0.0] * stem.weight.shape[0] if stem.bias is None else lists[stem.bias]
    values = _Values(lists[stem.weight], bias, lists[stem.mean], lists[stem.variance], counter)
    if not all(isfinite(v) and abs(v) < 1e12 for one in values[:4] for v in one):
        raise _Silent("the first layer holds values that are not finite")
    return values


def _batches(stem: _Stem, values: _Values) -> int | None:
    """The number of batches tracked; raises _Silent if they are too few to say anything."""
    if max(values.variance) <= 0 or min(values.variance) < 0:
        raise _Silent(f"{stem.variance.name} holds no variances")
    if set(values.mean) == {0.0} and set(values.variance) == {1.0}:
        raise _Silent("the running statistics are the initial 0 and 1: they were never trained")
    if values.counter is None:
        return None
    if not isfinite(values.counter) or values.counter < 0:
        raise _Silent("the number of batches tracked is not a count")
    if values.counter < FEWEST_BATCHES:
        s = "" if values.counter == 1 else "es"
        raise _Silent(
            f"only {values.counter:.0f} batch{s} were tracked, fewer than {FEWEST_BATCHES}"
        )
    return int(values.counter)


# ---------------------------------------------------------------- what they say


class _Filter(NamedTuple):
    """One output channel: its elements by colour, and its statistics without the bias."""

    planes: list[list[float]]
    mean: float
    variance: float


def _measured(identity: Identity, stem: _Stem, values: _Values, seen: Imprint) -> Imprint:
    filters = _filters(stem, values)
    if len(filters) < FEWEST_FILTERS:
        raise _Silent(f"only {len(filters)} filters of the first convolution are in use")
    mean, residual = _input_mean(filters)
    scale, rms, explained = _input_scale(_sampled(filters, stem.weight.shape), stem.weight.shape)
    seen = replace(seen, mean=mean, scale=scale, residual=residual, rms=rms)
    if rms >= MOST_RMS or explained < LEAST_EXPLAINED:
        return replace(seen, why=f"the variances do not fit the filters (rms {rms:.2f})")
    if residual >= MOST_RESIDUAL:
        return replace(seen, why=f"the means do not fit the filters (residual {residual:.2f})")
    scores = _scores(mean, scale)
    if (wide := _range(scale, mean, scores)) is None:
        figures = ", ".join(f"{m:.2g}" for m in mean)
        why = f"mean {figures} and scale {scale:.2g} are those of no usual preparation"
        return replace(seen, why=why)
    return _with_family(identity, replace(seen, wide=wide, scores=scores))


def _filters(stem: _Stem, values: _Values) -> list[_Filter]:
    """The filters that are in use: weight decay leaves others at nearly nothing."""
    colours, size = stem.weight.shape[1], prod(stem.weight.shape[2:])
    found = []
    for k, variance in enumerate(values.variance):
        at = k * colours * size
        planes = [values.weight[at + c * size : at + (c + 1) * size] for c in range(colours)]
        found.append(_Filter(planes, values.mean[k] - values.bias[k], variance))
    powers = [sum(sum(map(mul, p, p)) for p in f.planes) for f in found]
    least, least_power = 1e-8 * max(values.variance), 1e-8 * max(powers)
    return [
        f for f, power in zip(found, powers, strict=True)
        if f.variance > least and power > least_power and f.variance > 1e-30
    ]  # fmt: skip


def _input_mean(filters: Sequence[_Filter]) -> tuple[tuple[float, ...], float]:
    """The input's mean by channel, by weighted least squares, and the fit's relative residual."""
    rows = [[sum(plane) / sqrt(f.variance) for plane in f.planes] for f in filters]
    wanted = [f.mean / sqrt(f.variance) for f in filters]
    colours = range(len(rows[0]))
    matrix = [[sum(row[i] * row[j] for row in rows) for j in colours] for i in colours]
    # Filters that see grey alone leave the difference of the channels open: then there is none.
    ridge = 1e-4 * sum(matrix[i][i] for i in colours) / len(colours)
    if ridge == 0.0:
        raise _Silent("the filters of the first convolution sum to nothing")
    n = len(colours)
    for i, j in product(colours, colours):
        matrix[i][j] += ridge * ((i == j) - 1 / n)
    mean = _solved(matrix, [sum(map(mul, wanted, (r[i] for r in rows))) for i in colours])
    misfit = [want - sum(map(mul, row, mean)) for row, want in zip(rows, wanted, strict=True)]
    return tuple(mean), sqrt(sum(map(mul, misfit, misfit)) / len(misfit))


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a small system of equations, by elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i in range(len(rows)):
        pivot = max(range(i, len(rows)), key=lambda j: abs(rows[j][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        if abs(rows[i][i]) < 1e-300:
            raise _Silent("the filters of the first convolution do not determine the mean")
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [v - rows[j][i] * w for v, w in zip(rows[j], rows[i], strict=True)]
    return [row[-1] for row in rows]


# ---------------------------------------------------------------- the scale


class _Shifts(NamedTuple):
    """The displacements within a kernel: how far one is in the padded plane, and which of
    `distances` it is, each counted `times`."""

    steps: tuple[tuple[int, int, int], ...]
    distances: tuple[float, ...]


@cache
def _shifts(height: int, width: int) -> _Shifts:
    row = 2 * width - 1
    moves = [
        (y, x) for y in range(height) for x in range(-width + 1, width) if y > 0 or x >= 0
    ]  # fmt: skip
    squares = sorted({y * y + x * x for y, x in moves})
    place = {square: i for i, square in enumerate(squares)}
    steps = ((y * row + x, place[y * y + x * x], 1 + bool(y or x)) for y, x in moves)
    return _Shifts(tuple(steps), tuple(map(sqrt, squares)))


def _sampled(filters: list[_Filter], shape: tuple[int, ...]) -> list[_Filter]:
    """So many of the filters, evenly spread, as the bound on the work allows."""
    _, colours, height, width = shape
    cost = (colours + 1) * (height * (2 * width - 1)) ** 2 // 2
    most = max(FEWEST_SAMPLED, MOST_WORK // cost)
    if len(filters) <= most:
        return filters
    return [filters[i * len(filters) // most] for i in range(most)]


def _input_scale(filters: Sequence[_Filter], shape: tuple[int, ...]) -> tuple[float, float, float]:
    """The input's standard deviation, the fit's rms, and the share of the spread explained.

    The variance behind a filter w is w' S w. S is the input's variance times c between colours,
    times r to the distance between positions; r and c are found with a weak prior, as natural
    images have them.
    """
    height, width = shape[2:]
    shifts = _shifts(height, width)
    own, whole = [], []
    for f in filters:
        own.append([sum(v) for v in zip(*(_spectrum(p, width, shifts) for p in f.planes),
                                        strict=True)])  # fmt: skip
        together = (
            f.planes[0] if len(f.planes) == 1 else [sum(v) for v in zip(*f.planes, strict=True)]
        )
        whole.append(_spectrum(together, width, shifts))
    wanted = [log(f.variance) for f in filters]
    fit = _Fit(shifts.distances, own, whole, wanted, len(filters[0].planes) > 1)
    best = min((fit.at(r, c) for r, c in product(_R, _C if fit.coloured else _C[:1])))
    for step in (0.5, 0.25, 0.12):
        tries = product((-step, 0.0, step), (-step, 0.0, step) if fit.coloured else (0.0,))
        best = min(best, *(fit.at(best.r + a, best.c + b) for a, b in tries if a or b))
    middle = sum(wanted) / len(wanted)
    spread = sum((v - middle) ** 2 for v in wanted) / len(wanted)
    return exp(best.level / 2), best.rms, 1 - best.rms**2 / max(spread, 1e-12)


def _spectrum(plane: list[float], width: int, shifts: _Shifts) -> list[float]:
    """The sums of products of a plane's elements, by the distance between the two."""
    rows = (plane[i : i + width] for i in range(0, len(plane), width))
    flat = [v for row in rows for v in (*row, *_zeros(width - 1))]
    sums = [0.0] * len(shifts.distances)
    for step, place, times in shifts.steps:
        sums[place] += times * sum(map(mul, flat, flat[step:] if step else flat))
    return sums


@cache
def _zeros(count: int) -> tuple[float, ...]:
    return (0.0,) * count


# Both correlations as logits, so that no step leaves 0 to 1: about .73 to .993, and .5 to .98.
_R = (1.0, 1.7, 2.2, 2.9, 3.5, 4.2, 5.0)
_C = (0.0, 0.8, 1.5, 2.2, 3.0, 4.0)
_PRIOR_R, _PRIOR_C, _PRIOR_SPREAD = 2.9, 2.2, 1.0
_MISFIT, _EFFECTIVE = 0.3, 8  # of one filter; filters err alike, so that many count as few


class _Trial(NamedTuple):
    """One pair of correlations; the least cost is the best."""

    cost: float
    r: float
    c: float
    level: float
    rms: float


class _Fit(NamedTuple):
    distances: tuple[float, ...]
    own: list[list[float]]
    whole: list[list[float]]
    wanted: list[float]
    coloured: bool

    def at(self, r: float, c: float) -> _Trial:
        """The fit with two correlations, given as logits."""
        near, between = 1 / (1 + exp(-r)), 1 / (1 + exp(-c))
        decay = [near**d for d in self.distances]
        errors = []
        for own, whole, want in zip(self.own, self.whole, self.wanted, strict=True):
            form = sum(map(mul, decay, whole))
            if self.coloured:
                form = between * form + (1 - between) * sum(map(mul, decay, own))
            errors.append(want - log(max(form, 1e-60)))
        level = sum(errors) / len(errors)
        square = sum((e - level) ** 2 for e in errors) / len(errors)
        far = ((r - _PRIOR_R) ** 2 + (c - _PRIOR_C) ** 2 * self.coloured) / _PRIOR_SPREAD**2
        return _Trial(_EFFECTIVE * square / _MISFIT**2 + far, r, c, level, sqrt(square))


# ---------------------------------------------------------------- the family


def _range(scale: float, mean: Sequence[float], scores: Mapping[str, float]) -> bool | None:
    """Whether the input was of 0 to 255, by its scale, if nothing speaks against it."""
    if (wide := is_wide(scale)) is None:
        return None
    low, high = _WIDE_MEAN if wide else _NARROW_MEAN
    if not all(low <= m <= high for m in mean):
        return None
    faint = scale < _FAINT and min(mean) < _FAINT_MEAN
    # One channel may be a spectrogram: then it must look like a picture as well.
    unlike = len(mean) == 1 and min(scores[f] for f in WIDE_FAMILIES) >= MOST_SCORE
    return None if wide and (faint or unlike) else wide


def _scores(mean: Sequence[float], scale: float) -> dict[str, float]:
    """How unlike ordinary photos the input would be under each family, as a chi-square."""
    n = len(mean)
    scores = {}
    for name, times, plus in _BACK:
        if n == 1:
            times, plus = [_grey(times)], [_grey(plus)]
        photo = PHOTO_MEAN if n == 3 else [_grey(PHOTO_MEAN)]
        off = [m * t + p - want for m, t, p, want in zip(mean, times, plus, photo, strict=True)]
        square, total = sum(map(mul, off, off)), sum(off)
        # The inverse of APART^2 on the diagonal plus TOGETHER^2 everywhere (Sherman-Morrison).
        shared = _TOGETHER**2 / (_APART**2 + n * _TOGETHER**2)
        by_mean = (square - shared * total * total) / _APART**2
        by_scale = log(scale * sum(times) / len(times) / PHOTO_STD) / _STD_SPREAD
        scores[name] = by_mean + by_scale**2
    return scores


def _grey(colours: Sequence[float]) -> float:
    return sum(colours) / len(colours)


def _with_family(identity: Identity, seen: Imprint) -> Imprint:
    """The same with the family that fits, if one does, and the families that do not."""
    ranked = sorted(seen.scores, key=lambda name: seen.scores[name])
    excluded = [name for name in ranked if (name in WIDE_FAMILIES) is not seen.wide]
    best, least = ranked[0], seen.scores[ranked[0]]
    apart = seen.scores[ranked[1]] >= LEAST_RATIO * least
    names = {name for a in identity.architectures for name in (a.name, *a.also)}
    sure = least < MOST_SCORE and apart and seen.residual < MOST_FAMILY_RESIDUAL
    if not sure or best in excluded or names & _PREPARE_INSIDE:
        return replace(seen, excluded=tuple(excluded))
    unlike = [name for name in ranked if seen.scores[name] >= MOST_SCORE]
    every = dict.fromkeys((*excluded, *unlike))
    return replace(seen, family=best, excluded=tuple(every))
