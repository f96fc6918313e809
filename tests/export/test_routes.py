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

from interop.export import graph, routes, weights
from interop.models.signature import Argument, Forward, Signature
from interop.proof import Feed


def test_the_registry_is_the_same_without_parsing_every_function(monkeypatch) -> None:
    from onnxscript._internal import ast_utils

    whole = ONNXRegistry.from_torchlib().functions
    parsed, real = [], ast_utils.get_src_and_ast
    monkeypatch.setattr(ast_utils, "get_src_and_ast", lambda f: parsed.append(f) or real(f))
    with routes._unparsed():
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

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.drop = nn.Dropout(0.5)
        self.act = nn.ReLU(inplace=inplace)
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


def graph_of(module: nn.Module):
    training = module.training
    takes = Signature((Argument("input", ("batch", 6)),))
    forward = Forward(module, takes)
    module.train(training)
    forward.outputs = ("output",)
    rows = np.random.default_rng(0).standard_normal((9, 6), dtype=np.float32)
    return routes.convert(forward, Feed(takes, {"input": rows}), routes.ROUTES[0]).model, rows


def test_a_program_of_known_operators_is_not_taken_apart(taken_apart):
    module = Plain().eval()
    model, rows = graph_of(module)
    assert not taken_apart
    assert "Dropout" not in {node.op_type for node in model.graph}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (answer,) = session.run(None, {"input": rows})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(answer), module(torch.from_numpy(rows)))


def test_what_writes_in_place_is_taken_apart(taken_apart):
    graph_of(Plain(inplace=True).eval())
    assert taken_apart


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
