"""Errors of numbers against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from interop.errors import ModelError
from interop.tasks import task
from tests.tasks.made import Plain, batch, by_name


@pytest.mark.parametrize("wide", [1, 3])
def test_figures_agree_with_scikit_learn(wide: int) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    rng = np.random.default_rng(wide)
    truth = rng.normal(size=(200, wide))
    answers = (truth + rng.normal(0, 0.5, truth.shape)).astype(np.float32)
    kind = task("regression")
    found = by_name(kind.scores(list(answers), list(truth)))
    assert found["MAE"].value == pytest.approx(mean_absolute_error(truth, answers))
    assert found["RMSE"].value == pytest.approx(root_mean_squared_error(truth, answers))
    assert found["R2"].value == pytest.approx(r2_score(truth, answers))
    assert (found["MAE"].better, found["R2"].better) == (-1, 1)
    assert all(score.interval is not None for score in found.values())
    tables = kind.tables("A", list(answers), list(truth))
    rows = tables.outputs if tables else ()
    assert len(rows) == (3 if wide == 3 else 0)
    for i, row in enumerate(rows):
        assert row["mae"] == pytest.approx(np.abs(truth - answers)[:, i].mean())


def test_figures_by_hand() -> None:
    kind = task("regression")
    answers = [np.array([v], np.float32) for v in (1, 2, 6)]
    found = by_name(kind.scores(answers, [1.0, 2.0, 3.0]))
    assert found["MAE"].value == pytest.approx(1)
    assert found["RMSE"].value == pytest.approx(3**0.5)
    assert found["R2"].value == pytest.approx(1 - 9 / 2)
    assert "R2" not in by_name(kind.scores(answers, [2.0] * 3)), "nothing varies"


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_answers_of_one_number(shape: tuple[int, ...]) -> None:
    kind = task("regression")
    outputs = {"logits": np.array([1.5, -2], np.float32).reshape(shape)}
    one, other = kind.answers(outputs, batch([0.0, 0.0]), Plain())
    assert one.shape == (1,) and kind.words(one) == "1.5" and kind.truth_words(2.25) == "2.25"
    assert kind.right(one, 1.5) is None
    assert kind.key(one) == kind.key(one.copy()) != kind.key(np.nextafter(one, other))
    found = by_name(kind.between([one, other], [one, other + 1]))
    assert found["mean difference"].value == pytest.approx(0.5)
    assert found["largest difference"].value == pytest.approx(1)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 1)])
def test_outputs_of_another_task_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"where one output \(2, 1\)"):
        task("regression").answers({"y": np.zeros(shape, np.float32)}, batch([0.0, 0.0]), Plain())


def test_labels_name_the_outputs_and_must_be_as_many() -> None:
    outputs = {"y": np.zeros((2, 2), np.float32)}
    truths = [np.array([0.0, 1.0]), np.array([2.0, 1.0])]
    kind = task("regression", ("height", "weight"))
    found = kind.answers(outputs, batch(truths), Plain())
    rows = kind.tables("A", found, truths).outputs
    assert [row["output"] for row in rows] == ["height", "weight"]
    assert rows[1]["r2"] is None, "the truth does not vary"
    with pytest.raises(ModelError, match="each of 3 labels"):
        task("regression", ("a", "b", "c")).answers(outputs, batch(truths), Plain())
