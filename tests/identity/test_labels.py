"""Labels where trainers put them, in files that torch wrote."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from interop.identity import identify
from interop.identity.keys import labels
from interop.reading import read

NAMES = ("cat", "dog", "owl")


class Net(nn.Module):
    def __init__(self, **about: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        for key, value in about.items():
            setattr(self, key, value)


WEIGHTS = nn.Linear(4, 3).state_dict()
PLACES: tuple[Any, ...] = (
    {"meta": {"dataset_meta": {"classes": NAMES}}, "state_dict": WEIGHTS},
    {"meta": {"CLASSES": NAMES}, "state_dict": WEIGHTS},
    {"meta": {"dataset_meta": {"CLASSES": list(NAMES)}}, "state_dict": WEIGHTS},
    {"names": dict(enumerate(NAMES)), "state_dict": WEIGHTS},
    {"hyper_parameters": {"class_names": list(NAMES)}, "state_dict": WEIGHTS},
    {"hyper_parameters": {"config": {"id2label": dict(enumerate(NAMES))}}, "state_dict": WEIGHTS},
    {"hyper_parameters": {"data": {"class_to_idx": {n: i for i, n in enumerate(NAMES)}}},
     "state_dict": WEIGHTS},
    {"model": Net(names=list(NAMES)), "ema": None},
    {"model": Net(names=dict(enumerate(NAMES)))},
    {"model": Net(class_to_idx={n: i for i, n in enumerate(NAMES)})},
    Net(CLASSES=NAMES),
    Net(config=SimpleNamespace(id2label=dict(enumerate(NAMES)))),
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_labels_are_found(number: int, tmp_path: Path) -> None:
    torch.save(PLACES[number], tmp_path / "m.pth")
    assert identify(read(tmp_path / "m.pth")).labels.names == NAMES


def test_two_places_that_disagree_leave_them_unknown(tmp_path: Path) -> None:
    state = {"model": Net(names=["cat", "dog"]), "ema": None, "names": ["dog", "cat"]}
    torch.save(state, tmp_path / "m.pth")
    assert identify(read(tmp_path / "m.pth")).labels.names is None


def test_a_graph_may_state_them_as_python_text() -> None:
    assert labels({"names": "{0: 'cat', 1: 'dog', 2: 'owl'}"}).names == NAMES
    assert labels({"names": "{" * 5000}).names is None
    assert labels({"names": "{0: open('x')}"}).names is None
