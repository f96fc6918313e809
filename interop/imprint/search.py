"""Modules of the same weights and unlabelled images -> trials: preparations, and what each gives.

First the linear part before the first BatchNorm settles the numbers for every size at once; then
the first layers choose sizes, filters and orders of colours; the best, and the best that answers
each question otherwise, go through the whole network. Several modules (architectures that have the
same weights) each start anew, since from a wrong one a search errs with confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from time import monotonic

import numpy as np
import torch
from PIL import Image
from torch import nn

from interop.data import prepare
from interop.facts import Preprocessing
from interop.imprint import candidates
from interop.imprint.candidates import FITTED, INVERTED, REVERSED, Array, Numbers
from interop.imprint.layers import FirstLayer, divergences, first_layer

FEW = 40  # images by which sizes are chosen: as many for each, since fewer diverge more
STATED = "as stated"
MOST_ROUNDS, BETTER = 3, 0.9  # rounds, and the part of the best's score that is worth another
FITTED_FROM = 48  # images: a fit to fewer is of them, not of what they are drawn from
FEWEST, PIXELS = 24, 2_000_000  # images, and pixels of them, that go through first layers
ENLARGED = 256  # up to this size small images are tried enlarged as much as it takes
KEPT = 300_000_000  # bytes of images that were resized before
# By how much better a fit has to be than a known family, and a crop than none: each has more to
# choose, and so is always somewhat better.
FIT, CROPPED = 6.0, 1.25
NEAR = 3  # layers that see numbers and colours best
# How many sizes, sizes beside the best, families and trials are kept from one step to the next.
_SIZES, _SIZES_AT_MOST, _SIZES_AROUND, _FAMILIES, _POOL = 3, 5, 2, 3, 12


@dataclass(frozen=True, slots=True)
class Trial:
    """One preparation in one module. `numbers` is the family of its scale, mean and std, `variant`
    the module's name, `layers` the divergence by BatchNorm in the order in which they run: of the
    first alone unless it is `complete`."""

    how: Preprocessing
    numbers: str
    variant: str = ""
    layers: tuple[float, ...] = ()
    complete: bool = True

    @property
    def wide(self) -> bool:
        a, _ = candidates.affine(self.how)
        return bool(np.abs(a).mean() > candidates.BYTES**0.75)

    @property
    def inverted(self) -> bool:
        return self.numbers.startswith(INVERTED)

    @property
    def near(self) -> float:
        """The mean over the first layers."""
        return float(np.mean(self.layers[:NEAR]))

    @property
    def median(self) -> float:
        return float(np.median(self.layers))

    @property
    def handicap(self) -> float:
        """By how much better a trial has to be: numbers that were fitted to these very images are
        always somewhat better than those that are right."""
        return FIT if FITTED in self.numbers else 1.0

    @property
    def rank(self) -> tuple[bool, float]:
        """The order of trials: whole networks first; a crop has to be worth it."""
        score = self.handicap * (self.median if self.complete else self.near)
        return not self.complete, score * (1 if self.how.crop is None else CROPPED)


@dataclass
class Images:
    """The images at hand, and what each preparation makes of them (the last are kept).

    `arrays` stand in for pictures: planes (n, C, height, width) that are prepared already, or of 0
    to 1 if `raw`; then there is no size and no filter to be found.
    """

    pictures: Sequence[Image.Image] = ()
    arrays: torch.Tensor | None = None
    raw: bool = True
    _made: dict[tuple[Preprocessing, int], torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures) if self.arrays is None else len(self.arrays)

    @cached_property
    def own(self) -> tuple[Array, Array]:
        """The mean and std of the planes as they lie there, each (3,)."""
        seen = [np.asarray(p.convert("RGB"), dtype=np.float64).reshape(-1, 3) / 255
                for p in self.pictures]  # fmt: skip
        count = sum(map(len, seen))
        mean = sum(p.sum(0) for p in seen) / count
        return mean, np.sqrt(sum(np.square(p - mean).sum(0) for p in seen) / count)

    def own_of(self, color: str) -> tuple[Array, Array]:
        """The same in the order of `color`."""
        mean, std = self.own
        if color == "L":
            return mean.mean(keepdims=True), std.mean(keepdims=True)
        return (mean[::-1], std[::-1]) if color == "BGR" else (mean, std)

    @cached_property
    def gray(self) -> bool:
        """Whether all planes of each image are the same."""
        if self.arrays is not None:
            return bool((self.arrays == self.arrays[:, :1]).all())
        return all(_is_gray(p) for p in self.pictures)

    def within(self, how: Preprocessing, count: int) -> int:
        """So many of `count` images that their pixels stay within bounds."""
        height, width = how.size or (how.resize[0], how.resize[0])
        return min(count, len(self), max(FEWEST, PIXELS // (height * width)))

    @cached_property
    def side(self) -> int:
        """The shorter side of the images, the median."""
        return int(np.median([min(p.size) for p in self.pictures])) if self.pictures else 0

    def planes(self, how: Preprocessing, count: int) -> torch.Tensor:
        """The planes of 0 to 1 of `count` images, (count, C, height, width), resized as `how`."""
        picks = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        if self.arrays is not None:
            planes = self.arrays[picks]
            return planes.flip(1) if how.color == "BGR" else planes
        channels = how.channels
        plain = replace(how, mean=(0.0,) * channels, std=(1.0,) * channels, scale=1 / 255)
        key = plain, count
        if key not in self._made:
            while sum(t.nbytes for t in self._made.values()) > KEPT:
                del self._made[next(iter(self._made))]
            arrays = [prepare(self.pictures[i], plain) for i in picks]
            self._made[key] = torch.from_numpy(np.stack(arrays))
        return self._made[key]

    def inputs(self, how: Preprocessing, count: int) -> torch.Tensor:
        """The images as `how` prepares them."""
        a, b = (torch.tensor(v, dtype=torch.float32) for v in candidates.affine(how))
        return self.planes(how, count) * a[:, None, None] + b[:, None, None]


@dataclass(slots=True)
class Search:
    """One search. `deadline` is the moment by which it leaves out what is still to be tried."""

    images: Images
    colors: Sequence[str]
    deadline: float
    say: Callable[[str], None]
    trials: dict[tuple[str, Preprocessing], Trial] = field(default_factory=dict)
    _seen: dict[tuple[str, Preprocessing, int], Trial] = field(default_factory=dict)
    found: list[Trial] = field(default_factory=list)  # by the first layers, the best first
    _numbers: dict[tuple[Preprocessing, int], list[tuple[float, Numbers]]] = field(
        default_factory=dict
    )

    def near(
        self, module: nn.Module, how: Preprocessing, numbers: str, variant: str, count: int = FEW
    ) -> Trial:
        """A preparation by the first layers alone."""
        key = variant, how, count
        if key not in self._seen:
            layers = self._layers(module, how, NEAR, min(count, len(self.images)))
            self._seen[key] = Trial(how, numbers, variant, layers, complete=False)
        return self._seen[key]

    def whole(self, module: nn.Module, how: Preprocessing, numbers: str, variant: str) -> Trial:
        """A preparation by the whole network, noted among the trials."""
        if (variant, how) not in self.trials or not self.trials[variant, how].complete:
            layers = self._layers(module, how, None, len(self.images))
            self.trials[variant, how] = Trial(how, numbers, variant, layers)
        return self.trials[variant, how]

    def _layers(
        self, module: nn.Module, how: Preprocessing, first: int | None, count: int
    ) -> tuple[float, ...]:
        try:
            return divergences(module, self.images.inputs(how, count), first=first)
        except Exception:  # a module may raise anything on a size that it does not take
            return ()

    def numbers(
        self, module: nn.Module, geometry: Preprocessing, color: str, *, coarse: bool = True
    ) -> list[tuple[float, Numbers]]:
        """The families of numbers at one size, each with the first layer's divergence; if `coarse`,
        by so few images that large ones take no longer than small ones."""
        channels = 1 if color == "L" else 3
        zeros = (0.0,) * channels
        how = replace(geometry, color=color, mean=zeros, std=(1.0,) * channels, scale=1 / 255)
        most = len(self.images) if coarse else min(len(self.images), FITTED_FROM)
        count = self.images.within(how, most) if coarse else most
        # Modules of the same weights begin alike: what is linear before the first BatchNorm.
        if (how, count) not in self._numbers:
            self._numbers[how, count] = _scored(self.images, module, how, count)
        return self._numbers[how, count]


def search(
    modules: Mapping[str, nn.Module],
    images: Images,
    *,
    stated: Iterable[Preprocessing] = (),
    sizes: Sequence[int] = candidates.SIZES,
    starts: int = 4,
    seconds: float = 60.0,
    say: Callable[[str], None] = lambda _: None,
) -> list[Trial]:
    """Return the trials: the best first, then those of the whole network by their median.

    `modules` are what the weights may be of, by name: the first `starts` each begin anew, and the
    best preparations are tried in all. `stated` preparations that somebody names are tried as they
    are. [] if no module takes a batch of such images or has a BatchNorm.
    """
    channels = takes(next(iter(modules.values())))
    if channels not in (1, 3):
        return []
    colors = ("L",) if channels == 1 else ("RGB",) if images.gray else ("RGB", "BGR")
    state = Search(images, colors, monotonic() + seconds, say)
    stated = [h for h in stated if h.channels == channels]
    fitting = [s for s in sizes if s <= max(ENLARGED, 2 * images.side)]
    every = {*fitting, *(h.size[0] for h in stated if h.size and h.size[0] == h.size[1])}
    if images.arrays is not None:
        if images.arrays.shape[1] != channels:
            return []
        every = {images.arrays.shape[2]}
    pool: list[Trial] = []
    for variant, module in list(modules.items())[:starts]:
        pool = _restart(state, variant, module, pool) or _start(
            state, variant, module, sorted(every)
        )
    settled: Trial | None = None
    for _ in range(MOST_ROUNDS):
        there = _ordered(state)
        # Trials that tie take turns as the best: only a better one is worth another round.
        if not there or (settled and there[0].rank > (False, BETTER * settled.rank[1])):
            break
        for variant, module in modules.items() if len(modules) > 1 else ():
            state.whole(module, there[0].how, there[0].numbers, variant)
        settled = _ordered(state)[0]
        _around(state, settled.variant, modules[settled.variant], settled, stated)
    return sorted(_ordered(state), key=lambda t: t != settled)


def _ordered(state: Search) -> list[Trial]:
    there = [t for t in state.trials.values() if t.layers]
    return sorted(there, key=lambda t: t.rank)


def takes(module: nn.Module) -> int:
    """Return the channels of the images that a module takes: those of its first convolution."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    return 0


