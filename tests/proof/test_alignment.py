"""Graphs of other tools, broken on purpose: the node and the module that were broken are named."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
import transformers
from onnx import numpy_helper
from torch import nn

from interop.errors import InteropError
from interop.export import routes
from interop.proof.alignment import Search, arrangements, first_departure
from interop.proof.divergence import WITH, WITHOUT
from interop.proof.intermediates_onnx import Observed
from interop.proof.source_values import GraphValues, ModuleValues
from interop.proof.subgraph import write_subgraph

RNG = np.random.default_rng(5)
PICTURES = {"input": RNG.standard_normal((2, 3, 64, 64)).astype(np.float32)}
LEVELS = onnxruntime.GraphOptimizationLevel


class Tokens(nn.Module):
    """A transformer layer of 16 channels."""

    def __init__(self):
        super().__init__()
        self.before = nn.LayerNorm(16)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.after = nn.LayerNorm(16)
        self.up, self.act, self.down = nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)

    def forward(self, x):
        y = self.before(x)
        q, k, v = (
            f(y).unflatten(2, (2, 8)).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + y.transpose(1, 2).flatten(2)
        return x + self.down(self.act(self.up(self.after(x))))


class Resized(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.first(x).relu()
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
        return self.last(x)


def shaken(module):
    """The module with running statistics and offsets that are not zero and one."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.5, 2.0)
                part.weight.data.uniform_(0.5, 1.5)
                part.bias.data.normal_(0, 0.2)
    return module.eval().requires_grad_(False)


def made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return shaken(kind())


def export(module, batch, path, dynamo):
    given = tuple(torch.from_numpy(a) for a in batch.values())
    with routes._quiet():
        if dynamo:
            shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in given)
            program = torch.onnx.export(module, given, dynamo=True, dynamic_shapes=shapes,
                                        input_names=list(batch), verbose=False)  # fmt: skip
            program.save(path, external_data=False)
        else:
            torch.onnx.export(module, given, str(path), dynamo=False, input_names=list(batch),
                              dynamic_axes={n: {0: "batch"} for n in batch})  # fmt: skip
    model = onnx.load(path)
    for i, node in enumerate(model.graph.node):  # another tool's names
        node.name = f"n{i}"
        del node.metadata_props[:]
    onnx.save(model, path)
    return path


def optimised(path, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    target = path.with_name(f"{path.stem}-{level.name}.onnx")
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return target


class Made:
    """A module, its batch, its answers and the graphs made of it."""

    def __init__(self, folder, kind, batch, ways=("dynamo", "legacy")):
        self.module, self.batch = made(kind), batch
        self.source = ModuleValues(self.module)
        with torch.no_grad():
            answer = self.module(*(torch.from_numpy(a) for a in batch.values()))
        self.outputs = [answer.numpy()]
        folder.mkdir(exist_ok=True)
        self.graphs = {}
        for way in ways:
            path = export(self.module, batch, folder / f"{way}.onnx", way == "dynamo")
            self.graphs[way] = path
            self.graphs[f"{way} extended"] = optimised(path, LEVELS.ORT_ENABLE_EXTENDED)
            self.graphs[f"{way} all"] = optimised(path, LEVELS.ORT_ENABLE_ALL)

    def find(self, graph):
        return first_departure(self.source, graph, self.batch, self.outputs)


WAYS = [f"{w}{o}" for w in ("dynamo", "legacy") for o in ("", " extended", " all")]


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("r"), lambda: torchvision.models.resnet18(), PICTURES)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    batch = {"x": RNG.standard_normal((2, 5, 16)).astype(np.float32)}
    return Made(tmp_path_factory.mktemp("t"), Tokens, batch)


@pytest.fixture(scope="module")
def resized(tmp_path_factory):
    batch = {"x": RNG.standard_normal((2, 3, 9, 9)).astype(np.float32)}
    return Made(tmp_path_factory.mktemp("s"), Resized, batch)


