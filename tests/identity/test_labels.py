"""Labels where trainers put them, in files that torch wrote."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from interop.identity import identify, identify_file
from interop.identity.metadata import labels
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


# ---------------------------------------------------------------- fastai's vocab


def _fastai(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Classes of fastai's names and attributes, as a Learner's export refers to them."""
    made = {}
    for path in ("fastai", "fastai.data", "fastai.text", "fastcore"):
        monkeypatch.setitem(sys.modules, path, ModuleType(path))
    for path, name in (
        ("fastai.learner", "Learner"), ("fastai.data.core", "DataLoaders"),
        ("fastai.data.core", "TfmdDL"), ("fastai.data.core", "Datasets"),
        ("fastai.data.core", "TfmdLists"), ("fastcore.transform", "Pipeline"),
        ("fastai.data.transforms", "Categorize"), ("fastai.data.transforms", "CategoryMap"),
        ("fastai.text.data", "Numericalize"), ("fastcore.foundation", "L"),
    ):  # fmt: skip
        module = sys.modules.get(path) or ModuleType(path)
        monkeypatch.setitem(sys.modules, path, module)
        init = lambda self, **kw: self.__dict__.update(kw)  # noqa: E731
        kind = type(name, (), {"__module__": path, "__init__": init})
        setattr(module, name, kind)
        made[name] = kind
    return SimpleNamespace(**made)


def _map(fastai: SimpleNamespace, names: Sequence[str]) -> Any:
    o2i = defaultdict(int, {name: i for i, name in enumerate(names)})
    return fastai.CategoryMap(items=fastai.L(items=list(names)), o2i=o2i)


def _learner(fastai: SimpleNamespace, model: nn.Module, *transforms: Any) -> Any:
    lists = [
        fastai.TfmdLists(items=fastai.L(items=[]), tfms=fastai.Pipeline(fs=fastai.L(items=[t])))
        for t in transforms
    ]
    data = fastai.Datasets(tls=fastai.L(items=lists))
    loaders = [fastai.TfmdDL(dataset=data, device=torch.device("cpu")) for _ in range(2)]
    return fastai.Learner(dls=fastai.DataLoaders(loaders=loaders), model=model, path=Path())


def test_a_learners_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fastai = _fastai(monkeypatch)
    categorize = fastai.Categorize(vocab=_map(fastai, NAMES), c=3)
    words = fastai.Numericalize(vocab=["xxunk", "the", "sea"], o2i={"xxunk": 0})
    torch.save(_learner(fastai, nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), words, categorize),
               tmp_path / "m.pkl")  # fmt: skip
    assert identify(read(tmp_path / "m.pkl")).labels.names == NAMES
    # Tokens alone, though there are as many of them as outputs, name nothing.
    torch.save(_learner(fastai, nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), words),
               tmp_path / "m.pkl")  # fmt: skip
    assert identify(read(tmp_path / "m.pkl")).labels.names is None


NET = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)).state_dict()
TEXT = nn.Sequential(nn.Embedding(3, 8), nn.Linear(8, 3)).state_dict()


@pytest.mark.parametrize(
    ("saved", "names"),
    [
        ({"model": NET, "vocab": list(NAMES)}, NAMES),
        ({"model": NET, "meta": {"vocab": list(NAMES)}}, NAMES),
        ({"model": NET, "vocab": [["xxunk", "the", "sea", "wave"], list(NAMES)]}, NAMES),
        ({"model": NET, "vocab": {n: i for i, n in enumerate(NAMES)}}, NAMES),
        ({"model": NET, "vocab": list(NAMES), "classes": list(NAMES)}, NAMES),
        ({"model": NET, "vocab": ["xxunk", *NAMES]}, None),
        ({"model": NET, "vocab": [list(NAMES), list(NAMES[::-1])]}, None),
        ({"model": NET, "vocab": list(NAMES), "classes": list(NAMES[::-1])}, None),
        ({"model": NET, "vocab": ["cat", "cat", "owl"]}, None),
        ({"model": TEXT, "vocab": list(NAMES)}, None),
    ],
)
def test_a_vocab_of_as_many_as_the_outputs(saved: Any, names: Any, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "m.pth")
    assert identify(read(tmp_path / "m.pth")).labels.names == names


def test_a_category_map_beside_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"model": NET, "vocab": _map(_fastai(monkeypatch), NAMES)}, tmp_path / "m.pth")
    assert identify(read(tmp_path / "m.pth")).labels.names == NAMES


def test_two_names_of_one_output_are_no_labels(tmp_path):
    """Which of the two is meant, nobody can tell: neither is shown as a fact."""
    state = {"fc.weight": torch.ones(3, 4), "fc.bias": torch.ones(3)}
    torch.save({"state_dict": state, "class_to_idx": {"cat": 0, "dog": 1, "cow": 1}},
               tmp_path / "a.pth")  # fmt: skip
    assert identify_file(tmp_path / "a.pth").labels.names is None
