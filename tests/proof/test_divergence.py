"""Graphs broken on purpose: the node that was broken is the one that is named."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from interop.errors import InteropError
from interop.export import routes
from interop.export.divergence import reproduction
from interop.models.signature import seeded
from interop.proof import divergence
from interop.proof.divergence import WITH, WITHOUT, first_departure, truth_at
from interop.proof.intermediates_onnx import Observed
from tests.proof.conftest import SHAPE, Small, small

BATCH = {"input": seeded(SHAPE, 2)}


class Branches(Small):
    """Answers otherwise in a batch of more than four."""

    def forward(self, x):
        y = self.features(x)
        return self.head(y * 1.5 if x.shape[0] > 4 else y)


class Captured:
    """A program and the graph that it was written as."""

    def __init__(self, folder, optimize=False):
        self.module, self.path = small(), folder / "model.onnx"
        self.program = torch.onnx.export(
            self.module,
            (torch.from_numpy(BATCH["input"]),),
            dynamo=True,
            optimize=optimize,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=["input"],
            output_names=["output"],
            verbose=False,
        )
        self.program.save(self.path, external_data=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Captured(tmp_path_factory.mktemp("plain"))


def legacy(module, path):
    with routes._quiet():
        torch.onnx.export(
            module,
            (torch.from_numpy(BATCH["input"]),),
            str(path),
            dynamo=False,
            input_names=["input"],
            dynamic_axes={"input": {0: "batch"}},
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            verbose=False,
        )
    return path


def broken(source, folder, change):
    """A copy of a graph that `change` was let loose on."""
    model = onnx.load(source)
    change(model.graph)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return folder


def swap(graph):
    """Two axes of one weight in the middle, of one length."""
    (tensor,) = (t for t in graph.initializer if t.name == "middle.weight")
    turned = np.ascontiguousarray(numpy_helper.to_array(tensor).transpose(1, 0, 2, 3))
    tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))


def epsilon(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f = 1e-3


def sigmoid(graph):
    [n for n in graph.node if n.op_type == "Relu"][1].op_type = "Sigmoid"


BREAKS = [
    (swap, "Conv", "middle", "Conv2d"),
    (epsilon, "BatchNormalization", "norm", "BatchNorm2d"),
    (sigmoid, "Sigmoid", "", "Small"),
]


def test_a_sound_graph_does_not_depart(plain):
    found = first_departure(plain.program, plain.module, BATCH, plain.path.parent)
    assert not found.found
    assert "nothing departs" in found.what
    assert truth_at(plain.program, plain.module, BATCH, plain.path, found) is None


@pytest.mark.parametrize(("change", "operator", "module", "kind"), BREAKS)
def test_the_broken_node_is_named(plain, tmp_path, change, operator, module, kind):
    folder = broken(plain.path, tmp_path / "b", change)
    found = first_departure(plain.program, plain.module, BATCH, folder)
    assert (found.runtime, found.operator) == (WITHOUT, operator)
    assert (found.module, found.kind) == (module, kind)
    assert found.source.startswith("conftest.py:")
    assert found.relative > found.bound > found.at_inputs
    assert 0 < found.agreed < found.compared == 9
    assert found.others == ()
    assert found.node in found.what


def test_in_chunks_of_one_value_the_answer_is_the_same(plain, tmp_path, monkeypatch):
    folder = broken(plain.path, tmp_path / "b", swap)
    whole = first_departure(plain.program, plain.module, BATCH, folder)
    monkeypatch.setattr(divergence, "CHUNK", 1)
    assert first_departure(plain.program, plain.module, BATCH, folder) == whole


def test_an_optimised_graph_is_compared_where_names_are_left(tmp_path):
    made = Captured(tmp_path, optimize=True)
    folder = broken(made.path, tmp_path / "b", swap)
    found = first_departure(made.program, made.module, BATCH, folder)
    assert (found.node, found.module) == ("node_conv2d_1", "middle")


def test_a_bundle_whose_weights_were_damaged(tmp_path):
    """Nothing of the exporter's own account is left in a bundle's graph: the program has it."""
    from interop.export import graph, weights
    from interop.proof import graph as graphs

    made = Captured(tmp_path)
    state = made.module.state_dict()
    places = weights.write(tmp_path / "model.safetensors", state, {})
    graph.write(made.program.model, made.path, state, places, {}, folds=False)
    assert not any(n.metadata_props for n in graphs.read(made.path).graph.node)
    assert not first_departure(made.program, made.module, BATCH, tmp_path).found
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(places["again.weight"].offset)
        file.write(np.full(20, 3, np.float32).tobytes())
    found = first_departure(made.program, made.module, BATCH, tmp_path)
    assert (found.operator, found.module, found.kind) == ("Conv", "again", "Conv2d")


def test_of_two_defects_the_first_is_named_and_the_other_listed(plain, tmp_path):
    def both(graph):
        swap(graph)
        [n for n in graph.node if n.op_type == "Relu"][2].op_type = "Sigmoid"

    folder = broken(plain.path, tmp_path / "b", both)
    found = first_departure(plain.program, plain.module, BATCH, folder)
    assert found.module == "middle"


@pytest.mark.parametrize(("change", "operator", "module", "kind"), BREAKS)
def test_without_a_captured_program_modules_tell(tmp_path, change, operator, module, kind):
    path = legacy(small(), tmp_path / "legacy.onnx")
    assert not first_departure(None, small(), BATCH, path).found
    found = first_departure(None, small(), BATCH, broken(path, tmp_path / "b", change))
    assert (found.operator, found.module, found.kind) == (operator, module, kind)
    assert ("the code between two modules" in found.what) == (change is sigmoid)
    assert found.relative > found.bound


def test_a_branch_on_the_batch_size_shows_at_the_batch_that_failed(tmp_path):
    module = Branches().eval().requires_grad_(False)
    module.load_state_dict(small().state_dict())
    path = legacy(module, tmp_path / "legacy.onnx")
    assert not first_departure(None, module, BATCH, path).found
    found = first_departure(None, module, {"input": seeded(SHAPE, 7)}, path)
    assert found.kind == "Branches"
    assert "the code between two modules in Branches" in found.what


def test_a_capture_that_kept_one_way_is_told_from_a_wrong_graph(plain):
    module = Branches().eval().requires_grad_(False)
    module.load_state_dict(small().state_dict())
    found = first_departure(plain.program, module, {"input": seeded(SHAPE, 7)}, plain.path)
    assert found.runtime == divergence.CAPTURE
    assert "decides in Python" in found.what
    assert found.kind == "Branches"


def off_when_optimised(path):
    """ONNX Runtime whose optimisation breaks the graph, as another file has it."""

    class Stub(Observed):
        def values(self, names, batch, *, optimised):
            source = Observed(path) if optimised else super()
            return source.values(names, batch, optimised=False)

    return Stub


def test_optimisation_alone_is_told_apart(plain, tmp_path, monkeypatch):
    folder = broken(plain.path, tmp_path / "b", swap)
    monkeypatch.setattr(divergence, "Observed", off_when_optimised(folder / "model.onnx"))
    found = first_departure(plain.program, plain.module, BATCH, plain.path)
    assert (found.runtime, found.node, found.module) == (WITH, "node_conv2d_1", "middle")
    assert "graph optimisation is the cause" in found.what


def test_optimisation_that_shows_in_no_value_is_still_the_cause(plain, tmp_path, monkeypatch):
    folder = broken(plain.path, tmp_path / "b", swap)
    stub = off_when_optimised(folder / "model.onnx")

    class OutputAlone(stub):
        def values(self, names, batch, *, optimised):
            fused = optimised and list(names) == self.outputs
            return super().values(names, batch, optimised=fused)

    monkeypatch.setattr(divergence, "Observed", OutputAlone)
    found = first_departure(plain.program, plain.module, BATCH, plain.path)
    assert not found.found
    assert found.what.startswith("none departs with optimisation off")


class Cancels(Small):
    """Loses its digits: a large number is added and taken away again."""

    def forward(self, x):
        return self.head((self.features(x) + 1e6) - 1e6)


def test_native_float32_may_be_the_one_that_is_off(tmp_path):
    module = Cancels().eval().requires_grad_(False)
    module.load_state_dict(small().state_dict())
    program = torch.onnx.export(
        module, (torch.from_numpy(BATCH["input"]),), dynamo=True, optimize=False, verbose=False
    )
    program.save(tmp_path / "model.onnx", external_data=False)
    found = first_departure(program, module, BATCH, tmp_path)
    assert found.runtime == divergence.NATIVE
    assert found.operator in ("Sub", "Add")
    assert found.source.startswith("test_divergence.py:")


def test_where_onnx_runtime_fails_its_node_is_named(plain, tmp_path):
    def narrow(graph):
        (tensor,) = (t for t in graph.initializer if t.name == "middle.bias")
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32), tensor.name))

    folder = broken(plain.path, tmp_path / "b", narrow)
    found = first_departure(plain.program, plain.module, BATCH, folder)
    assert "it fails" in found.what


def test_a_reproduction_shows_the_departure_with_onnx_runtime_alone(plain, tmp_path):
    folder = broken(plain.path, tmp_path / "b", swap)
    found = first_departure(plain.program, plain.module, BATCH, folder)
    with torch.no_grad():
        native = [plain.module(torch.from_numpy(BATCH["input"])).numpy()]
    truth = truth_at(plain.program, plain.module, BATCH, folder, found)
    target = tmp_path / "kept"
    for _ in range(2):  # the second replaces the first
        files = reproduction.keep(target, folder / "model.onnx", BATCH, native, found, truth=truth)
    assert set(files) == {p.name for p in target.iterdir()}
    assert json.loads((target / "departure.json").read_text())["module"] == "middle"
    assert len((target / "README.txt").read_text().splitlines()) == 5
    code = (
        "import sys; sys.modules['torch'] = sys.modules['interop'] = None; import runpy;"
        f"runpy.run_path({str(target / 'reproduce.py')!r}, run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True
    )
    assert (
        f"observed.onnx, optimisation off: {found.value} is {found.relative:.3e} off" in run.stdout
    )
    assert "model.onnx, optimisation on: output is" in run.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"b", "kept"}


def test_a_reproduction_replaces_nothing_of_somebodys_own(plain, tmp_path):
    found = first_departure(plain.program, plain.module, BATCH, plain.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InteropError, match="no reproduction"):
        reproduction.keep(tmp_path / "mine", plain.path, BATCH, [], found)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
