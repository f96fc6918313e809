"""What the tasks have in common: the output they pick, tables, and a library that is missing."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from interop.errors import ExtraMissing, ModelError
from interop.facts.sections.bench import ClassTables, Confused
from interop.tasks import task
from interop.tasks.shared import pick, score, share_of, with_confusion


def test_an_output_is_picked_by_name_then_by_shape() -> None:
    a, b = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)

    def fits(shape: tuple[int, ...]) -> bool:
        return shape == (2, 3)

    assert pick({"a": a, "logits": b}, ("logits",), fits, "x") is b
    assert pick({"a": a, "b": b}, ("logits",), fits, "x") is a
    assert pick({"logits": np.zeros((2, 4), np.float32), "b": b}, ("logits",), fits, "x") is b
    with pytest.raises(ModelError, match=r"gives y \(2, 4\) where x is needed; name the task"):
        pick({"y": np.zeros((2, 4), np.float32)}, (), fits, "x")


def test_an_interval_stays_within_what_the_figure_can_be() -> None:
    # 1 of all, less in nearly every draw: their shift passes 1.
    values = np.array([0.5, -0.5] * 10)

    def figure(drawn: np.ndarray) -> float:
        return 1 - abs(float(values[drawn].mean()))

    found = score("x", "share", 20, figure)
    assert found.value == 1 and found.interval is not None and found.interval[1] == 1
    wild = score("x", "abs", 20, figure)
    assert wild.interval is not None and wild.interval[1] > 1.0, "else the cut is not tested"


def test_wilsons_interval_is_the_published_one() -> None:
    # 81 of 263: Newcombe 1998, table I, method 3.
    found = share_of("x", np.arange(263) < 81)
    assert found.value == pytest.approx(81 / 263)
    assert found.interval == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_a_large_confusion_matrix_is_left_out_but_not_its_worst_pairs() -> None:
    counts = np.diag(np.full(101, 5))
    counts[3, 4], counts[7, 1] = 2, 9
    bare = ClassTables(of="A", labels=())
    found = with_confusion(bare, counts, [f"c{i}" for i in range(101)])
    assert found.confusion is None
    assert found.confused == (Confused("c7", "c1", 9), Confused("c3", "c4", 2))
    assert with_confusion(bare, counts[:100, :100], ["x"] * 100).confusion


def test_a_missing_library_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sklearn" else found(name)
    )
    kind = task("image-classification")
    with pytest.raises(ExtraMissing, match=r"need sklearn.*model-interop\[bench\]"):
        kind.tables("A", [np.eye(2, dtype=np.float32)[0]], [0])
