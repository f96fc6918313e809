"""From a graph back to the state dict that it came of: exactly, or not at all."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.torch import load_file

from fixtures.make import DIGITS, LABELS
from interop.errors import InteropError, ModelError
from interop.export import routes
from interop.export.from_onnx import match, restore
from interop.export.from_onnx.restore import restore_file
from interop.facts import Answer
from interop.identity import identify_file
from interop.models import build, load
from tests.proof.conftest import SHAPE, small

ARCH = "torchvision/shufflenet_v2_x0_5"
PRESERVE = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
FACTORY = '''
import timm, torch
from torch import nn

def vit():
    return timm.create_model("test_vit", num_classes=5)

class Swapped(nn.Module):
    """Defines its layers in another order than it uses them."""
    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(1, 8)
        self.second, self.first = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.second(self.first(x).relu())

class Ordered(Swapped):
    def __init__(self):
        super().__init__()
        del self.second, self.first
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
'''


def module_of(name):
    identity = identify_file(DIGITS / f"{name}.pth")
    module = build(identity)
    load(module, identity)
    return module


def exported(module, path, example, **options):
    with routes._quiet():
        if options.get("dynamo"):
            torch.onnx.export(
                module, (example,), dynamo=True, optimize=options["optimize"], verbose=False,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            ).save(path)  # fmt: skip
        else:
            torch.onnx.export(
                module, (example,), str(path), input_names=["x"], verbose=False,
                dynamic_axes={"x": {0: "batch"}}, **options,
            )  # fmt: skip
    return path


def nameless(source, path):
    """A graph whose weights and nodes say nothing of where they come from."""
    model = onnx.load(source)
    new = {t.name: f"w{i}" for i, t in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = new[tensor.name]
    for node in model.graph.node:
        node.name = ""
        del node.metadata_props[:]
        node.input[:] = [new.get(n, n) for n in node.input]
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def equal(file, state):
    found = load_file(file)
    counters = {n for n in state if n.endswith("num_batches_tracked")}
    assert found.keys() == state.keys()
    return all(torch.equal(found[n], state[n]) for n in state if n not in counters)


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    path = tmp_path_factory.mktemp("code") / "code.py"
    path.write_text(FACTORY)
    return str(path)


@pytest.fixture(scope="module")
def vit(factory):
    """A small vision transformer: fresh norms are all alike, its head's bias is zero."""
    from interop.models import call_by_path

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = call_by_path(f"{factory}:vit").eval().requires_grad_(False)
        for name, tensor in module.named_parameters():
            if "norm" not in name and name != "head.bias":
                tensor.add_(torch.randn_like(tensor) * 0.02)
    return module


# ---------------------------------------------------------------- what can be recovered


def test_our_own_bundle_goes_back_whole(bundle, tmp_path):
    out = tmp_path / "back.safetensors"
    report = restore_file(identify_file(bundle.folder / "model.onnx"), out)
    assert report.outcome is Answer.YES
    assert [p.name for p in report.proofs] == list(restore.PROOFS)
    assert all(p.holds for p in report.proofs)
    assert report.details.arch == ARCH
    assert report.details.steps == {"name": 282, "built by the architecture": 56}
    assert equal(out, module_of("shufflenet").state_dict())
    with safe_open(out, "pt") as file:
        header = file.metadata()
    assert header["arch"] == ARCH
    assert header.keys() == {"format", "arch", "labels", "preprocess"}
    found = identify_file(out)
    assert found.labels.names == LABELS
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_an_embedded_graph_needs_no_other_file(bundle, tmp_path):
    model = onnx.load(bundle.folder / "model.onnx")
    onnx.save(model, tmp_path / "one.onnx")
    report = restore_file(identify_file(tmp_path / "one.onnx"), tmp_path / "back.safetensors")
    assert report.outcome is Answer.YES
    assert equal(tmp_path / "back.safetensors", module_of("shufflenet").state_dict())


