"""The proof "same weights", and each way in which it fails."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from interop.export.routes import ROUTES
from interop.proof import Derived, same_weights
from interop.proof import graph as graphs
from tests.proof.conftest import made, small


def prove(exported, derived=None, state=None):
    account = exported.derived if derived is None else derived
    return same_weights(exported.model, exported.weights, account, state)


def change(exported, name, action):
    """Applies `action` to one initialiser of the graph."""
    model = graphs.read(exported.model)
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    action(tensor)
    exported.model.write_bytes(model.SerializeToString())


def test_every_weight_is_shared_and_the_counter_is_no_weight(exported):
    proof = prove(exported, state=exported.module.state_dict())
    assert proof.holds
    assert proof.facts["shared"] == 12
    assert proof.facts["not_in_graph"] == []
    assert proof.facts["derived"] == len(exported.derived)


def test_a_swapped_weight_fails(exported):
    def swap(tensor):
        other = graphs.read(exported.model).graph.initializer
        (again,) = (t for t in other if t.name == "again.weight")
        del tensor.external_data[:]
        tensor.external_data.extend(again.external_data)

    change(exported, "middle.weight", swap)
    proof = prove(exported)
    assert not proof.holds
    assert proof.facts["faults"] == {"middle.weight": "points at again.weight"}


def test_other_numbers_under_the_old_name_fail(exported):
    values = exported.module.first.weight.numpy() * 1.0001

    def embed(tensor):
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    change(exported, "first.weight", embed)
    proof = prove(exported)
    assert not proof.holds
    assert "differs from the tensor of its name" in proof.facts["faults"]["first.weight"]


def test_the_same_numbers_embedded_are_the_same_weights(exported):
    values = exported.module.first.weight.numpy()

    def embed(tensor):
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    change(exported, "first.weight", embed)
    proof = prove(exported)
    assert proof.holds
    assert (proof.facts["shared"], proof.facts["copied"]) == (11, 1)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("location", "elsewhere.bin", "points into 'elsewhere.bin'"),
        ("offset", "8", "are no tensor of"),
        ("length", "4", "are no tensor of"),
    ],
)
def test_a_reference_that_misses_fails(exported, key, value, said):
    def point(tensor):
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value

    change(exported, "head.bias", point)
    assert said in prove(exported).facts["faults"]["head.bias"]


def test_another_shape_of_the_same_bytes_fails(exported):
    def turn(tensor):
        tensor.dims[:] = [8, 5]

    change(exported, "head.weight", turn)
    assert "dtype and shape" in prove(exported).facts["faults"]["head.weight"]


def test_what_is_embedded_must_be_accounted_for(exported):
    model = graphs.read(exported.model)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "stray"))
    exported.model.write_bytes(model.SerializeToString())
    assert "not accounted for" in prove(exported).facts["faults"]["stray"]
    wrong = {**exported.derived, "stray": Derived("a constant", "0" * 64)}
    assert "not what it was" in prove(exported, wrong).facts["faults"]["stray"]


def test_weights_changed_on_disk_fail(exported):
    data = bytearray(exported.weights.read_bytes())
    data[-3] ^= 1
    exported.weights.write_bytes(data)
    assert prove(exported).holds  # the graph still points where it should
    proof = prove(exported, state=exported.module.state_dict())
    assert not proof.holds
    (fault,) = proof.facts["faults"].values()
    assert "differs between the module" in fault


def test_a_route_that_folds_accounts_for_what_it_rewrites(tmp_path):
    folding = next(r for r in ROUTES if r.folds)
    exported = made(small(), tmp_path, folding)
    proof = prove(exported)
    assert proof.holds
    rewritten = [n for n, how in proof.facts["derivations"].items() if "under its own name" in how]
    assert rewritten  # normalisation was folded into a convolution under its old name
    names = {t.name for t in onnx.load(exported.model, load_external_data=False).graph.initializer}
    assert set(rewritten) <= names
    unaccounted = {n: d for n, d in exported.derived.items() if n not in rewritten}
    assert set(prove(exported, unaccounted).facts["faults"]) == set(rewritten)
