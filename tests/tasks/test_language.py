"""Perplexity against torchmetrics and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from interop.errors import ModelError
from interop.tasks import task
from interop.tasks.language import Told
from tests.tasks.made import Plain, batch, by_name


def test_perplexity_agrees_with_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.text import perplexity

    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50, (6, 20))
    mask = np.arange(20) < rng.integers(3, 21, (6, 1))
    logits = rng.normal(0, 4, (6, 20, 50)).astype(np.float32)
    kind = task("text-generation")
    given = batch([None] * 6, input_ids=ids, attention_mask=mask.astype(np.int64))
    answers = kind.answers({"logits": logits}, given, Plain())
    target = torch.from_numpy(np.where(mask, ids, -100)[:, 1:])
    wanted = perplexity(torch.from_numpy(logits[:, :-1]), target, ignore_index=-100)
    (found,) = kind.scores(answers, [None] * 6)
    assert found.value == pytest.approx(float(wanted), rel=1e-5)
    assert found.name == kind.headline and found.better == -1
    by_name([found])
    # Padding says nothing: whatever stands there, the answers are the same.
    logits[~mask] = 7
    ids[~mask] = 0
    given = batch([None] * 6, input_ids=ids, attention_mask=mask.astype(np.int64))
    assert kind.answers({"logits": logits}, given, Plain()) == answers


def test_perplexity_by_hand() -> None:
    # Even odds among 4, for 2 tokens of one text and 1 of the other; the third has none.
    kind = task("text-generation")
    ids = np.array([[1, 2, 3], [0, 0, 1], [0, 0, 2]])
    mask = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]])
    given = batch([None] * 3, input_ids=ids, attention_mask=mask)
    found = kind.answers({"y": np.zeros((3, 3, 4), np.float32)}, given, Plain())
    assert [a.tokens for a in found] == [2, 1, 0]
    assert found[0].nll == pytest.approx(2 * np.log(4)) and found[2].nll == 0
    assert kind.scores(found, [None] * 3)[0].value == pytest.approx(4)
    assert kind.right(found[0], None) is None
    assert kind.words(found[0]) == "1.39 nats a token"


def test_rows_of_one_text_are_added() -> None:
    kind = task("text-generation")
    logits = np.zeros((2, 3, 4), np.float32)
    given = batch([None], rows=(0, 0), input_ids=np.zeros((2, 3), int))
    (found,) = kind.answers({"logits": logits}, given, Plain())
    assert found.tokens == 4 and found.nll == pytest.approx(4 * np.log(4))


def test_the_key_is_of_what_was_likeliest() -> None:
    kind = task("text-generation")
    given = batch([None], input_ids=np.zeros((1, 3), int))
    logits = np.zeros((1, 3, 4), np.float32)
    logits[0, 1, 2] = 1

    def key(scores: np.ndarray) -> object:
        return kind.key(kind.answers({"logits": scores}, given, Plain())[0])

    assert key(logits) == key(logits * 2)
    other = logits.copy()
    other[0, 1, 3] = 2
    assert key(logits) != key(other)


def test_two_runs_lie_apart_by_nats_a_token() -> None:
    kind = task("text-generation")
    ours, theirs = [Told(4.0, 2, ""), Told(3.0, 3, "")], [Told(5.0, 2, ""), Told(3.0, 3, "")]
    assert by_name(kind.between(ours, theirs))["nll difference a token"].value == 0.25


@pytest.mark.parametrize("shape", [(1, 3), (1, 2, 9), (1, 3, 5)])
def test_outputs_of_another_task_are_refused(shape: tuple[int, ...]) -> None:
    logits = {"logits": np.zeros(shape, np.float32)}
    given = batch([None], input_ids=np.array([[1, 5, 2]]))
    with pytest.raises(ModelError, match=r"\(1, 3, 'vocabulary'\)"):
        task("text-generation").answers(logits, given, Plain())
    with pytest.raises(ModelError, match="an input named input_ids"):
        task("text-generation").answers(logits, batch([None], x=np.zeros((1, 3))), Plain())
