"""What is kept from the exporters, and that it changes nothing of what they answer."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnxscript._internal.values import TracedOnnxFunction
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from interop.export import graph, routes, skip_decomposition, weights
from interop.models.signature import Argument, Forward, Signature
from interop.proof import Feed


def test_the_registry_is_the_same_without_parsing_every_function(monkeypatch) -> None:
    from onnxscript._internal import ast_utils

    whole = ONNXRegistry.from_torchlib().functions
    parsed, real = [], ast_utils.get_src_and_ast
    monkeypatch.setattr(ast_utils, "get_src_and_ast", lambda f: parsed.append(f) or real(f))
    with skip_decomposition.unparsed():
        quick = ONNXRegistry.from_torchlib().functions
        assert not parsed
        held = [m.onnx_function for metas in quick.values() for m in metas]
        some = [f for f in held if isinstance(f, TracedOnnxFunction)][:5]
        told = [(f.function_ir.domain, f.function_ir.name) for f in some]
        assert len(some) == len(parsed) == 5
    assert told == [(f.function_ir.domain, f.function_ir.name) for f in some]
    assert {t: [m.onnx_function for m in ms] for t, ms in quick.items()} == {
        t: [m.onnx_function for m in ms] for t, ms in whole.items()
    }


# ---------------------------------------------------------------- programs that are known already


class Plain(nn.Module):
    """A feed-forward block as transformers have it: every operator has an ONNX function."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.drop = nn.Dropout(0.5)
        self.act = nn.ReLU()
        self.out = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(self.act(self.norm(x))))


@pytest.fixture
def taken_apart(monkeypatch):
    """How often a captured program was traced a second time."""
    from torch.export import ExportedProgram

    calls, real = [], ExportedProgram.run_decompositions
    monkeypatch.setattr(
        ExportedProgram,
        "run_decompositions",
        lambda program, *given: calls.append(1) or real(program, *given),
    )
    return calls


def graph_of(
    module: nn.Module,
    shape: tuple[str | int, ...] = ("batch", 6),
    route: routes.Route = routes.ROUTES[0],
    outputs: tuple[str, ...] = ("output",),
):
    training = module.training
    takes = Signature((Argument("input", shape),))
    forward = Forward(module, takes)
    module.train(training)
    forward.outputs = outputs
    rows = np.random.default_rng(0).standard_normal((9, *shape[1:]), dtype=np.float32)
    return routes.convert(forward, Feed(takes, {"input": rows}), route).model, rows


def test_a_program_of_known_operators_is_not_taken_apart(taken_apart):
    module = Plain().eval()
    model, rows = graph_of(module)
    assert not taken_apart
    assert "Dropout" not in {node.op_type for node in model.graph}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (answer,) = session.run(None, {"input": rows})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(answer), module(torch.from_numpy(rows)))


class Convolutional(nn.Module):
    """What the networks for pictures are made of: they write in place wherever they can."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.relu, self.swish = nn.ReLU(inplace=True), nn.Hardswish(inplace=True)
        self.pool, self.drop = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5, inplace=True)
        self.head = nn.Linear(3, 4)
        self.norm.running_mean.copy_(torch.tensor([0.5, -0.5, 0.25]))
        self.norm.running_var.copy_(torch.tensor([0.5, 2.0, 1.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm(self.conv(x)))
        z = self.norm(self.conv(y))
        z += y
        return self.head(self.drop(torch.flatten(self.pool(self.swish(z)), 1)))


class Ends(nn.Module):
    """Gives what other rewritings would rename: a normalised value, and what dropout leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(6), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.norm(x)
        return y, self.drop(y + 1), (y * 2).float().detach()


def test_outputs_are_the_modules_own_whatever_was_rewritten(taken_apart):
    module = Ends().eval()
    model, rows = graph_of(module, outputs=("first", "second", "third"))
    assert not taken_apart
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    assert [o.name for o in session.get_outputs()] == ["first", "second", "third"]
    answers = session.run(None, {"input": rows})
    with torch.no_grad():
        for ours, native in zip(answers, module(torch.from_numpy(rows)), strict=True):
            torch.testing.assert_close(torch.from_numpy(ours), native)


