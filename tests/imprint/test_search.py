"""What a search finds: how networks of known statistics were fed, and when to say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from interop.facts import Preprocessing
from interop.imprint import answers
from interop.imprint.answers import FLOOR, Question, asked
from interop.imprint.search import Images, Trial, search
from tests.imprint.fed import BYTES, IMAGENET, fed, photos, small

SIZES = (32, 40, 48, 64)
HALF = Preprocessing(resize=(48, 48), mean=(0.5,) * 3, std=(0.5,) * 3)


def found(how: Preprocessing, **more: object) -> list[Trial]:
    return search({"": fed(small(), photos(), how)}, Images(photos()[:64]), sizes=SIZES, **more)


def said(trials: list[Trial], question: Question) -> object:
    answer = asked(question, trials, trials[0])
    return answer.value if answer is not None and answer.decided else None


FED: Mapping[str, tuple[Preprocessing, str]] = {
    "ImageNet": (IMAGENET, "ImageNet mean and std"),
    "BGR": (
        replace(IMAGENET, color="BGR", mean=IMAGENET.mean[::-1], std=IMAGENET.std[::-1]),
        "",  # named or fitted: either has the right numbers
    ),
    "bytes": (BYTES, "0 to 255"),
    "half": (HALF, "-1 to 1"),
    "inverted": (replace(HALF, mean=(1.0,) * 3, std=(-1.0,) * 3), "inverted, 0 to 1"),
}


@pytest.mark.parametrize("name", FED)
def test_how_a_network_was_fed_is_found(name: str) -> None:
    how, numbers = FED[name]
    trials = found(how)
    assert trials[0].median < FLOOR
    assert trials[0].how.size == how.size
    assert said(trials, answers.SCALE) is (how.scale == 1)
    assert said(trials, answers.INVERTED) is (how.std[0] < 0)
    assert said(trials, answers.COLOR) == how.color
    if numbers:
        assert said(trials, answers.NUMBERS) == numbers
    best = asked(answers.NUMBERS, trials, trials[0])
    assert best is not None
    assert best.trial.how.std == pytest.approx(how.std, rel=0.1)


def test_numbers_that_no_family_has_are_fitted() -> None:
    odd = replace(IMAGENET, mean=(0.7, 0.2, 0.4), std=(0.6, 0.6, 0.6))
    trials = found(odd)
    best = asked(answers.NUMBERS, trials, trials[0])
    assert best is not None and best.value == "fitted"
    assert best.trial.how.mean == pytest.approx(odd.mean, abs=0.05)
    assert best.trial.how.std == pytest.approx(odd.std, rel=0.1)


def test_the_same_network_with_other_statistics_is_not_what_it_was() -> None:
    """The control of all the tests above: other statistics, another answer."""
    assert said(found(BYTES), answers.SCALE) is not said(found(HALF), answers.SCALE)


def test_noise_and_statistics_of_nothing_are_above_the_floor() -> None:
    dice = np.random.default_rng(0)
    noise = Images(arrays=torch.from_numpy(dice.random((64, 3, 40, 40), np.float32)))
    module = fed(small(), photos(), IMAGENET)
    assert search({"": module}, noise, sizes=SIZES)[0].median > FLOOR
    shuffled = fed(small(), photos(), IMAGENET)
    for layer in shuffled.modules():
        if isinstance(layer, nn.BatchNorm2d):
            order = torch.randperm(layer.num_features, generator=torch.Generator().manual_seed(1))
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.copy_(layer.running_mean[order])
            layer.running_var.copy_(layer.running_var[order])
    assert search({"": shuffled}, Images(photos()[:64]), sizes=SIZES)[0].median > FLOOR


def test_gray_images_have_no_order_of_colours() -> None:
    gray = [p.convert("L") for p in photos()]
    for channels in (1, 3):
        how = replace(HALF, color="L" if channels == 1 else "RGB",
                      mean=(0.5,) * channels, std=(0.5,) * channels)  # fmt: skip
        module = fed(small(channels=channels), gray, how)
        trials = search({"": module}, Images(gray[:64]), sizes=SIZES)
        assert trials[0].how.size == (48, 48)
        assert said(trials, answers.NUMBERS) == "-1 to 1"
        answer = asked(answers.COLOR, trials, trials[0])
        assert answer is not None and answer.ratio is None


def test_arrays_are_taken_as_they_are_or_as_pixels() -> None:
    inputs = Images(photos()[:64]).inputs(IMAGENET, 64)
    module = fed(small(), photos(), IMAGENET)
    as_they_are = search({"": module}, Images(arrays=inputs, raw=False))
    assert said(as_they_are, answers.NUMBERS) == "as they are"
    assert said(as_they_are, answers.COLOR) == "RGB"
    swapped = search({"": module}, Images(arrays=inputs.flip(1), raw=False))
    assert swapped[0].how.color == "BGR"
    pixels = Images(photos()[:64]).planes(IMAGENET, 64)
    raw = search({"": module}, Images(arrays=pixels))
    assert said(raw, answers.NUMBERS) == "ImageNet mean and std"
    assert search({"": module}, Images(arrays=pixels[:, :2])) == []  # two planes


def test_the_activation_is_found_among_several() -> None:
    acts = {"relu": nn.ReLU, "silu": nn.SiLU, "leaky": lambda: nn.LeakyReLU(0.3)}
    own = fed(small(nn.SiLU), photos(), IMAGENET)
    modules = {}
    for name, act in acts.items():
        modules[name] = small(act).eval()
        modules[name].load_state_dict(own.state_dict())
    trials = search(modules, Images(photos()[:64]), sizes=SIZES)
    assert said(trials, answers.VARIANT) == "silu"
    alone = search({"relu": modules["relu"]}, Images(photos()[:64]), sizes=SIZES)
    assert alone[0].median > FLOOR > trials[0].median


def test_what_takes_no_images_gives_no_trial() -> None:
    class OfTwo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

        def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) + other

    images = Images(photos()[:8])
    assert search({"": nn.Sequential(nn.Linear(4, 4))}, images) == []
    assert search({"": nn.Conv2d(6, 8, 3)}, images) == []
    assert search({"": OfTwo().eval()}, images, sizes=(32,)) == []
    assert search({"": nn.Sequential(nn.Conv2d(3, 8, 3))}, images, sizes=(32,)) == []