def test_a_legacy_graph_that_keeps_its_normalisation(tmp_path):
    module = module_of("shufflenet")
    path = exported(module, tmp_path / "a.onnx", torch.zeros(2, 3, 64, 64), dynamo=False,
                    **PRESERVE)  # fmt: skip
    # Of this architecture by its names and shapes alone.
    report = restore_file(identify_file(path), tmp_path / "back.safetensors")
    assert report.outcome is Answer.YES
    assert equal(tmp_path / "back.safetensors", module.state_dict())


def test_a_model_without_normalisation_to_fold(tmp_path):
    module = module_of("squeezenet")
    path = exported(module, tmp_path / "a.onnx", torch.zeros(2, 3, 64, 64), dynamo=False)
    report = restore_file(identify_file(path), tmp_path / "b.safetensors", arch="SqueezeNet1_1")
    assert report.outcome is Answer.YES
    assert report.details.arch == "torchvision/squeezenet1_1"
    assert equal(tmp_path / "b.safetensors", module.state_dict())


@pytest.mark.parametrize("options", [{"dynamo": True, "optimize": True}, {"dynamo": False}])
def test_weights_that_were_turned_round_and_lost_their_names(tmp_path, vit, factory, options):
    path = exported(vit, tmp_path / "a.onnx", torch.zeros(2, 3, 160, 160), **options)
    out = tmp_path / "b.safetensors"
    report = restore_file(identify_file(path), out, factory=f"{factory}:vit")
    assert report.outcome is Answer.YES
    assert report.proofs[1].facts["transposed"] == 24
    assert report.proofs[1].facts["steps"][match.BY_SCOPE] >= 24
    assert equal(out, vit.state_dict())
    # Of several equal weights one is kept, and the optimiser leaves a bias of zeros out.
    assert len(onnx.load(path).graph.initializer) < len(vit.state_dict())
    assert report.details.steps.get(match.ZEROS, 0) == int(options["dynamo"])


def test_without_any_name_shapes_and_order_tell_and_the_proof_decides(bundle, tmp_path):
    path = nameless(bundle.folder / "model.onnx", tmp_path / "a.onnx")
    out = tmp_path / "b.safetensors"
    report = restore_file(identify_file(path), out, arch=ARCH)
    assert report.outcome is Answer.YES
    steps = report.details.steps
    assert match.BY_NAME not in steps
    assert steps[match.BY_ORDER] > 200
    assert equal(out, module_of("shufflenet").state_dict())


def nameless_pair(factory, tmp_path, name):
    from interop.models import call_by_path

    module = call_by_path(f"{factory}:{name}").eval().requires_grad_(False)
    path = exported(module, tmp_path / "named.onnx", torch.zeros(2, 8), dynamo=False)
    return module, nameless(path, tmp_path / "a.onnx")


def test_a_wrong_order_is_found_out_and_nothing_is_written(factory, tmp_path):
    _, path = nameless_pair(factory, tmp_path, "Swapped")
    out = tmp_path / "b.safetensors"
    report = restore_file(identify_file(path), out, factory=f"{factory}:Swapped")
    assert report.outcome is Answer.NO
    assert [p.name for p in report.proofs if not p.holds] == ["parity"]
    assert [s.rule for s in report.skipped] == ["canary"]
    assert {p.name for p in tmp_path.iterdir()} == {"named.onnx", "a.onnx"}


def test_a_right_order_is_not(factory, tmp_path):
    module, path = nameless_pair(factory, tmp_path, "Ordered")
    out = tmp_path / "b.safetensors"
    report = restore_file(identify_file(path), out, factory=f"{factory}:Ordered")
    assert report.outcome is Answer.YES
    assert equal(out, module.state_dict())
    before = out.read_bytes()
    restore_file(identify_file(path), out, factory=f"{factory}:Ordered", force=True)
    assert out.read_bytes() == before