def _is_gray(picture: Image.Image) -> bool:
    if picture.mode in ("L", "LA", "1"):
        return True
    planes = np.asarray(picture.convert("RGB"))
    return bool(
        (planes[..., 0] == planes[..., 1]).all() and (planes[..., 0] == planes[..., 2]).all()
    )


def _restart(state: Search, variant: str, module: nn.Module, pool: Sequence[Trial]) -> list[Trial]:
    """Order what another module found by what this one's first layers say, and run the best through
    all of it."""
    # The first layer is the same in both; those behind it chose for the other module.
    first = sorted(pool, key=lambda t: t.handicap * t.layers[0])[: 2 * _POOL]
    chosen = {t.how: t for t in (*pool[:_POOL], *first)}
    near = [state.near(module, t.how, t.numbers, variant) for t in chosen.values()]
    near = sorted((t for t in near if t.layers), key=lambda t: t.handicap * t.near)
    for trial in near[:1]:
        state.whole(module, trial.how, trial.numbers, variant)
    return list(pool)


def _start(state: Search, variant: str, module: nn.Module, sizes: Sequence[int]) -> list[Trial]:
    """Look for size, filter and numbers with one module, and run the best through all of it."""
    near = []
    for count, geometry in enumerate(candidates.geometries(sizes)):
        state.say(f"size {geometry.resize[0]} ({count + 1} of {len(sizes)})")
        near += _tried(state, variant, module, geometry, state.colors)
    near.sort(key=lambda t: t.handicap * t.near)
    color = [near[0].how.color] if near else []
    by_size = {t.how.resize: t.how for t in reversed(near)}
    todo, done = list(reversed(by_size))[:_SIZES], set()
    while todo:
        done.add(size := todo.pop(0))
        state.say(f"filters at size {size[0]}")
        # Another filter gives images another spread, so the numbers are looked for again.
        for other in _others(state, by_size[size]):
            if other.crop is None:
                near += _tried(state, variant, module, other, color)
        near.sort(key=lambda t: t.handicap * t.near)
        if not todo and len(done) < _SIZES_AT_MOST:  # those next to the best, till it is among them
            todo = [s for s in _beside(near[0].how, sorted(by_size)) if s not in done]
    state.found = near
    for trial in near[:1]:
        state.whole(module, trial.how, trial.numbers, variant)
    return near