def broken(path, target, change):
    """A copy of a graph that `change` was let loose on; it gives the name of the broken node."""
    model = onnx.load(path)
    node = change(model.graph)
    onnx.save(model, target)
    return target, node.name or node.output[0]


def nodes(graph, *operators):
    return [n for n in graph.node if n.op_type in operators]


def weight(graph, name):
    return next(t for t in graph.initializer if t.name == name)


def change_weight(graph, name, change):
    tensor = weight(graph, name)
    array = np.ascontiguousarray(change(numpy_helper.to_array(tensor)))
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def bias_dropped(graph):
    """Of layer2.0.conv1: the one convolution from 64 to 128 channels with a kernel of 3."""
    convolutions = nodes(graph, "Conv", "FusedConv")
    node = next(n for n in convolutions if weight(graph, n.input[1]).dims == [128, 64, 3, 3])
    change_weight(graph, node.input[2], np.zeros_like)
    return node


@pytest.mark.parametrize("way", WAYS)
def test_a_right_graph_does_not_depart(resnet, tokens, way):
    for m in (resnet, tokens):
        found = m.find(m.graphs[way])
        assert not found.found, found.what
        assert "nothing departs" in found.what


@pytest.mark.parametrize("way", WAYS)
def test_a_bias_that_was_dropped(resnet, tmp_path, way):
    graph, node = broken(resnet.graphs[way], tmp_path / "b.onnx", bias_dropped)
    found = resnet.find(graph)
    assert (found.runtime, found.node) == (WITHOUT, node)
    assert found.module.startswith("layer2.0.") and found.module.endswith(("conv1", "bn1"))
    assert found.relative > found.bound > found.at_inputs


def epsilon(graph):
    node = nodes(graph, "LayerNormalization")[1]
    next(a for a in node.attribute if a.name == "epsilon").f = 1e-1
    return node


def leaky(graph):
    node = nodes(graph, "Relu")[5]
    node.op_type = "LeakyRelu"
    node.attribute.append(onnx.helper.make_attribute("alpha", 0.2))
    return node


def transposed(graph):
    """A square matrix: the query's."""
    query = made(Tokens).query.weight.numpy()
    for node in nodes(graph, "MatMul", "Gemm", "FusedMatMul"):
        square = [t for t in graph.initializer if t.name == node.input[1] and len(t.dims) == 2]
        for array in map(numpy_helper.to_array, square):
            if array.shape == query.shape and any(np.allclose(array, q) for q in (query, query.T)):
                change_weight(graph, node.input[1], np.transpose)
                return node
    raise AssertionError


def padded(graph):
    """More rows and columns in layer1.0.conv1, so that the sum behind it fails."""
    node = nodes(graph, "Conv")[1]
    next(a for a in node.attribute if a.name == "pads").ints[:] = [2, 2, 2, 2]
    return node


def stopped(graph):
    """As wrong, and it runs: the last convolution's borders."""
    node = nodes(graph, "Conv")[0]
    next(a for a in node.attribute if a.name == "pads").ints[:] = [4, 4, 2, 2]
    return node


def softmax(graph):
    (end,) = graph.output
    node = graph.node.add(op_type="Softmax", name="more", input=[end.name], output=["probability"])
    end.name = "probability"
    return node


def swapped(graph):
    """The weights of two convolutions of one shape, layer1.0's."""
    first, second = nodes(graph, "Conv")[1:3]
    first.input[1], second.input[1] = second.input[1], first.input[1]
    return first


def mode(graph):
    (node,) = nodes(graph, "Resize")
    next(a for a in node.attribute if a.name == "mode").s = b"nearest"
    return node


