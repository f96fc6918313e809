"""Trials -> answers: what decides a question, what leaves it open, and what says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interop.facts import Preprocessing
from interop.imprint import answers
from interop.imprint.answers import Question, asked, next_best, survives
from interop.imprint.candidates import FITTED, INVERTED
from interop.imprint.search import Trial

UNIT = Preprocessing(resize=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
IMAGENET = replace(UNIT, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CIFAR = replace(UNIT, mean=(0.491, 0.482, 0.447), std=(0.247, 0.243, 0.262))


def trial(divergence: float, how: Preprocessing = IMAGENET, numbers: str = "ImageNet",
          variant: str = "", complete: bool = True) -> Trial:  # fmt: skip
    return Trial(how, numbers, variant, (divergence,) * (6 if complete else 3), complete)


OTHERS = {
    answers.SCALE: trial(1, replace(UNIT, scale=1.0), "0 to 255"),
    answers.INVERTED: trial(1, replace(UNIT, std=(-1.0,) * 3), INVERTED + "0 to 1"),
    answers.COLOR: trial(1, replace(IMAGENET, color="BGR")),
    answers.NUMBERS: trial(1, UNIT, "0 to 1"),
    answers.SIZE: trial(1, replace(IMAGENET, resize=(96, 96))),
    answers.FILTER: trial(1, replace(IMAGENET, interpolation="bicubic")),
    answers.CROP: trial(1, replace(IMAGENET, resize=(73,), crop=(64, 64))),
    answers.VARIANT: trial(1, variant="other"),
}


@pytest.mark.parametrize("question", OTHERS, ids=lambda q: q.name)
def test_the_ratio_decides(question: Question) -> None:
    best, other = trial(0.01), OTHERS[question]

    def at(ratio: float) -> answers.Answer:
        divergence = 0.01 * ratio * question.ratio
        worse = replace(other, layers=(divergence,) * len(other.layers))
        answer = asked(question, [best, worse], best)
        assert answer is not None
        assert next_best(question, [best, worse], best) == worse
        return answer

    assert at(1.01).decided and at(1.01).value == question.answer(best)
    assert not at(0.99).decided and at(0.99).others == (question.answer(other),)


@pytest.mark.parametrize("question", OTHERS, ids=lambda q: q.name)
def test_nothing_else_that_was_tried_decides_nothing(question: Question) -> None:
    answer = asked(question, [trial(0.01)], trial(0.01))
    assert answer is not None and answer.ratio is None and not answer.decided
    assert next_best(question, [trial(0.01)], trial(0.01)) is None


def test_first_layers_alone_answer_only_what_they_can() -> None:
    best = trial(0.01)
    shallow = [replace(o, layers=(0.5,) * 3, complete=False) for o in OTHERS.values()]
    told = {
        q.name for q in OTHERS
        if (a := asked(q, [best, *shallow], best)) is not None and a.ratio is not None
    }  # fmt: skip
    assert told == {"scale", "inverted", "order of colours", "mean and std"}


def test_a_fit_is_no_other_answer_where_it_is_near_a_known_family() -> None:
    best = trial(0.010)
    near = trial(0.001, replace(IMAGENET, std=(0.235, 0.23, 0.23)), FITTED)
    answer = asked(answers.NUMBERS, [best, near, trial(0.5, UNIT, "0 to 1")], best)
    assert answer is not None and answer.value == "ImageNet" and answer.decided
    far = trial(0.001, replace(IMAGENET, std=(0.4, 0.4, 0.4)), FITTED)
    answer = asked(answers.NUMBERS, [best, far], best)
    assert answer is not None and answer.value == FITTED
    # Never by a little: a fit is always somewhat better.
    answer = asked(answers.NUMBERS, [best, replace(far, layers=(0.005,) * 6)], best)
    assert answer is not None and answer.value == "ImageNet"


def test_numbers_that_are_nearly_the_same_are_one_answer() -> None:
    best = trial(0.010)
    twin = trial(0.0101, replace(IMAGENET, mean=(0.48, 0.45, 0.4)), "another name")
    answer = asked(answers.NUMBERS, [best, twin], best)
    assert answer is not None and answer.ratio is None
    answer = asked(answers.NUMBERS, [best, trial(0.0101, CIFAR, "CIFAR")], best)
    assert answer is not None and answer.others == ("CIFAR",)


def test_above_the_floor_only_the_scale_survives() -> None:
    first = (0.04, *(0.5,) * 5)
    best, other = replace(trial(0), layers=first), trial(5.0, replace(UNIT, scale=1.0), "0 to 255")
    trials = [best, other]
    scale = asked(answers.SCALE, trials, best)
    assert scale is not None and survives(answers.SCALE, scale, trials)
    for layers, rest in ((first, (0.05,) * 6), ((0.06, *first[1:]), (5.0,) * 6)):
        worse = [replace(best, layers=layers), replace(other, layers=rest)]
        assert not survives(answers.SCALE, replace(scale, trial=worse[0]), worse)
    size = asked(answers.SIZE, [best, OTHERS[answers.SIZE]], best)
    assert size is not None and not survives(answers.SIZE, size, [best, OTHERS[answers.SIZE]])


def test_means_over_layers() -> None:
    layers = (1e9, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.04, 0.0)
    assert answers.median(layers) == pytest.approx(0.01)
    assert answers.trimmed(layers) == pytest.approx((7 * 0.01 + 0.04) / 8)
    assert answers.first(layers) == pytest.approx((1e9 + 0.02) / 3)
    assert answers.later((5.0, 5.0, 0.01, 0.04)) == pytest.approx(0.02)


def test_anti_aliasing_needs_more_than_an_activation() -> None:
    ratios = [answers.asked_of(apart)[-1].ratio for apart in ("activation", "anti-aliasing")]
    assert ratios == [answers.VARIANT.ratio, answers.BLURRED] and ratios[0] < ratios[1]
