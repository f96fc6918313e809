"""Two graphs whose weights pair up: what else they compute is told apart, a retraining is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer, Labels
from interop.identity import identify_file

pytestmark = pytest.mark.filterwarnings("ignore")
LABELS = Labels(("cat", "dog", "owl"), "test")


def same(x: torch.Tensor) -> torch.Tensor:
    return x


class Net(nn.Module):
    def __init__(self, first=same, last=same, act=torch.relu, eps: float = 1e-5) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8, eps=eps)
        self.first, self.last, self.act = first, last, act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.fc(self.norm(self.act(self.conv(self.first(x))).mean((2, 3)))))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def graph(path: Path, module: nn.Module, dynamo: bool) -> Path:
    axes = (
        {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)}
        if dynamo
        else {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    )
    torch.onnx.export(
        module.eval(), (torch.randn(2, 3, 8, 8),), path, dynamo=dynamo, verbose=False,
        input_names=["x"], output_names=["y"], **axes,
    )  # fmt: skip
    return path


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "in front, divided": lambda: Net(first=lambda x: x / 255),
    "in front, shifted": lambda: Net(first=lambda x: x - 0.5),
    "in front, other channels": lambda: Net(first=lambda x: x.flip(1)),
    "activation": lambda: Net(act=torch.nn.functional.gelu),
    "epsilon": lambda: Net(eps=1e-3),
    "behind, doubled": lambda: Net(last=lambda x: 2 * x),
    "behind, other order": lambda: Net(last=lambda x: x[:, [2, 0, 1]]),
}


@pytest.mark.parametrize("dynamo", [False, True])
def test_another_computation_with_the_same_weights_is_unknown(dynamo: bool, tmp_path: Path) -> None:
    a = graph(tmp_path / "a.onnx", Net(), dynamo)
    for what, make in OTHERS.items():
        b = graph(tmp_path / "b.onnx", make(), dynamo)
        report = check(a, b, CheckOptions(labels=LABELS))
        answers = {f.rule: f.answer for f in report.findings}
        assert answers.get("graph-changed") is Answer.UNKNOWN, what
        assert report.verdicts[2].answer is not Answer.YES, what


@pytest.mark.parametrize("dynamo", [False, True])
def test_the_axis_of_the_last_softmax_counts(dynamo: bool, tmp_path: Path) -> None:
    sides = [
        graph(tmp_path / f"{i}.onnx", Net(last=last), dynamo)
        for i, last in enumerate((
            lambda x: x.softmax(1), lambda x: x.softmax(0),
            lambda x: x.t().softmax(1).t(), lambda x: x.log_softmax(0),
        ))
    ]  # fmt: skip
    for other in sides[1:]:
        report = check(sides[0], other, CheckOptions(labels=LABELS))
        assert "graph-changed" in {f.rule for f in report.findings}


@pytest.mark.parametrize("dynamo", [False, True])
def test_other_weights_and_other_names_of_values_are_no_other_computation(
    dynamo: bool, tmp_path: Path
) -> None:
    modules = [Net(), Net(), Wrapped()]  # each drawn anew
    found = [
        identify_file(graph(tmp_path / f"{i}.onnx", m, dynamo)).manifest.graph
        for i, m in enumerate(modules)
    ]
    assert len({g.computation for g in found if g is not None}) == 1


def test_swapped_weights_are_another_computation(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self, turned: bool) -> None:
            super().__init__()
            self.one, self.two, self.turned = nn.Linear(4, 4), nn.Linear(4, 4), turned

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, last = (self.two, self.one) if self.turned else (self.one, self.two)
            return last(first(x).relu())

    found = []
    for turned in (False, True):
        path = tmp_path / f"{turned}.onnx"
        torch.onnx.export(Two(turned), (torch.randn(1, 4),), path, dynamo=True, verbose=False)
        found.append(identify_file(path).manifest.graph)
    assert found[0].computation != found[1].computation


def _model(nodes, functions=(), initializers=(), opset=17):
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("my", 1)]
    return helper.make_model(graph, functions=list(functions), opset_imports=imports)


def _computation(model, path: Path) -> str:
    path.write_bytes(model.SerializeToString())
    graph = identify_file(path).manifest.graph
    assert graph is not None
    return graph.computation


def _branching(operator: str) -> object:
    """An If whose branches take what a node outside of them makes."""
    from onnx import TensorProto, helper, numpy_helper

    branches = {}
    for name, inner in (("then_branch", "Identity"), ("else_branch", "Neg")):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [2, 3])
        node = helper.make_node(inner, ["h"], [f"{name}_y"])
        branches[name] = helper.make_graph([node], name, [], [out])
    nodes = [
        helper.make_node(operator, ["x"], ["h"]),
        helper.make_node("If", ["c"], ["y"], **branches),
    ]

    return _model(nodes, initializers=[numpy_helper.from_array(np.array(True), "c")])


def test_what_a_branch_takes_from_outside_counts(tmp_path: Path) -> None:
    found = [_computation(_branching(op), tmp_path / "a.onnx") for op in ("Relu", "Tanh", "Relu")]
    assert found[0] == found[2] != found[1]


def _with_function(operator: str) -> object:
    from onnx import helper

    body = helper.make_function(
        "my", "F", ["a"], ["b"], [helper.make_node(operator, ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    return _model([helper.make_node("F", ["x"], ["y"], domain="my")], functions=[body])


def test_the_body_of_a_function_counts(tmp_path: Path) -> None:
    found = [_computation(_with_function(op), tmp_path / "a.onnx") for op in ("Relu", "Tanh")]
    assert found[0] != found[1]


def test_a_number_that_is_added_counts(tmp_path: Path) -> None:
    from onnx import helper, numpy_helper

    node = helper.make_node("Add", ["x", "val_0"], ["y"])
    found = [
        _computation(
            _model([node], initializers=[numpy_helper.from_array(np.float32(n), "val_0")]),
            tmp_path / "a.onnx",
        )
        for n in (1.0, 2.0, 1.0)
    ]
    assert found[0] == found[2] != found[1]


def test_what_softmax_meant_before_opset_13_counts(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    found = [_computation(_model([node], opset=n), tmp_path / "a.onnx") for n in (11, 13, 17)]
    assert found[0] != found[1] == found[2]