def _beside(how: Preprocessing, sizes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The sizes next to that of a preparation, on both sides."""
    place = sizes.index(how.size) if how.size in sizes else 0
    return [*sizes[max(place - 1, 0) : place], *sizes[place : place + 2]]


def _tried(
    state: Search, variant: str, module: nn.Module, geometry: Preprocessing, colors: Sequence[str]
) -> list[Trial]:
    """The best numbers for a size and filter, by the first layers."""
    found = [
        (score, numbers, color)
        for color in colors
        for score, numbers in state.numbers(module, geometry, color)
    ]
    found.sort(key=lambda one: one[0])
    named = [one for one in found if FITTED not in one[1].name]
    chosen = {(n.name, c): (n, c) for _, n, c in (*found[:1], *named[:1])}
    near = [
        state.near(module, candidates.preprocessing(geometry, n, c), n.name, variant)
        for n, c in chosen.values()
    ]
    return [t for t in near if t.layers]


def _around(
    state: Search, variant: str, module: nn.Module, best: Trial, stated: Sequence[Preprocessing]
) -> None:
    """Try what answers each question otherwise than the best trial."""
    # Numbers, sign and the order of colours are judged by the first layers, of all images.
    count = len(state.images)
    families = _families(state, variant, module, best)
    for trial in (*families, *_swapped(best, colored=len(state.colors) > 1)):
        if (variant, trial.how) not in state.trials:
            found = state.near(module, trial.how, trial.numbers, variant, count)
            state.trials[variant, trial.how] = found
    sizes, filters = _shapes(state, best)
    judged = sorted((state.trials[variant, t.how] for t in families), key=lambda t: t.near)
    better = [t for t in judged if t.handicap * t.near < best.handicap * best.near]
    needed = [*better[:1], *(Trial(h, STATED, variant) for h in stated), *sizes]
    for number, trial in enumerate((*needed, *filters)):
        if number >= len(needed) and monotonic() > state.deadline:
            break
        state.say(f"whole network ({number + 1} of {len(needed) + len(filters)})")
        state.whole(module, trial.how, trial.numbers, variant)


def _families(state: Search, variant: str, module: nn.Module, best: Trial) -> list[Trial]:
    """The numbers again, for the size and filter that are best: the best few of each order of
    colours, and the best of each scale and sign."""
    families = []
    for color in state.colors:
        found = sorted(state.numbers(module, best.how, color, coarse=False), key=lambda one: one[0])
        for _, numbers in _spread(found):
            how = candidates.preprocessing(best.how, numbers, color)
            families.append(state.near(module, how, numbers.name, variant))
    return sorted((t for t in families if t.layers), key=lambda t: t.handicap * t.near)


def _scored(
    images: Images, module: nn.Module, how: Preprocessing, count: int
) -> list[tuple[float, Numbers]]:
    planes = images.planes(how, count)
    try:
        layer = first_layer(module, planes)
    except Exception:  # a module may raise anything on a size that it does not take
        return []
    flat = planes.double().transpose(0, 1).flatten(1)
    own = [(flat.mean(1).numpy(), flat.std(1).numpy())]
    if images.pictures:
        own.insert(0, images.own_of(how.color))
    families = candidates.numbers(own, how.color, raw=images.raw)
    if layer is None:  # an activation, say: then each family has to be tried
        plain = replace(how, mean=(0.0,) * how.channels, std=(1.0,) * how.channels)
        return [(_first(images, module, plain, n), n) for n in families]
    scored = [(layer.divergence(n.a, n.b), n) for n in families]
    if not images.raw or len(images) < FITTED_FROM:
        return scored
    starts = [n for _, n in sorted(scored, key=lambda one: one[0])[:2]]
    fitted = _fitted(layer, starts)
    return [*scored, (layer.divergence(fitted.a, fitted.b), fitted)]


def _first(images: Images, module: nn.Module, how: Preprocessing, numbers: Numbers) -> float:
    """The divergence of the first layer."""
    prepared = candidates.preprocessing(how, numbers, how.color)
    inputs = images.inputs(prepared, images.within(how, FEWEST))
    return next(iter(divergences(module, inputs, first=1)), inf)


def _fitted(layer: FirstLayer, starts: Sequence[Numbers]) -> Numbers:
    found: list[tuple[float, Array, Array, str]] = []
    for start in starts:
        a, b = layer.fit(start.a, start.b)
        name = (INVERTED if a[0] < 0 else "") + FITTED
        found.append((layer.divergence(a, b), a, b, name))
    _, a, b, name = min(found, key=lambda one: one[0])
    return Numbers(name, a, b)


def _spread(found: Sequence[tuple[float, Numbers]]) -> list[tuple[float, Numbers]]:
    """The best few, and the best of each scale and sign."""
    kept = list(found[: _FAMILIES + 1])
    for wide in (False, True):
        for inverted in (False, True):
            kept += [
                one for one in found
                if one[1].wide is wide and one[1].name.startswith(INVERTED) is inverted
            ][:1]  # fmt: skip
    return list({one[1].name: one for one in kept}.values())


def _swapped(best: Trial, *, colored: bool) -> list[Trial]:
    """The planes in the other order, with the numbers of their colours and of their places."""
    if not colored:
        return []
    color = {"RGB": "BGR", "BGR": "RGB"}[best.how.color]
    name = best.numbers.removesuffix(REVERSED)
    name += REVERSED * (name == best.numbers)
    by_place = replace(best.how, color=color)
    by_color = replace(by_place, mean=best.how.mean[::-1], std=best.how.std[::-1])
    return [replace(best, how=by_color), replace(best, how=by_place, numbers=name)]


def _others(state: Search, how: Preprocessing) -> list[Preprocessing]:
    """The same size by every filter, and cropped; nothing for arrays, which have their size."""
    if state.images.arrays is not None:
        return []
    assert how.size is not None
    plain = replace(how, resize=how.size, crop=None)
    return [*candidates.filters(plain), candidates.cropped(plain)]


def _shapes(state: Search, best: Trial) -> tuple[list[Trial], list[Trial]]:
    """The sizes that come next, with the same numbers and with their own; and the best size by
    every other filter and cropped."""
    sizes: dict[object, Trial] = {}
    for trial in state.found:
        if trial.how.size != best.how.size:
            sizes.setdefault(trial.how.size, replace(trial, variant=best.variant))
    next_sizes: list[Trial] = []
    for trial in list(sizes.values())[:_SIZES_AROUND]:
        how = replace(best.how, resize=trial.how.resize, crop=trial.how.crop)
        next_sizes += {t.how: t for t in (trial, replace(best, how=how))}.values()
    filters = [replace(best, how=h) for h in _others(state, best.how) if h != best.how]
    return next_sizes, filters