class Token(torch.nn.Module):
    """Puts a learned token before what it is given."""

    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.arange(4.0).reshape(1, 1, 4))
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(torch.cat((self.token.expand(len(x), -1, -1), x), 1))


def test_a_token_that_a_fixed_batch_repeats(tmp_path):
    module = Token().eval()
    with routes._quiet():
        torch.onnx.export(module, (torch.zeros(3, 2, 4),), str(tmp_path / "a.onnx"), dynamo=True)
    made = restore.restore(
        identify_file(tmp_path / "a.onnx"), factory="tests.export.test_from_onnx:Token"
    )
    assert made.found["token"].step == match.REPEATED
    torch.testing.assert_close(made.state["token"], module.token.data, rtol=0, atol=0)


# ---------------------------------------------------------------- what cannot


def test_folded_normalisation_is_refused_with_what_keeps_it(tmp_path):
    module = module_of("shufflenet")
    path = exported(module, tmp_path / "a.onnx", torch.zeros(2, 3, 64, 64), dynamo=False)
    with pytest.raises(ModelError, match="56 of 56 batch normalisations") as refused:
        restore_file(identify_file(path), tmp_path / "b.safetensors", arch=ARCH)
    assert "TrainingMode.PRESERVE" in refused.value.fix
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_folded_under_the_old_name_is_refused_too(tmp_path):
    path = exported(small(), tmp_path / "a.onnx", torch.zeros(2, *SHAPE), dynamo=True,
                    optimize=True)  # fmt: skip
    assert "first.weight" in {t.name for t in onnx.load(path).graph.initializer}
    with pytest.raises(ModelError, match="1 of 1 batch normalisations"):
        restore.restore(identify_file(path), factory="tests.proof.conftest:small")


def test_another_architecture_is_refused(bundle, tmp_path):
    graph = identify_file(bundle.folder / "model.onnx")
    with pytest.raises(ModelError, match="of torchvision/alexnet are not in the graph"):
        restore_file(graph, tmp_path / "b.safetensors", arch="alexnet")
    with pytest.raises(ModelError, match="names no architecture"):
        restore_file(graph, tmp_path / "b.safetensors", arch="nonesuch")


def test_an_architecture_that_nothing_tells_is_asked_for(bundle, tmp_path):
    path = nameless(bundle.folder / "model.onnx", tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="no file says") as refused:
        restore_file(identify_file(path), tmp_path / "b.safetensors")
    assert "--arch" in refused.value.fix
    (tmp_path / "config.json").write_text(f'{{"arch": "{ARCH}"}}')
    assert restore.restore(identify_file(path)).evidence == "config.json"


def test_a_quantised_graph_is_refused(bundle, tmp_path):
    model = onnx.load(bundle.folder / "model.onnx")
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    zero = numpy_helper.from_array(np.uint8(0), "zero")
    model.graph.initializer.extend([scale, zero])
    first = model.graph.node[0]
    taken = model.graph.input[0].name
    quantise = onnx.helper.make_node("QuantizeLinear", [taken, "scale", "zero"], ["q"])
    back = onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"])
    nodes = [quantise, back, first, *model.graph.node[1:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="is quantised"):
        restore_file(identify_file(tmp_path / "a.onnx"), tmp_path / "b.safetensors", arch=ARCH)


def test_what_is_no_graph_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no ONNX graph"):
        restore_file(identify_file(DIGITS / "shufflenet.pth"), tmp_path / "b.safetensors")


def test_nothing_is_overwritten_unasked(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.folder, folder)
    graph = identify_file(folder / "model.onnx")
    with pytest.raises(InteropError, match="belongs to the bundle"):
        restore_file(graph, folder / "model.safetensors", force=True)
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InteropError, match="exists"):
        restore_file(graph, tmp_path / "taken")
    with pytest.raises(InteropError, match="is a folder"):
        restore_file(graph, folder)
    assert (tmp_path / "taken").read_text() == "mine"
