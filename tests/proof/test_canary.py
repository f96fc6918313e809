"""The comparison on trial: it must notice, and where it cannot the proof fails."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from interop.proof import canary, reference
from interop.proof import graph as graphs
from tests.proof.conftest import Small, fed, made, small


def held_against(module):
    return reference(module, fed())


def test_it_notices_next_to_the_input_and_in_the_head(exported):
    before = {p.name: p.read_bytes() for p in exported.folder.iterdir()}
    proof = canary(exported.model, held_against(exported.module), head=("head.weight", "head.bias"))
    assert proof.holds
    assert proof.facts["input"]["tensor"] == "first.weight"
    assert proof.facts["head"]["tensor"] == "head.weight"
    assert proof.facts["share"] == 0.01
    assert {p.name: p.read_bytes() for p in exported.folder.iterdir()} == before


def test_a_comparison_made_blind_fails(exported):
    held = held_against(exported.module)
    blind = replace(held, bounds=tuple((1.0,) for _ in held.bounds))
    proof = canary(exported.model, blind)
    assert not proof.holds
    assert "goes unnoticed in first.weight" in proof.what
    assert "head.weight" in proof.what


class Dead(Small):
    """Everything before the head is multiplied by zero."""

    def forward(self, x):
        return self.head(self.features(x) * 0 + 1)


def test_outputs_that_do_not_depend_on_the_input_fail(tmp_path):
    module = Dead()
    module.load_state_dict(small().state_dict())
    exported = made(module.eval().requires_grad_(False), tmp_path)
    proof = canary(exported.model, held_against(exported.module))
    assert not proof.holds
    assert proof.facts["input"]["noticed"] is False
    assert proof.facts["head"]["noticed"] is True


def test_a_graph_without_weights_fails(tmp_path):
    nothing = torch.nn.ReLU().eval()
    exported = made(nothing, tmp_path)
    proof = canary(exported.model, held_against(nothing))
    assert not proof.holds
    assert "no weight" in proof.what


def test_a_copy_that_cannot_run_is_not_noticed_but_broken(exported):
    held = held_against(exported.module)
    wrong = np.zeros((1, 3, 4), np.float32)
    proof = canary(exported.model, replace(held, batches=(wrong, *held.batches[1:])))
    assert not proof.holds
    assert "it fails" in proof.what


def test_half_precision_is_tried_with_what_it_can_resolve(tmp_path):
    module = small().half()
    proof = canary(made(module, tmp_path).model, held_against(module))
    assert proof.holds
    assert proof.facts["share"] == 0.25


@pytest.mark.parametrize("sets", [(), ("scores",)])
def test_of_a_head_of_sets_any_weight_may_be_noticed(exported, monkeypatch, sets):
    """Of two weights in the head one is noticed: enough for sets of detections alone."""

    def noticed(graph, name, *rest):
        return name != "head.weight", 1.0

    monkeypatch.setattr(sys.modules["interop.proof.canary"], "_noticed", noticed)
    held = replace(held_against(exported.module), sets=sets)
    proof = canary(exported.model, held, head=("again.weight", "head.weight"))
    assert proof.holds is bool(sets)
    assert proof.facts["head"]["tensor"] == ("again.weight" if sets else "head.weight")
    assert canary(exported.model, held, head=("head.weight",)).holds is False


def graph_of(nodes, weights, output="y"):
    x, y = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", output)
    )
    arrays = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in weights.items()]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], arrays))


def node(op, inputs, outputs, **attributes):
    return onnx.helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def test_the_walk_finds_what_acts_on_the_way_from_input_to_output():
    model = graph_of(
        [
            node("Transpose", "late", "turned"),
            node("Transpose", "unused", "nowhere"),
            node("MatMul", "x early", "a"),
            node("MatMul", "a dead_end", "b"),
            node("Add", "a bias", "c"),
            node("MatMul", "c turned", "y"),
        ],
        {"late": (2, 2), "unused": (2, 2), "early": (2, 2), "dead_end": (2, 2), "bias": (2,)},
    )
    assert graphs.weights_on_the_way(model) == ["early", "late"]


def test_the_walk_takes_vectors_where_there_is_nothing_else():
    model = graph_of([node("Mul", "x scale", "y")], {"scale": (4,)})
    assert graphs.weights_on_the_way(model) == ["scale"]


def test_the_walk_sees_into_inner_graphs():
    inner = onnx.helper.make_graph(
        [node("MatMul", "a inside", "z")],
        "then",
        [],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)],
    )
    model = graph_of(
        [
            node("Relu", "x", "a"),
            node("ReduceMax", "a", "m"),
            node("Cast", "m", "is", to=9),
            node("If", "is", "y", then_branch=inner, else_branch=inner),
        ],
        {"inside": (2, 2)},
    )
    assert graphs.weights_on_the_way(model) == ["inside"]


def test_the_walk_counts_a_weight_once_however_often_it_is_taken():
    doubled = [node("Add", f"w{i} w{i}", f"w{i + 1}") for i in range(64)]
    model = graph_of([*doubled, node("MatMul", "x w64", "y")], {"w0": (2, 2)})
    assert graphs.weights_on_the_way(model) == ["w0"]