@pytest.mark.parametrize(
    ("way", "change", "module"),
    [
        ("legacy", leaky, "layer2.0.relu"),
        ("legacy", padded, "layer1.0.conv1"),
        ("dynamo", stopped, "conv1"),
        ("dynamo", softmax, ""),
        ("legacy", swapped, "layer1.0.conv1"),
    ],
)
def test_faults_of_a_residual_network(resnet, tmp_path, way, change, module):
    graph, node = broken(resnet.graphs[way], tmp_path / "b.onnx", change)
    check(resnet, graph, node, module, tmp_path / "kept")


def narrow(graph):
    """A weight that the convolution does not take: no node behind it runs."""
    node = nodes(graph, "Conv")[3]
    change_weight(graph, node.input[2], lambda a: a[:5])
    return node


def not_numbers(graph):
    node = nodes(graph, "Conv")[3]
    change_weight(graph, node.input[2], lambda a: np.full_like(a, np.nan))
    return node


@pytest.mark.parametrize("change", [narrow, not_numbers])
def test_a_node_that_fails_or_gives_no_numbers(resnet, tmp_path, change):
    def unnamed(graph):
        node = change(graph)
        for n in graph.node:
            n.name = ""
        return node

    graph, node = broken(resnet.graphs["legacy"], tmp_path / "b.onnx", unnamed)
    found = check(resnet, graph, node, "layer1.1.conv1", tmp_path / "kept")
    assert ("it fails" in found.what) == (change is narrow)
    assert found.relative == np.inf


@pytest.mark.parametrize("way", ["dynamo", "legacy", "dynamo extended", "legacy extended"])
@pytest.mark.parametrize(("change", "module"), [(epsilon, "after"), (transposed, "query")])
def test_faults_of_a_transformer(tokens, tmp_path, way, change, module):
    if change is epsilon and "extended" in way:
        pytest.skip("the optimiser fused it")
    graph, node = broken(tokens.graphs[way], tmp_path / "b.onnx", change)
    check(tokens, graph, node, module, tmp_path / "kept")


@pytest.mark.parametrize("way", ["dynamo", "legacy"])
def test_a_resize_of_another_mode(resized, tmp_path, way):
    graph, node = broken(resized.graphs[way], tmp_path / "b.onnx", mode)
    check(resized, graph, node, "", tmp_path / "kept", kind="Resized")


@pytest.mark.parametrize("way", ["dynamo extended", "legacy all"])
def test_two_graphs_before_and_after_an_optimiser(resnet, tmp_path, way):
    source = GraphValues(resnet.graphs[way.split()[0]])
    right = first_departure(source, resnet.graphs[way], PICTURES, resnet.outputs)
    assert not right.found
    graph, node = broken(resnet.graphs[way], tmp_path / "b.onnx", bias_dropped)
    found = first_departure(source, graph, PICTURES, resnet.outputs)
    assert (found.node, found.kind) == (node, "Conv")
    assert found.module.startswith("n")  # the node's name in the graph that it was made from


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=48, max_position_embeddings=16,
        )  # fmt: skip
        self.bert = transformers.BertModel(config)

    def forward(self, tokens, mask):
        return self.bert(tokens, mask).last_hidden_state


def late_epsilon(graph):
    operators = ("LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization")
    node = nodes(graph, *operators)[2]  # of the embeddings, of attention, of the first layer
    next(a for a in node.attribute if a.name == "epsilon").f = 1e-1
    return node


def test_a_language_model(tmp_path):
    mask = np.ones((2, 7), np.int64)
    mask[1, 4:] = 0
    batch = {"tokens": RNG.integers(0, 50, (2, 7)), "mask": mask}
    bert = Made(tmp_path / "m", Bert, batch, ways=("dynamo",))
    for way in bert.graphs:
        assert not bert.find(bert.graphs[way]).found
        graph, node = broken(bert.graphs[way], tmp_path / "b.onnx", late_epsilon)
        # The optimiser's node adds as well.
        fused = node.startswith("Skip") or "Skip" in node
        module = f"bert.encoder.layer.0.output{'' if fused else '.LayerNorm'}"
        check(bert, graph, node, module, tmp_path / "kept" if way.endswith("all") else None)


