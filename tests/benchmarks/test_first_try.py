"""The study of first tries: a right graph is told from a wrong one, and cells are counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import first_try


@pytest.fixture
def conv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[first_try.Architecture, Path]:
    (tmp_path / "nets.py").write_text(first_try.NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    (of,) = (a for a in first_try.ARCHITECTURES if a.name == "own/Conv")
    return of, tmp_path


def test_a_cell_is_exported_and_right(conv: tuple[first_try.Architecture, Path]) -> None:
    of, folder = conv
    row = first_try.cell(of, "Lightning with a loss", folder)
    assert row["exported"] and row["right"] and row["flags"] == ["--model"], row
    assert row["tried"] == [[1, "usual"], [3, "usual"]] and row["bare export"]["right"]


def test_a_graph_of_another_module_is_wrong(conv: tuple[first_try.Architecture, Path]) -> None:
    of, folder = conv
    torch.manual_seed(3)
    other: Any = of.make().eval()
    example, graph = of.feed(2, 0), folder / "other.onnx"
    torch.onnx.export(other, example, str(graph), dynamo=False, dynamic_axes={"image": {0: "b"}},
                      input_names=["image"])  # fmt: skip
    assert first_try.compared(of, "bare", other, graph)["right"]
    assert not first_try.compared(of, "bare", of.make().eval(), graph)["right"]


def test_what_is_exported_and_not_right_is_counted_so() -> None:
    good = {"architecture": "a", "form": "bare", "exported": True, "right": True, "apart": 0.0,
            "bare export": {"right": False}}  # fmt: skip
    never = {"architecture": "a", "form": "bare", "exported": False, "impossible": "no"}
    rows = [good, {**good, "right": False}, {**good, "exported": False}, never]
    counts = first_try.counted(rows)
    assert (counts["cells"], counts["exported"], counts["right"]) == (4, 2, 1)
    assert counts["exported of those possible"] == pytest.approx(2 / 3, abs=1e-3)
    assert len(counts["impossible"]) == 1 and counts["bare export right"] == 0
    unlike = first_try.UNLIKE[0].name
    wrong = first_try.result({unlike: [{**good, "architecture": unlike, "right": False}]})
    assert wrong["assumed wrongly"] == [[unlike, 0.0]]
