"""Tags against seqeval, scikit-learn and sentences made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from interop.errors import DataError, ModelError
from interop.tasks import task
from interop.tasks.tokens import Tagged
from tests.tasks.made import Plain, batch, by_name

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tagged(*sentences: str) -> list[Tagged]:
    return [Tagged(tuple(s.split()), None) for s in sentences]


def test_figures_agree_with_seqeval() -> None:
    from seqeval.metrics import (
        accuracy_score,
        classification_report,
        f1_score,
        precision_score,
        recall_score,
    )

    rng = np.random.default_rng(0)
    truths = [tuple(rng.choice(LABELS, rng.integers(1, 12))) for _ in range(80)]
    said = [tuple(t if rng.random() < 0.8 else rng.choice(LABELS) for t in s) for s in truths]
    kind = task("token-classification", LABELS)
    found = by_name(kind.scores([Tagged(s, None) for s in said], truths))
    assert next(iter(found)) == kind.headline == "F1"
    lists = [list(map(str, t)) for t in truths], [list(map(str, s)) for s in said]
    wanted = {
        "F1": f1_score, "precision": precision_score, "recall": recall_score,
        "tag accuracy": accuracy_score,
    }  # fmt: skip
    for name, figure in wanted.items():
        assert found[name].value == pytest.approx(figure(*lists)), name
        assert found[name].interval is not None
    rows = kind.tables("A", [Tagged(s, None) for s in said], truths).classes
    assert [row["class"] for row in rows] == ["LOC", "PER"]
    assert rows[0]["f1"] == classification_report(*lists, output_dict=True)["LOC"]["f1-score"]


def test_figures_by_hand() -> None:
    kind = task("token-classification", LABELS)
    # Said: PER 0-1 (right), LOC 3 (should be 3-4). In truth: PER 0-1, LOC 3-4, PER 0.
    truths = [("B-PER", "I-PER", "O", "B-LOC", "I-LOC"), ("B-PER",)]
    answers = tagged("B-PER I-PER O B-LOC O", "O")
    found = by_name(kind.scores(answers, truths))
    assert found["precision"].value == pytest.approx(1 / 2)
    assert found["recall"].value == pytest.approx(1 / 3)
    assert found["F1"].value == pytest.approx(2 / 5)
    assert found["tag accuracy"].value == pytest.approx(4 / 6)
    assert kind.right(answers[0], truths[0]) is False
    assert kind.right(answers[0], list(answers[0].tags)) is True
    assert kind.words(answers[0]) == "B-PER I-PER O B-LOC O" == kind.truth_words(answers[0].tags)
    assert by_name(kind.between(answers, tagged("B-PER O O B-LOC O", "O")))[
        "tag agreement"
    ].value == pytest.approx(5 / 6)


def test_nothing_named_and_nothing_found() -> None:
    kind = task("token-classification", LABELS)
    found = by_name(kind.scores(tagged("O O"), [("O", "O")]))
    assert (found["F1"].value, found["tag accuracy"].value) == (0, 1)
    assert kind.tables("A", tagged("O O"), [("O", "O")]).classes == ()


def test_tags_that_mark_no_things_are_counted_word_by_word() -> None:
    kind = task("token-classification", ("NOUN", "VERB"))
    truths = [("NOUN", "VERB"), ("NOUN",)]
    found = by_name(kind.scores(tagged("NOUN NOUN", "NOUN"), truths))
    assert list(found) == [kind.headline] == ["tag accuracy"]
    assert found["tag accuracy"].value == pytest.approx(2 / 3)
    noun, verb = kind.tables("A", tagged("NOUN NOUN", "NOUN"), truths).classes
    assert (noun["class"], noun["support"], noun["recall"]) == ("NOUN", 2, 1)
    assert verb["recall"] == 0


def logits(rows: list[list[int]], labels: int = 5) -> np.ndarray:
    return np.eye(labels, dtype=np.float32)[np.array(rows)]


def test_a_word_has_the_tag_of_its_first_token() -> None:
    # [CLS] Ange ##la lives in Ber ##lin [SEP], in two windows that both hold "in".
    about = [{"words": [None, 0, 0, 1, 2, None]}, {"words": [None, 2, 3, 3, None, None]}]
    scores = logits([[0, 1, 4, 0, 0, 0], [0, 4, 3, 2, 0, 0]])
    scores[1, 2] *= 0.5
    words = ("Angela", "lives", "in", "Berlin", "today")
    given = batch([("O",) * 5], [words], rows=(0, 0), about=about)
    kind = task("token-classification", LABELS)
    (found,) = kind.answers({"logits": scores}, given, Plain())
    assert found.tags == ("B-PER", "O", "O", "B-LOC", "O"), "the last word was cut off"
    assert kind.key(found) == found.tags
    assert kind.margin(found) == pytest.approx(0.25)
    plain = task("token-classification", ("a", "b", "c", "d", "e"))
    (found,) = plain.answers({"logits": scores}, given, Plain())
    assert found.tags[-1] == "", "without an outside there is no tag for it"


def test_tags_that_do_not_fit_the_words_are_refused() -> None:
    given = batch([("O",)], [("two", "words")], about=[{"words": [0, 1]}])
    with pytest.raises(DataError, match="record 0: has 1 tags for 2 words"):
        task("token-classification", LABELS).answers({"x": logits([[0, 0]])}, given, Plain())


@pytest.mark.parametrize("shape", [(1, 5), (1, 2, 4), (1, 1, 5), (2, 2, 5)])
def test_outputs_of_another_task_are_refused(shape: tuple[int, ...]) -> None:
    given = batch([("O", "O")], [("two", "words")], about=[{"words": [0, 1]}])
    with pytest.raises(ModelError, match="is needed"):
        task("token-classification", LABELS).answers(
            {"logits": np.zeros(shape, np.float32)}, given, Plain()
        )
