"""What the last nodes of real graphs say that their outputs hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer, Labels, TextPreprocessing
from interop.reading import read
from interop.reading.formats.onnx_outputs import meanings


def _normalised(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(x, dim=-1)


LAST: tuple[tuple[Callable[[torch.Tensor], torch.Tensor], str], ...] = (
    (lambda x: x, "values"),
    (lambda x: x.reshape(-1, 3, 1).squeeze(-1).double().float(), "values"),
    (lambda x: x.softmax(-1), "probabilities"),
    (lambda x: x.softmax(-1).unsqueeze(1).flatten(1), "probabilities"),
    (lambda x: x.softmax(-1).log(), "log-probabilities"),
    (lambda x: x.log_softmax(-1), "log-probabilities"),
    (lambda x: x.exp() / x.exp().sum(-1, keepdim=True), "probabilities"),
    (lambda x: 1 / (1 + (-x).exp()), "probabilities of each label alone"),
    (lambda x: x.sigmoid(), "probabilities of each label alone"),
    (lambda x: x.argmax(-1), "classes"),
    (lambda x: x.topk(2).indices, "classes"),
    (_normalised, "normalised vectors"),
    (lambda x: x * x.sigmoid(), "values after Swish"),
    (lambda x: 100 * x.softmax(-1), "unknown Mul"),
)


class Net(nn.Module):
    def __init__(self, last: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.fc, self.last = nn.Linear(4, 3), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.fc(x))


def _graph(last: Callable[[torch.Tensor], torch.Tensor], path: Path) -> Path:
    torch.manual_seed(0)
    torch.onnx.export(
        Net(last).eval(), (torch.ones(2, 4),), path, input_names=["x"], output_names=["y"],
        dynamo=False, opset_version=17,
    )  # fmt: skip
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("last", "meaning"), LAST)
def test_the_meaning_of_an_output(
    last: Callable[[torch.Tensor], torch.Tensor], meaning: str, tmp_path: Path
) -> None:
    graph = read(_graph(last, tmp_path / "m.onnx")).graph
    assert graph is not None and dict(graph.meanings) == {"y": meaning}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("number", "answer"), [(1, None), (2, Answer.NO), (13, Answer.UNKNOWN)])
def test_only_another_meaning_is_found(number: int, answer: Answer | None, tmp_path: Path) -> None:
    a = _graph(LAST[0][0], tmp_path / "a.onnx")
    b = _graph(LAST[number][0], tmp_path / "b.onnx")
    found = [f for f in check(a, b).findings if f.rule == "output-contract-changed"]
    assert [f.answer for f in found] == ([answer] if answer else [])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("number", "answer"),
    [(0, None), (1, None), (2, Answer.UNKNOWN), (8, Answer.UNKNOWN), (9, Answer.UNKNOWN),
     (11, Answer.UNKNOWN), (12, None)],
)  # fmt: skip
def test_a_checkpoint_does_not_say_what_it_gives(
    number: int, answer: Answer | None, tmp_path: Path
) -> None:
    """Plain values are what a head gives; whatever a graph makes of them may be new."""
    torch.save(Net(LAST[0][0]).state_dict(), tmp_path / "a.pth")
    graph = _graph(LAST[number][0], tmp_path / "b.onnx")
    about = {
        "labels": Labels(("cat", "dog", "owl"), "test"),
        "preprocessing": TextPreprocessing("0" * 64),
    }
    for pair in ((tmp_path / "a.pth", graph), (graph, tmp_path / "a.pth")):
        report = check(*pair, options=CheckOptions(**about))
        found = [f for f in report.findings if f.rule == "output-contract-changed"]
        assert [f.answer for f in found] == ([answer] if answer else [])
        assert report.verdicts[2].answer is (answer or Answer.YES), report.verdicts[2].why


def test_a_circle_of_nodes_ends() -> None:
    nodes = {"y": ("Identity", ("z",)), "z": ("Cast", ("y",)), "u": ("Add", ("u", "u"))}
    assert meanings(["y", "u", "v"], nodes).keys() == {"y", "u", "v"}
