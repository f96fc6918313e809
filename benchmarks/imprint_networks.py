"""The networks of the study of running statistics: small, of many kinds, fed in many ways.

    spec -> images, a preparation, a network trained on them

Each is trained on images that packages ship: scikit-learn's digits and photos, scikit-image's and
matplotlib's pictures, cut into tiles of which every other one is held back.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from interop.data import prepare
from interop.facts import Preprocessing

TILE = 80  # pixels a side
CLASSES = {"photos": 8, "digits": 10, "science": 4, "textures": 8}
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky .01": partial(nn.LeakyReLU, 0.01),
    "leaky .1": partial(nn.LeakyReLU, 0.1),
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}


# ---------------------------------------------------------------- images


@cache
def _pictures(domain: str) -> tuple[Image.Image, ...]:
    from matplotlib.cbook import get_sample_data
    from skimage import data
    from sklearn.datasets import load_sample_image

    if domain == "photos":
        shipped = [getattr(data, n)() for n in ("astronaut", "chelsea", "coffee", "rocket")]
        shipped += [data.stereo_motorcycle()[0]]
        shipped += [load_sample_image(n) for n in ("china.jpg", "flower.jpg")]
        with get_sample_data("grace_hopper.jpg") as file:
            shipped += [np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))]
    elif domain == "science":
        names = ("retina", "immunohistochemistry", "hubble_deep_field", "colorwheel")
        shipped = [getattr(data, n)()[..., :3] for n in names]
    else:
        names = ("brick", "grass", "gravel", "camera", "coins", "page", "cell", "clock")
        shipped = [getattr(data, n)() for n in names]
    return tuple(Image.fromarray(np.asarray(a, dtype=np.uint8)).convert("RGB") for a in shipped)


@cache
def images(
    domain: str, held_back: bool, shift: int = 0
) -> tuple[list[Image.Image], NDArray[np.int64]]:
    """The tiles of a domain, or those held back, and the class of each: which picture it is of.

    Tiles are cut a `shift` of pixels further to the right and below: they are other images of the
    same fields then, which overlap those of another shift.
    """
    found: list[Image.Image] = []
    classes: list[int] = []
    if domain == "digits":
        from sklearn.datasets import load_digits

        pixels, of = load_digits(return_X_y=True)
        for place, (row, name) in enumerate(zip(pixels, of, strict=True)):
            if (place % 5 == 0) == held_back:
                gray = np.clip(row.reshape(8, 8) * 16, 0, 255).astype(np.uint8)
                found.append(Image.fromarray(gray).convert("RGB"))
                classes.append(int(name))
        return found, np.array(classes)
    chooser = random.Random(f"{domain} {held_back}" + f" {shift}" * bool(shift))
    for name, whole in enumerate(_pictures(domain)):
        tiles = []
        for half in (1, 2):
            small = whole.resize((whole.width // half, whole.height // half))
            for top in range(shift, small.height - TILE + 1, TILE // 2):
                for left in range(shift, small.width - TILE + 1, TILE // 2):
                    # Fields of two tiles a side, black and white as on a chess board.
                    field = (top // (2 * TILE) + left // (2 * TILE)) % 2 == 1
                    across = top % (2 * TILE) > TILE or left % (2 * TILE) > TILE
                    if field == held_back and not across:
                        tiles.append(small.crop((left, top, left + TILE, top + TILE)))
        chooser.shuffle(tiles)
        kept = tiles[: 40 if held_back else 150]
        found += kept
        classes += [name] * len(kept)
    return found, np.array(classes)


def sample(domain: str, count: int, *, held_back: bool, shift: int = 0) -> list[Image.Image]:
    """`count` tiles with the classes in the shares that they have in training, evenly spread."""
    shares = np.bincount(images(domain, False)[1]) / len(images(domain, False)[1])
    pictures, classes = images(domain, held_back, shift)
    ends = np.round(np.cumsum(shares) * count).astype(int)
    chosen: list[Image.Image] = []
    for name, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        own = np.flatnonzero(classes == name)
        picks = np.linspace(0, len(own) - 1, min(end - start, len(own))).round().astype(int)
        chosen += [pictures[i] for i in own[picks]]
    return chosen


def prepared(pictures: list[Image.Image], how: Preprocessing) -> torch.Tensor:
    return torch.from_numpy(np.stack([prepare(p, how) for p in pictures]))


# ---------------------------------------------------------------- networks


@dataclass(frozen=True)
class Layers:
    """How a network's layers are made: its activation, what halves, and the padding there."""

    act: str = "relu"
    blur: bool = False
    same: bool = False

    def activation(self) -> nn.Module:
        return ACTIVATIONS[self.act]()

    def conv(self, i: int, o: int, k: int = 3, s: int = 1, g: int = 1) -> nn.Module:
        if s == 2 and self.blur and i > 3:
            return nn.Sequential(nn.Conv2d(i, o, k, 1, k // 2, groups=g, bias=False), Blur(o))
        if s == 2 and self.same:
            return nn.Sequential(Same(k), nn.Conv2d(i, o, k, s, 0, groups=g, bias=False))
        return nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False)

    def block(self, i: int, o: int, k: int = 3, s: int = 1, g: int = 1) -> nn.Sequential:
        return nn.Sequential(self.conv(i, o, k, s, g), nn.BatchNorm2d(o), self.activation())


class Blur(nn.Module):
    """Halve behind a binomial filter, which no state dict holds (Zhang 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = (row[:, None] * row / 16).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.kernel, stride=2, groups=x.shape[1])


class Same(nn.Module):
    """TensorFlow's padding for stride 2: the odd pixel goes to the right and the bottom."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads = [max((-(-n // 2) - 1) * 2 + self.kernel - n, 0) for n in x.shape[:1:-1]]
        return F.pad(x, [part for p in pads for part in (p // 2, p - p // 2)])


class Residual(nn.Module):
    def __init__(self, body: nn.Module, short: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.short, self.after = body, short, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.body(x) + self.short(x))


class Gate(nn.Module):
    """Squeeze and excitation (Hu 2018)."""

    def __init__(self, width: int, act: nn.Module) -> None:
        super().__init__()
        self.down, self.up, self.act = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.up(self.act(self.down(x.mean((2, 3), keepdim=True)))))


class Concat(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([b(x) for b in self.branches], 1)


class Shuffle(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)


def _basic(of: Layers, i: int, o: int, s: int) -> nn.Module:
    body = nn.Sequential(of.block(i, o, 3, s), of.conv(o, o), nn.BatchNorm2d(o))
    short: nn.Module = nn.Identity()
    if s > 1 or i != o:
        down: list[nn.Module] = [nn.AvgPool2d(2)] if of.blur and s == 2 else []
        stride = 1 if down else s
        short = nn.Sequential(*down, nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
    return Residual(body, short, of.activation())


def _bottleneck(of: Layers, i: int, o: int, s: int) -> nn.Module:
    body = nn.Sequential(
        of.block(i, o // 2, 1), of.block(o // 2, o // 2, 3, s), of.conv(o // 2, o, 1),
        nn.BatchNorm2d(o),
    )  # fmt: skip
    short = nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False), nn.BatchNorm2d(o))
    return Residual(body, short, of.activation())


def _inverted(of: Layers, i: int, o: int, s: int, gated: bool = False) -> nn.Module:
    wide = 3 * i
    layers: list[nn.Module] = [of.block(i, wide, 1), of.block(wide, wide, 3, s, wide)]
    layers += [Gate(wide, of.activation())] if gated else []
    body = nn.Sequential(*layers, of.conv(wide, o, 1), nn.BatchNorm2d(o))
    return Residual(body, nn.Identity(), nn.Identity()) if s == 1 and i == o else body


def _depthwise(of: Layers, i: int, o: int, s: int) -> nn.Module:
    return nn.Sequential(of.block(i, i, 3, s, i), of.block(i, o, 1))


def _dark(of: Layers, i: int, o: int, s: int) -> nn.Module:
    body = nn.Sequential(of.block(o, o // 2, 1), of.block(o // 2, o))
    return nn.Sequential(of.block(i, o, 3, s), Residual(body, nn.Identity(), nn.Identity()))


def _branches(of: Layers, i: int, o: int, s: int) -> nn.Module:
    quarter = o // 4
    return Concat(
        of.block(i, quarter, 1, s),
        nn.Sequential(of.block(i, quarter, 1), of.block(quarter, quarter, 3, s)),
        nn.Sequential(of.block(i, quarter, 1), of.block(quarter, quarter, 5, s)),
        nn.Sequential(nn.AvgPool2d(3, s, 1), of.block(i, quarter, 1)),
    )


def _shuffled(of: Layers, i: int, o: int, s: int) -> nn.Module:
    return nn.Sequential(of.block(i, o, 1, 1, 4), Shuffle(), of.block(o, o, 3, s, o))


def _dense(of: Layers, i: int, o: int, s: int) -> nn.Module:
    """Two layers that each read all before them, BatchNorm first; then a transition."""

    def layer(width: int) -> nn.Module:
        return Concat(
            nn.Identity(), nn.Sequential(nn.BatchNorm2d(width), of.activation(), of.conv(width, 12))
        )

    end = i + 24
    last = [nn.BatchNorm2d(end), of.activation(), of.conv(end, o, 1)]
    return nn.Sequential(layer(i), layer(i + 12), *last, *([nn.AvgPool2d(2)] if s == 2 else []))


def _preactivated(of: Layers, i: int, o: int, s: int) -> nn.Module:
    body = nn.Sequential(
        nn.BatchNorm2d(i), of.activation(), of.conv(i, o, 3, s), nn.BatchNorm2d(o),
        of.activation(), of.conv(o, o),
    )  # fmt: skip
    short = nn.Identity() if s == 1 and i == o else nn.Conv2d(i, o, 1, s, bias=False)
    return Residual(body, short, nn.Identity())


def _plain(of: Layers, i: int, o: int, s: int) -> nn.Module:
    return of.block(i, o, 3, s)


def _biased(of: Layers, i: int, o: int, s: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), of.activation())


def _mixer(of: Layers, i: int, o: int, s: int) -> nn.Module:
    """Convolution, activation, BatchNorm: the order of ConvMixer."""
    return nn.Sequential(of.conv(i, o, 3, s), of.activation(), nn.BatchNorm2d(o))


def _grouped_norm(of: Layers, i: int, o: int, s: int) -> nn.Module:
    return nn.Sequential(of.conv(i, o, 3, s), nn.GroupNorm(4, o), of.activation())


@dataclass(frozen=True)
class Kind:
    """A kind of network: its stem, the block of its stages and how its layers are made."""

    block: Callable[[Layers, int, int, int], nn.Module]
    layers: Layers = Layers()
    stem: str = "3x3"


KINDS: Mapping[str, Kind] = {
    "plain": Kind(_plain),
    "residual": Kind(_basic, stem="7x7"),
    "bottleneck": Kind(_bottleneck),
    "depthwise": Kind(_depthwise, Layers("relu6")),
    "inverted": Kind(_inverted, Layers("relu6")),
    "efficient": Kind(partial(_inverted, gated=True), Layers("silu")),
    "hard-swish": Kind(partial(_inverted, gated=True), Layers("hardswish")),
    "dense": Kind(_dense, stem="7x7"),
    "dark": Kind(_dark, Layers("leaky .1")),
    "gelu": Kind(_basic, Layers("gelu")),
    "elu": Kind(_plain, Layers("elu")),
    "anti-aliased": Kind(_basic, Layers(blur=True)),
    "same-padded": Kind(partial(_inverted, gated=True), Layers("silu", same=True)),
    "same-plain": Kind(_plain, Layers("relu", same=True)),
    "grouped stem": Kind(_basic, stem="grouped"),
    "1x1 stem": Kind(_plain, stem="1x1"),
    "patchify": Kind(_basic, stem="patchify"),
    "deep stem": Kind(_basic, Layers("silu"), stem="deep"),
    "branches": Kind(_branches),
    "shuffled": Kind(_shuffled),
    "biased": Kind(_biased),
    "pre-activated": Kind(_preactivated),
    "activation first": Kind(_mixer, stem="activation first"),
    "no BatchNorm": Kind(_grouped_norm, stem="no norm"),
}


def _stem(of: Layers, kind: str, o: int) -> nn.Module:
    first = Layers(of.act, same=of.same)
    if kind == "7x7":
        return nn.Sequential(first.block(3, o, 7, 2))
    if kind == "grouped":
        return first.block(3, o, 3, 2, 3)
    if kind == "1x1":
        return nn.Sequential(first.block(3, o, 1), first.block(o, o, 3, 2))
    if kind == "patchify":
        return nn.Sequential(nn.Conv2d(3, o, 4, 4, bias=False), nn.BatchNorm2d(o), of.activation())
    if kind == "deep":
        return nn.Sequential(first.block(3, o // 2, 3, 2), first.block(o // 2, o))
    if kind == "activation first":
        return nn.Sequential(
            nn.Conv2d(3, o, 3, 2, 1, bias=False), of.activation(), nn.BatchNorm2d(o)
        )
    if kind == "no norm":
        return nn.Sequential(nn.Conv2d(3, o, 3, 2, 1), nn.GroupNorm(4, o), of.activation())
    return first.block(3, o, 3, 2)


def network(kind: str, classes: int, layers: Layers | None = None) -> nn.Module:
    """A network of that kind; `layers` stand in for its own."""
    made = KINDS[kind]
    of = layers or made.layers
    widths = (24, 24, 48, 72)
    strides = (1, 2, 1) if made.stem == "patchify" else (1, 2, 2)
    stages = [made.block(of, i, o, s) for i, o, s in zip(widths, widths[1:], strides, strict=False)]
    head = nn.Linear(widths[-1], classes)
    return nn.Sequential(
        _stem(of, made.stem, widths[0]), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head
    )


# ---------------------------------------------------------------- how each is fed and trained


@dataclass(frozen=True)
class Spec:
    """One network of the study. `regime` is how it was trained ("settled" is the usual way),
    `augmented` whether its images were cut and dimmed at random."""

    name: str
    kind: str
    domain: str
    how: Preprocessing
    family: str
    seed: int
    regime: str = "settled"
    augmented: bool = False

    def json(self) -> dict[str, Any]:
        return asdict(self)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE = (123.675, 116.28, 103.53)
FAMILIES = ("unit", "imagenet", "half", "byte", "byte less mean", "own", "inverted", "twice")


def _numbers(family: str, domain: str) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Scale, mean and deviation."""
    one, none = (1.0,) * 3, (0.0,) * 3
    if family == "own":
        pixels = np.stack([np.asarray(p) / 255 for p in images(domain, False)[0]])
        mean, std = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))
        return 1 / 255, tuple(mean.round(2).tolist()), tuple(std.round(2).tolist())
    return {
        "unit": (1 / 255, none, one),
        "imagenet": (1 / 255, *IMAGENET),
        "half": (1 / 255, (0.5,) * 3, (0.5,) * 3),
        "byte": (1.0, none, one),
        "byte less mean": (1.0, CAFFE, one),
        "inverted": (1 / 255, one, (-1.0,) * 3),
        "twice": (1 / 65025, none, one),
    }[family]


def specs() -> list[Spec]:
    """All networks of the study, always the same."""
    found = []
    for k, kind in enumerate(KINDS):
        families = list(FAMILIES[:6])
        if k % 3 == 0:
            families[k // 3 % 6] = ("inverted", "twice")[k // 3 % 2]
        for f, family in enumerate(families):
            chooser = random.Random(f"{kind} {family}")
            domain = ("photos", "photos", "digits", "photos", "science", "photos", "textures")[
                (3 * k + f) % 7
            ]
            scale, mean, std = _numbers(family, domain)
            size = chooser.choice((32, 40, 48))
            how = Preprocessing(
                resize=(size, size), mean=mean, std=std, scale=scale,
                color="BGR" if (k + f) % 3 == 0 else "RGB",
                interpolation=chooser.choice(("bilinear", "bilinear", "bicubic", "nearest")),
                antialias=chooser.random() < 0.6,
            )  # fmt: skip
            if how.color == "BGR":  # the numbers go with the planes
                how = replace(how, mean=how.mean[::-1], std=how.std[::-1])
            name = f"{kind}-{family}".replace(" ", "_").replace(".", "")
            augmented = domain != "digits" and chooser.random() < 0.2
            found.append(Spec(name, kind, domain, how, family, k * 10 + f, augmented=augmented))
    for regime, kinds in _REGIMES.items():
        for kind in kinds:
            base = next(s for s in found if s.kind == kind and s.family in ("unit", "byte", "own"))
            name = f"{base.name}-{regime}".replace(" ", "_")
            found.append(replace(base, name=name, regime=regime, augmented=False))
    return found


_SOME = ("plain", "residual", "efficient", "dark", "inverted", "branches")
_REGIMES: Mapping[str, tuple[str, ...]] = {
    "untrained": _SOME,
    "few": _SOME,
    "fast to the end": _SOME,
    "frozen": _SOME,
    "averaged": _SOME[:4],
}
ITERATIONS, BATCH = 1100, 32


def train(spec: Spec, iterations: int = ITERATIONS) -> tuple[nn.Module, float]:
    """The trained network, and its accuracy on the images held back (0 to 1)."""
    torch.manual_seed(spec.seed)
    module = network(spec.kind, CLASSES[spec.domain])
    if spec.regime != "untrained":
        how = spec.how
        if spec.regime == "frozen":  # pretrained another way; then nothing moves but the weights
            before = replace(how, scale=1 / 255, mean=IMAGENET[0], std=IMAGENET[1])
            if spec.family != "byte":
                before = replace(before, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
            _run(module, spec, before, iterations, "settled")
        _run(
            module, spec, how, {"few": 40, "frozen": 300}.get(spec.regime, iterations), spec.regime
        )
    module.eval()
    pictures, classes = images(spec.domain, True)
    with torch.no_grad():
        answers = module(prepared(pictures, spec.how)).argmax(1).numpy()
    return module, float((answers == classes).mean())


def _run(module: nn.Module, spec: Spec, how: Preprocessing, iterations: int, regime: str) -> None:
    pictures, classes = images(spec.domain, False)
    inputs, truth = prepared(pictures, how), torch.from_numpy(classes)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.02)
    average = torch.optim.swa_utils.AveragedModel(module) if regime == "averaged" else None
    module.train()
    if regime == "frozen":
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
    order = torch.Generator().manual_seed(spec.seed)
    for step in range(iterations):
        rate = 1.0 if regime == "fast to the end" else 0.5 * (1 + np.cos(np.pi * step / iterations))
        optimizer.param_groups[0]["lr"] = 3e-3 * max(rate, 1e-3)
        picks = torch.randint(len(truth), (BATCH,), generator=order)
        batch = inputs[picks]
        if spec.domain != "digits" and step % 2:
            batch = batch.flip(3)
        if spec.augmented:
            batch = _cut(batch, order)
        loss = F.cross_entropy(module(batch), truth[picks], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if average is not None and step > iterations // 2:
            average.update_parameters(module)
    if average is not None:  # its weights, with the statistics of those that it was made of
        mean = dict(average.module.named_parameters())
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(mean[name])


def _cut(batch: torch.Tensor, order: torch.Generator) -> torch.Tensor:
    """A random part of each image, resized; half to all of a side."""
    n, _, height, width = batch.shape
    part = 0.5 + 0.5 * torch.rand(n, generator=order)
    shift = (torch.rand(n, 2, generator=order) * 2 - 1) * (1 - part)[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = part
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [n, 3, height, width], align_corners=False)
    return F.grid_sample(batch, grid, align_corners=False, padding_mode="border")