class Shared(nn.Module):
    """Writes into a value that others see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        seen = y.view(-1, 2, 3)
        y.relu_()
        return self.out(seen.reshape(-1, 6) + y)


class Viewed(Shared):
    """Writes into a value through a view of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y.view(-1, 2, 3).relu_()
        return self.out(y)


def agrees(model: ir.Model, module: nn.Module, rows: np.ndarray) -> None:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (answer,) = session.run(None, {"input": rows})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(answer), module(torch.from_numpy(rows)))


def test_what_writes_in_place_where_nobody_sees_it_is_not_taken_apart(taken_apart, monkeypatch):
    shape = ("batch", 3, 5, 5)
    module = Convolutional().eval()
    model, rows = graph_of(module, shape)
    assert not taken_apart
    agrees(model, module, rows)
    monkeypatch.setattr(skip_decomposition, "_rewritten", lambda *_: False)
    whole, _ = graph_of(module, shape)
    assert taken_apart
    kinds = {"Conv", "BatchNormalization", "Relu", "Add", "HardSwish", "ReduceMean", "Gemm"}
    ours, theirs = (
        [
            (n.op_type, {k: str(a.value) for k, a in n.attributes.items()}, str(n.outputs[0].shape))
            for n in m.graph
            if n.op_type in kinds
        ]
        for m in (model, whole)
    )
    assert ours == theirs and {kind for kind, *_ in ours} == kinds
    assert list(model.graph.initializers) == list(whole.graph.initializers)


class Wider(Shared):
    """Writes numbers of a wider type into a value, which keeps its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y += torch.ones(6, dtype=torch.float64) / 3
        return self.out(y)


@pytest.mark.parametrize("kind", [Shared, Viewed, Wider])
def test_what_writes_in_place_where_others_see_it_is_taken_apart(kind, taken_apart):
    module = kind().eval()
    model, rows = graph_of(module)
    assert taken_apart
    agrees(model, module, rows)


def test_dropout_that_is_on_stays_for_the_proofs_to_find():
    model, _ = graph_of(Plain().train())
    assert "Dropout" in {node.op_type for node in model.graph}


def test_where_the_shorter_way_fails_the_exporter_goes_its_own(taken_apart, monkeypatch):
    from torch.onnx._internal.exporter import _fx_passes

    real = _fx_passes.insert_type_promotion_nodes

    def fails(graph):
        if not taken_apart:
            raise RuntimeError("no such operator")
        real(graph)

    monkeypatch.setattr(_fx_passes, "insert_type_promotion_nodes", fails)
    graph_of(Plain().eval())
    assert taken_apart


def test_what_cannot_be_folded_stays_as_the_exporter_wrote_it(tmp_path, monkeypatch):
    """onnxscript's folding fails on some graphs (of torchvision's RAFT) and says RuntimeError."""
    module = Plain().eval()
    state = module.state_dict()
    places = weights.write(tmp_path / "model.safetensors", state, {})
    model, rows = graph_of(module)

    def fails(model, **options):
        raise RuntimeError("Error during constant folding for node 'node_split'")

    monkeypatch.setattr(graph.optimizer, "fold_constants", fails)
    graph.write(model, tmp_path / "model.onnx", state, places, {}, folds=False)
    (answer,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"input": rows})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(answer), module(torch.from_numpy(rows)))


class Unknown(nn.Module):
    """Takes an operator that no exporter has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(x.T @ x)


def test_what_torch_prints_of_a_graph_that_it_gives_up_is_not_heard(capfd):
    print("before")
    with pytest.raises(Exception, match="linalg_eigvalsh") as caught:
        graph_of(Unknown(), route=next(r for r in routes.ROUTES if not r.dynamo))
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"
    assert "operators that ONNX has" in routes.remedy([routes.why(caught.value)])


def test_the_reason_told_is_the_first_cause():
    with pytest.raises(Exception) as caught:
        graph_of(Unknown())
    assert "No ONNX function found" in routes.why(caught.value)
    assert "operators that ONNX has" in routes.remedy([routes.why(caught.value)])
