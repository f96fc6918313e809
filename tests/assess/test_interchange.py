"""Which may stand in for which, where the truth is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from interop.assess.interchange import compared, sentence
from interop.facts import Answer

COUNT = 4000


def population(accuracy, flips_of=None, moved=0.0, seed=0):
    """Answers of two classes that are right with a known probability; or another's, of which a
    share is drawn anew."""
    rng = np.random.default_rng(seed)
    if flips_of is None:
        return rng.random(COUNT) < accuracy
    anew = rng.random(COUNT) < moved
    return np.where(anew, rng.random(COUNT) < accuracy, flips_of)


def pair(right_a, right_b, margin=0.01):
    truth = np.zeros(len(right_a), dtype=int)
    ours, theirs = (np.where(r, truth, 1) for r in (right_a, right_b))
    return compared("A", "B", "probe", ours, theirs, right_a, right_b, margin)


def test_a_twin_and_a_near_twin_stand_in_both_ways():
    a = population(0.9)
    near = population(0.9, a, moved=0.02, seed=1)
    for one, other in ((a, a), (a, near), (near, a)):
        found = pair(one, other)
        assert found.stands_in is Answer.YES and found.equivalent < 0.05, found


def test_a_worse_one_does_not_but_the_better_one_does():
    a = population(0.9)
    worse = population(0.84, seed=2)
    down, up = pair(a, worse), pair(worse, a)
    assert down.stands_in is Answer.NO and down.change < -0.03 and down.differs < 0.001
    assert up.stands_in is Answer.YES and up.equivalent > 0.5
    assert down.lost == pytest.approx(up.won) and down.agreement == up.agreement
    assert down.kappa == pytest.approx(up.kappa)


def test_too_few_samples_leave_it_open():
    a = population(0.9)[:60]
    b = population(0.9, seed=3)[:60]
    found = pair(a, b)
    assert found.stands_in is Answer.UNKNOWN
    said = sentence(found, 0.01, "callers unchanged", None)
    assert said.startswith("whether B can stand in for A is open") and "60 samples" in said


def test_identical_answers_to_few_samples_prove_little():
    few = population(0.9)[:20]
    assert pair(few, few).stands_in is Answer.UNKNOWN
    assert pair(few, few, margin=0.2).stands_in is Answer.YES


def test_the_verdict_errs_no_more_often_than_it_says():
    """Of pairs whose true difference is the margin itself, at most one in twenty passes."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(300):
        both = rng.random(600)
        a = both < 0.90
        b = np.where(rng.random(600) < 0.3, rng.random(600) < 0.90 - 0.05 / 0.3, a)
        wrong += pair(a, b, margin=0.05).stands_in is Answer.YES
    assert wrong / 300 < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)


def test_the_sentence_says_all_of_it():
    a = population(0.9)
    said = sentence(pair(a, a), 0.01, "callers unchanged", (0.4, (0.39, 0.41)))
    assert said == (
        "B can stand in for A on this task (within 1 point, p < 0.001), callers unchanged, "
        "0.4 x the latency (0.39 to 0.41)"
    )
    worse = population(0.5, seed=4)
    assert "cannot stand in" in sentence(pair(a, worse), 0.02, "", None)
    assert "worse by 1 point is refuted" in sentence(pair(worse, a), 0.01, "", None)


def test_nothing_good_is_concluded_of_a_model_that_saw_the_samples():
    a, better = population(0.84), population(0.95, seed=6)
    fair = pair(a, better)
    assert fair.stands_in is Answer.YES
    truth = np.zeros(COUNT, dtype=int)
    ours, theirs = (np.where(r, truth, 1) for r in (a, better))
    seen = compared("A", "B", "probe", ours, theirs, a, better, 0.01, (0, 12))
    assert seen.stands_in is Answer.UNKNOWN and "12 of these samples" in seen.doubt
    assert "is open: B was trained on 12" in sentence(seen, 0.01, "", None)
    turned = compared("B", "A", "probe", theirs, ours, better, a, 0.01, (12, 0))
    assert turned.stands_in is Answer.UNKNOWN, "nothing bad of what is held against such a one"
    assert (
        compared("A", "B", "probe", theirs, ours, better, a, 0.01, (0, 12)).stands_in is Answer.NO
    )


def test_the_same_weights_need_no_samples():
    from interop.assess.interchange import same

    few = population(0.9)[:5]
    found = same("A", "B", 5, few)
    assert found.stands_in is Answer.YES and found.agreement == 1
    assert sentence(found, 0.01, "", None) == (
        "B can stand in for A: the weights are the same, bit for bit"
    )


def test_a_latency_is_told_with_its_interval():
    a = population(0.9)
    assert "11 x the latency (5 to 20)" in sentence(pair(a, a), 0.01, "", (11.0, (5.0, 20.0)))
    assert "about the same latency" in sentence(pair(a, a), 0.01, "", (1.3, (0.9, 2.0)))
