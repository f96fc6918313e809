"""A walk over made-up data through runtimes that are written down, with figures done by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

import numpy as np
import pytest
from sklearn.metrics import f1_score, top_k_accuracy_score

from interop.bench.accuracy import Answered, ahead, answer, between_models, between_runtimes, scores
from interop.bench.runners import Contender
from interop.data.base import Data, Preparation, Prepared, Record
from interop.errors import DataError, ModelError
from interop.facts import Measurement
from interop.models.signature import BATCH, Argument, Signature
from interop.tasks import task


def told(
    logits: object, truth: object, role: str = "A", runtime: str = "pytorch",
    labels: tuple[str, ...] | None = None,
) -> Answered:  # fmt: skip
    """What `answer` would have kept of a classifier that gives these rows of logits."""
    rows = np.asarray(logits, dtype=np.float32)
    n, classes = rows.shape
    names = labels or tuple(f"c{i}" for i in range(classes))
    hashes = [f"h{i}" for i in range(n)]
    truths = [int(t) for t in np.asarray(truth)]
    kind = task("image-classification", names)
    return Answered(role, runtime, kind, [f"{h}.png" for h in hashes], hashes, truths, list(rows))


def by_name(found: Sequence[Measurement]) -> dict[str, Measurement]:
    assert len({m.name for m in found}) == len(found)
    return {m.name: m for m in found}


# ---------------------------------------------------------------- the walk over the data


class Numbers(Data):
    """`count` records that are a number each, and their remainder by three."""

    kind = "arrays"
    path = Path("numbers")

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        for i in range(self.count) if picks is None else picks:
            if i == self.broken:
                raise DataError("cannot be read", where=f"row {i}")
            yield Record(f"row {i}", f"h{i}", float(i), i % 3)


class Stacked(Preparation):
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, records: Sequence[Record]) -> Prepared:
        self.sizes.append(len(records))
        x = np.array([[r.raw] for r in records], dtype=np.float32)
        return Prepared({"x": x}, tuple(records), tuple(range(len(records))))


class Remainders:
    """A runtime that knows the remainder by three, but for the numbers in `wrong`; its logits are
    off by `off`."""

    device = "cpu"

    def __init__(self, name: str, wrong: Sequence[int] = (), off: float = 0.0) -> None:
        self.name, self.wrong, self.off = name, wrong, off
        self.saw: list[np.ndarray] = []

    def logits(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        self.saw.append(batch["x"])
        numbers = batch["x"][:, 0].astype(int)
        answers = (numbers + np.isin(numbers, self.wrong)) % 3
        return np.eye(3, dtype=np.float32)[answers] + np.float32(self.off)


class Pair:
    """What the walk needs of a contender."""

    role = "A"
    signature = Signature((Argument("x", (BATCH, 1)),), {BATCH: 2})

    def __init__(self, *runtimes: Remainders, output: str = "logits") -> None:
        self.runtimes, self.output = runtimes, output

    def named(self, runtime: Remainders, batch: Any) -> dict[str, np.ndarray]:
        return {self.output: runtime.logits(batch)}


def walk(data: Data, *runtimes: Remainders, **more: Any) -> tuple[list[Answered], float, list[str]]:
    said: list[str] = []
    kind = task("image-classification", ("a", "b", "c"))
    pair = cast("Contender", Pair(*runtimes))
    found, waited = answer(pair, data, more.pop("prepare", Stacked()), kind, said.append, **more)
    return found, waited, said


def test_every_record_once_in_each_runtime_on_the_same_bytes() -> None:
    native, exported = Remainders("pytorch"), Remainders("onnxruntime", wrong=(4, 9), off=0.25)
    prepare = Stacked()
    (a, b), waited, said = walk(Numbers(10), native, exported, batch=4, prepare=prepare)
    assert prepare.sizes == [4, 4, 2], "prepared once, for both"
    for ours, theirs in zip(native.saw, exported.saw, strict=True):
        assert np.array_equal(ours, theirs)
    assert a.hashes == b.hashes == [f"h{i}" for i in range(10)]
    assert a.names[9] == "row 9" and a.truths == [i % 3 for i in range(10)]
    assert a.right is not None and a.right.all()
    assert b.right is not None and list(np.flatnonzero(~b.right)) == [4, 9]
    # Of 30 numbers, 26 lie 0.25 apart; of those of the two flips one is 1.25 and one is 0.75 off.
    assert (a.largest, a.count) == (0, 30)
    assert (b.largest, b.count) == (1.25, 30)
    assert b.total == pytest.approx(26 * 0.25 + 2 * (1.25 + 0.75))
    assert waited >= 0 and a.seconds > 0
    assert said == ["A: 4 of 10 samples", "A: 8 of 10 samples", "A: 10 of 10 samples"]


def test_a_record_that_cannot_be_read_ends_the_walk() -> None:
    before = threading.active_count()
    with pytest.raises(DataError, match="cannot be read"):
        walk(Numbers(10, broken=7), Remainders("pytorch"), batch=2)
    settled(before)


def test_outputs_that_are_none_of_the_task_end_it_and_leave_no_thread() -> None:
    before = threading.active_count()
    kind = task("image-classification", ("a", "b"))  # for three outputs
    pair = cast("Contender", Pair(Remainders("pytorch")))
    with pytest.raises(ModelError):
        answer(pair, Numbers(1000), Stacked(), kind, lambda _: None, batch=1)
    settled(before)


def test_differences_that_are_no_numbers_are_the_largest_there_are() -> None:
    one = told([[0.0, 1.0]], [1])
    one.add([np.array([[-inf, 1.0]])], [np.array([[-inf, 1.5]])])
    assert (one.largest, one.count) == (0.5, 2), "an infinity in both is no difference"
    one.add([np.array([[nan, 1.0]])], [np.array([[0.0, 1.0]])])
    assert one.largest == inf
    other = told([[0.0, 1.0]], [1])
    other.add([np.array([1, 2])], [np.array([3, 4])])
    other.add([np.zeros((1, 2))], [np.zeros((1, 3))])
    assert other.count == 0, "whole numbers and other shapes are not compared"
    found = by_name(between_runtimes(told([[0.0, 1.0]], [1]), other))
    assert found["largest logit difference"].value is None
    assert "smallest margin" not in found


# ---------------------------------------------------------------- made ahead


def settled(before: int) -> None:
    """Waits until no more threads run than before."""
    end = monotonic() + 5
    while threading.active_count() > before and monotonic() < end:
        sleep(0.01)
    assert threading.active_count() <= before


def test_what_is_made_ahead_comes_in_order() -> None:
    before = threading.active_count()
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead(iter(()))) == []
    settled(before)


def test_no_more_is_made_ahead_than_asked_for() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    coming = ahead(items(), 2)
    assert next(coming) == 0
    sleep(0.1)
    # One is taken, two are held, and one waits for room.
    assert 2 <= len(made) <= 4
    assert list(coming) == list(range(1, 20))


def test_a_fault_of_the_maker_reaches_whoever_takes() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("torn", where="row 3")

    before = threading.active_count()
    taken = []
    with pytest.raises(DataError, match="torn"):
        for item in ahead(items()):
            taken.append(item)
    assert taken == [1, 2], "what came before the fault is not lost"
    settled(before)


def test_stopping_early_leaves_no_thread() -> None:
    before = threading.active_count()
    coming = ahead(iter(range(10**9)))
    assert [next(coming), next(coming)] == [0, 1]
    assert threading.active_count() == before + 1, "or this test could not fail"
    coming.close()  # type: ignore[attr-defined]
    settled(before)


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize("classes", [3, 7, 10])
def test_scores_agree_with_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 200)
    logits = rng.normal(size=(200, classes)) + 2 * np.eye(classes)[truth]
    found = by_name(scores(told(logits, truth)))
    assert found["top-1"].value == pytest.approx((logits.argmax(1) == truth).mean())
    assert found["macro F1"].value == pytest.approx(
        f1_score(truth, logits.argmax(1), average="macro")
    )
    if classes > 5:
        wanted = top_k_accuracy_score(truth, logits, k=5)
        assert found["top-5"].value == pytest.approx(wanted)
    else:
        assert "top-5" not in found, "of five classes or fewer it says nothing"
    for m in found.values():
        assert m.interval is not None and m.value is not None
        assert m.interval[0] <= m.value <= m.interval[1]
        assert m.conditions["samples"] == 200 and m.conditions["of"] == "A pytorch"
    assert found["top-1"].conditions["better"] == 1
    assert found["calibration error"].conditions["better"] == -1


def test_a_figure_that_is_no_number_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    one = told(np.eye(3), [0, 1, 2])
    made = one.task.scores(one.answers, one.truths)
    monkeypatch.setattr(one.task, "scores", lambda a, t: [replace(s, value=nan) for s in made])
    assert [m.value for m in scores(one)] == [None] * len(made)


def test_wilsons_interval_is_the_published_one() -> None:
    # 81 of 263: Newcombe 1998, table I, method 3.
    logits = np.tile([1.0, 0.0], (263, 1))
    truth = np.where(np.arange(263) < 81, 0, 1)
    top = by_name(scores(told(logits, truth)))["top-1"]
    assert top.interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_a_change_of_runtime_that_flips_is_counted() -> None:
    native = told([[1, 0], [0, 1], [1, 0.9]], [0, 1, 0])
    exported = told([[1, 0], [0, 1], [1, 1.1]], [0, 1, 0], runtime="onnxruntime")
    exported.add([np.stack(exported.answers)], [np.stack(native.answers)])
    found = by_name(between_runtimes(native, exported))
    flips = found["flips"]
    assert flips.value == 1
    (flip,) = flips.conditions["flipped"]
    assert flip == {
        "sample": "h2", "path": "h2.png", "truth": "c0", "a": "c0 (52 %)", "b": "c1 (52 %)",
        "right": [True, False],
    }  # fmt: skip
    assert flips.conditions["of"] == "A: onnxruntime against pytorch"
    assert found["agreement"].value == pytest.approx(2 / 3)
    assert found["largest logit difference"].value == pytest.approx(0.2, abs=1e-6)
    assert found["mean logit difference"].value == pytest.approx(0.2 / 6, abs=1e-6)
    # The margins are 0.5, 0.5 and 0.05: one is within what the outputs moved by.
    assert found["smallest margin"].value == pytest.approx(0.05, abs=1e-6)
    assert found["smallest margin"].conditions["within"] == 1
    same = by_name(between_runtimes(native, native))
    assert same["flips"].value == 0 and same["accuracy change"].value == 0


def test_mcnemars_exact_test_on_known_counts() -> None:
    # 8 samples that only A gets right, 1 that only B does: 2 * (1 + 9) / 2**9.
    truth = np.zeros(20, dtype=int)
    a, b = np.tile([1.0, 0.0], (20, 1)), np.tile([1.0, 0.0], (20, 1))
    b[:8], a[8] = [0.0, 1.0], [0.0, 1.0]
    found = by_name(between_models(told(a, truth), told(b, truth, "B")))
    assert found["McNemar's exact test"].value == pytest.approx(20 / 512)
    assert found["accuracy change"].value == pytest.approx(-7 / 20)
    assert found["negative flips"].value == pytest.approx(8 / 20)
    assert found["flips"].value == 9
    assert len(found["flips"].conditions["flipped"]) == 9
    assert found["accuracy change"].conditions["mcnemar_p"] == pytest.approx(20 / 512)


def test_models_with_labels_in_another_order_are_compared_by_name() -> None:
    a = told(np.eye(3), [0, 1, 2], labels=("cat", "dog", "eel"))
    order = [2, 0, 1]
    b = told(np.eye(3)[:, order], [order.index(i) for i in range(3)], "B",
             labels=tuple(a.task.labels[i] for i in order))  # fmt: skip
    found = by_name(between_models(a, b))
    assert found["agreement"].value == 1 and found["accuracy change"].value == 0
    by_number = told(np.eye(3)[:, order], [order.index(i) for i in range(3)], "B",
                     labels=a.task.labels)  # fmt: skip
    assert by_name(between_models(a, by_number))["agreement"].value == 0


def test_equal_models_differ_by_nothing() -> None:
    one = told(np.eye(4), [0, 1, 2, 3])
    found = by_name(between_models(one, one))
    assert found["McNemar's exact test"].value == 1
    # Four equal answers are no certainty: the interval says how little they show.
    low, high = found["accuracy change"].interval or (nan, nan)
    assert low == -high and high > 0.2


def numbers(values: Sequence[float], truths: Sequence[float], role: str) -> Answered:
    hashes = [f"h{i}" for i in range(len(values))]
    answers = [np.array([v], dtype=np.float32) for v in values]
    return Answered(role, "pytorch", task("regression"), hashes, hashes, list(truths), answers)


def test_a_task_without_right_and_wrong_has_its_first_figure_compared() -> None:
    truths = [0.0, 1.0, 2.0, 3.0]
    # Off by 1, 1, 1, 1 and by 1, 1, 2, 4: the mean absolute error rises from 1 to 2.
    a = numbers([1, 2, 3, 4], truths, "A")
    b = numbers([1, 2, 4, 7], truths, "B")
    assert a.right is None
    found = by_name(between_models(a, b))
    assert set(found) == {"MAE change"}  # computed numbers are never the same to the last bit
    change = found["MAE change"]
    assert (change.value, change.unit, change.conditions["better"]) == (1.0, "abs", -1)
    low, high = change.interval or (nan, nan)
    assert low <= 1.0 <= high and low < high
    equal = by_name(between_models(a, numbers([1, 2, 3, 4], truths, "B")))["MAE change"]
    assert (equal.value, equal.interval) == (0.0, (0.0, 0.0))


def test_answers_are_stored_by_hash_with_what_a_comparison_needs() -> None:
    stored = told([[3, 0], [3, 0]], [0, 1], labels=("cat", "dog")).predictions()
    assert stored.of == "A pytorch" and stored.labels == ("cat", "dog")
    truth, words, right, same = stored.samples["h0"]
    assert (truth, words, right) == ("cat", "cat (95 %)", True)
    assert stored.samples["h1"][:3] == ("dog", "cat (95 %)", False)
    assert stored.samples["h1"][3] == same, "the same answer, whatever the truth"
    # The name decides and not how sure the model was.
    moved = told([[0, 9]], [1], labels=("dog", "cat")).predictions()
    assert moved.samples["h0"][3] == same
