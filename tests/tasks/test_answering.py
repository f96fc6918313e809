"""Answers to questions against torchmetrics' SQuAD and spans made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from interop.errors import ModelError
from interop.tasks import task
from interop.tasks.answering import LONGEST, Span
from tests.tasks.made import Plain, batch, by_name

CONTEXT = "Ada wrote the first program in 1843"
WORDS = [(0, 3), (4, 9), (10, 13), (14, 19), (20, 27), (28, 30), (31, 35)]
# [CLS] who [SEP] Ada wrote …
OFFSETS = [None, None, None, *WORDS]


def outputs(**places: dict[int, float]) -> dict[str, np.ndarray]:
    found = {}
    for name, where in places.items():
        row = np.zeros((1, len(OFFSETS)), np.float32)
        for place, value in where.items():
            row[0, place] = value
        found[f"{name}_logits"] = row
    return found


def answer(*windows: dict[str, np.ndarray]) -> Span:
    joined = {n: np.concatenate([w[n] for w in windows]) for n in windows[0]}
    about = [{"offsets": OFFSETS}] * len(windows)
    given = batch([("Ada",)], [("Who?", CONTEXT)], rows=(0,) * len(windows), about=about)
    (found,) = task("question-answering").answers(joined, given, Plain())
    return found


def test_the_best_span_lies_in_the_context_and_ends_after_it_begins() -> None:
    # The question scores most, then an end before its start: neither is an answer.
    found = answer(outputs(start={1: 9, 8: 5, 5: 3}, end={2: 9, 3: 5, 7: 4}))
    assert found.text == "the first program"


def test_the_margin_is_a_quarter_of_the_gap() -> None:
    # "the first program" 3 + 4; the next is "the … 1843" or "program" with 4 + 0.
    found = answer(outputs(start={5: 3}, end={7: 4}))
    assert found.text == "the first program"
    assert task("question-answering").margin(found) == pytest.approx(3 / 4)
    moved = answer(outputs(start={5: 3 - 0.76, 7: 0.76}, end={7: 4}))
    assert moved.text == "the first program", "one side alone is not enough"


def test_the_best_of_several_windows_is_taken() -> None:
    low, high = outputs(start={3: 1}, end={3: 1}), outputs(start={9: 2}, end={9: 2})
    assert answer(low, high).text == answer(high, low).text == "1843"


def test_spans_are_no_longer_than_thirty_tokens() -> None:
    n = LONGEST + 5
    context = "x" * n
    start, end = np.zeros((2, 1, n), np.float32)
    start[0, 0] = end[0, n - 1] = 9
    given = batch([("x",)], [("?", context)], about=[{"offsets": [(i, i + 1) for i in range(n)]}])
    (found,) = task("question-answering").answers(
        {"start_logits": start, "end_logits": end}, given, Plain()
    )
    assert 0 < len(found.text) <= LONGEST


def test_a_window_without_context_has_no_answer() -> None:
    given = batch([()], [("?", "")], about=[{"offsets": [None, None]}])
    zeros = np.zeros((1, 2), np.float32)
    (found,) = task("question-answering").answers(
        {"start_logits": zeros, "end_logits": zeros}, given, Plain()
    )
    assert found == Span("", None)
    assert task("question-answering").right(found, ()) is True


def test_figures_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.text import squad

    said = ["the Cat!", "a dog", "nothing like it", "red wine from France"]
    truths = [("cat",), ("the dog", "hound"), ("else",), ("French wine", "wine from France")]
    wanted = squad(
        [{"prediction_text": t, "id": str(i)} for i, t in enumerate(said)],
        [
            {"answers": {"answer_start": [0] * len(t), "text": list(t)}, "id": str(i)}
            for i, t in enumerate(truths)
        ],
    )
    kind = task("question-answering")
    answers = [Span(text, None) for text in said]
    found = by_name(kind.scores(answers, truths))
    assert list(found) == ["F1", "exact match"]
    assert found["F1"].value == pytest.approx(float(wanted["f1"]) / 100)
    assert found["exact match"].value == pytest.approx(float(wanted["exact_match"]) / 100)
    # By hand: 1, 1, 0, and 3 of 4 against 3 of 3 words: 2 x 3 / 7.
    assert found["F1"].value == pytest.approx((1 + 1 + 0 + 6 / 7) / 4)
    rights = [kind.right(a, t) for a, t in zip(answers, truths, strict=True)]
    assert rights == [True, True, False, False]
    assert kind.truth_words(truths[1]) == "the dog / hound" and kind.truth_words(()) == "no answer"
    assert kind.key(answers[0]) == kind.words(answers[0]) == "the Cat!"
    assert by_name(kind.between(answers, answers))["answer overlap"].value == 1
    assert by_name(kind.between(answers, answers[::-1]))["answer overlap"].value < 1


@pytest.mark.parametrize(
    "shapes", [((1, 9), (1, 9)), ((1, 10), (1, 9)), ((2, 10), (2, 10)), ((1, 10, 2),) * 2]
)
def test_outputs_of_another_task_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    given = batch([("Ada",)], [("Who?", CONTEXT)], about=[{"offsets": OFFSETS}])
    found = {
        name: np.zeros(shape, np.float32)
        for name, shape in zip(("start_logits", "end_logits"), shapes, strict=True)
    }
    with pytest.raises(ModelError, match=r"start_logits and end_logits, each \(1, 10\)"):
        task("question-answering").answers(found, given, Plain())
    with pytest.raises(ModelError, match="gives no output"):
        task("question-answering").answers({}, given, Plain())