def test_optimisation_alone_is_told_apart(tokens, tmp_path, monkeypatch):
    path, node = broken(tokens.graphs["dynamo"], tmp_path / "b.onnx", epsilon)
    values = Observed.values

    def fused(self, names, batch, *, optimised):
        source = Observed(path) if optimised else self
        return values(source, names, batch, optimised=False)

    monkeypatch.setattr(Observed, "values", fused)
    found = tokens.find(tokens.graphs["dynamo"])
    assert (found.runtime, found.node, found.module) == (WITH, node, "after")


def test_values_in_another_layout_match(tmp_path):
    """A graph that computes with channels last."""
    weight = RNG.standard_normal((4, 3)).astype(np.float32)
    x = RNG.standard_normal((2, 3, 5, 5)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        onnx.helper.make_node("MatMul", ["last", "w"], ["y"]),
        onnx.helper.make_node("Sigmoid", ["y"], ["z"]),
        onnx.helper.make_node("Transpose", ["z"], ["out"], perm=[0, 3, 1, 2]),
    ]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", 1, x.shape)], [info("out", 1, (2, 4, 5, 5))],
        [numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "g.onnx")
    convolution = nn.Conv2d(3, 4, 1, bias=False)
    convolution.weight.data = torch.from_numpy(weight)[:, :, None, None]
    module = nn.Sequential(convolution, nn.Tanh()).eval()
    with torch.no_grad():
        outputs = [module(torch.from_numpy(x)).numpy()]
    search = Search(ModuleValues(module), tmp_path / "g.onnx", {"x": x}, outputs)
    found = search.find()
    assert (found.node, found.operator, found.module) == ("z", "Sigmoid", "1")
    np.testing.assert_allclose(search.pair.right.transpose(0, 3, 1, 2), outputs[0], atol=1e-6)


def test_arrangements_find_transposed_and_blocked_channels():
    array = RNG.standard_normal((2, 8, 3, 3))
    for other in (
        array.transpose(0, 2, 3, 1), array.reshape(2, 8, 9).transpose(2, 0, 1),
        array.reshape(2, 2, 4, 3, 3).transpose(0, 1, 3, 4, 2).reshape(array.shape),
    ):  # fmt: skip
        assert any(np.array_equal(a, other) for a in arrangements(array, other.shape))
    shuffled = RNG.permutation(array.ravel()).reshape(array.shape)
    assert not any(np.array_equal(a, shuffled) for a in arrangements(array, array.shape))


def test_nothing_is_written_for_a_right_graph(tokens, tmp_path):
    graph = tokens.graphs["dynamo"]
    found = tokens.find(graph)
    with pytest.raises(InteropError, match="no node departs"):
        write_subgraph(tmp_path / "k", tokens.source, graph, tokens.batch, tokens.outputs, found)
    assert not (tmp_path / "k").exists()


def check(made, graph, node, module, folder, kind=None):
    """The right node and module are named; the folder, if there is one, shows the fault alone."""
    found = made.find(graph)
    assert (found.node, found.module) == (node, module), found.what
    assert kind is None or found.kind == kind
    if folder is None:
        return found
    files = write_subgraph(folder, made.source, graph, made.batch, made.outputs, found)
    assert files.keys() == {p.name for p in folder.iterdir()}
    account = json.loads((folder / "departure.json").read_text())
    assert account["node"] == node and node in account["subgraph"]["nodes"]
    assert len(account["subgraph"]["nodes"]) <= 3
    assert account["subgraph"]["rows"] == 1
    code = (
        "import sys; sys.modules['torch'] = sys.modules['interop'] = None; import runpy;"
        f"runpy.run_path({str(folder / 'reproduce.py')!r}, run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "differs by" in run.stdout or "fails" in run.stdout, run.stderr
    return found
