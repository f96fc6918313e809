"""The module that a checkpoint is of is built, or the person is asked; it is never guessed."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import get_model, resnet34
from torchvision.models.resnet import BasicBlock, ResNet

from interop.errors import ModelError
from interop.facts import Architecture
from interop.identity import identify
from interop.models import build, call_by_path, load
from interop.reading import read

OWN = """
import torch
from torch import nn
import beside

def own_head():
    return nn.Sequential(nn.Dropout(0.2), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10))

def needs(argument):
    return argument

def exits():
    print("leaving")
    raise SystemExit(7)

def breaks():
    raise KeyError("hidden size")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(beside.WIDTH, 2)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(OWN)
    (tmp_path / "beside.py").write_text("WIDTH = 7\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own_models.py"


def of(path):
    return identify(read(path))


@pytest.mark.parametrize(("name", "outputs"), [("base", 5), ("shufflenet", 10), ("squeezenet", 10)])
def test_a_fixture_becomes_its_module(digits, name, outputs):
    identity = of(digits / f"{name}.pth")
    module = build(identity)
    assert not module.training
    assert load(module, identity).holds
    with torch.inference_mode():
        assert module(torch.zeros(2, 3, 64, 64)).shape == (2, outputs)


@pytest.mark.parametrize(
    ("name", "path", "layer"),
    [
        ("mobilenet_v3_small", "classifier", nn.Linear(576, 4)),
        ("resnet34", "fc", nn.Linear(512, 3, bias=False)),
        ("squeezenet1_1", "classifier.1", nn.Conv2d(512, 6, 1)),
        ("googlenet", "fc", nn.Linear(1024, 3)),
    ],
)
def test_a_head_of_one_layer_is_put_where_the_file_has_it(tmp_path, name, path, layer):
    from torchvision.models import get_model

    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    module = get_model(name, weights=None, **options)
    module.set_submodule(path, layer)
    torch.save(module.state_dict(), tmp_path / "a.pth")
    identity = of(tmp_path / "a.pth")
    again = build(identity)
    assert load(again, identity).holds
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(module.eval()(x), again(x))


def test_random_numbers_are_not_drawn_for_weights_that_the_file_has(digits):
    identity = of(digits / "shufflenet.pth")
    before = torch.random.get_rng_state()
    build(identity)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert nn.Linear(50, 50).weight.std().item() > 0.01  # nn.init works again afterwards


def test_a_head_of_several_layers_is_asked_for(derived, own):
    identity = of(derived / "mlp-head.pth")
    with pytest.raises(ModelError, match="several layers") as error:
        build(identity)
    assert "--head" in error.value.fix
    module = build(identity, head="own_models:own_head")
    assert load(module, identity).holds
    assert isinstance(module.fc[2], nn.ReLU)
    assert not module.fc[0].training


def test_a_class_of_somebodys_own_comes_in_by_file_or_by_module(own):
    assert isinstance(call_by_path("own_models:Net"), nn.Module)
    assert isinstance(call_by_path(f"{own}:Net"), nn.Module)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("own_models", "does not name a callable"),
        ("absent_module:Net", "ModuleNotFoundError"),
        ("absent.py:Net", "no such file"),
        ("own_models:Absent", "AttributeError"),
        ("own_models:needs", "TypeError: missing a required argument"),
        ("own_models:breaks", "KeyError: 'hidden size'"),
        ("own_models:exits", "SystemExit: 7"),
    ],
)
def test_a_wrong_reference_is_one_clear_error(own, capsys, reference, said):
    with pytest.raises(ModelError, match=said) as error:
        call_by_path(reference)
    assert error.value.fix
    assert capsys.readouterr().out == ""


def test_what_a_persons_code_prints_stays_off_stdout(own, capsys):
    own.with_name("talks.py").write_text("print('import')\ndef make():\n    print('call')\n")
    call_by_path("talks:make")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "import\ncall\n")


def test_a_factory_must_give_a_module(digits, own):
    with pytest.raises(ModelError, match=r"gave dict, no torch\.nn\.Module"):
        build(of(digits / "autoencoder.pth"), factory="builtins:dict")


def test_what_is_not_known_is_asked_for(digits):
    unknown = of(digits / "autoencoder.pth")
    with pytest.raises(ModelError, match="architecture is unknown") as error:
        build(unknown)
    assert "--arch library/name" in error.value.fix and "--model" in error.value.fix
    identity = of(digits / "shufflenet.pth")
    two = (Architecture("torchvision/a", ""), Architecture("torchvision/b", ""))
    with pytest.raises(ModelError, match="several architectures") as error:
        build(replace(identity, architectures=two))
    assert "--arch" in error.value.fix
    for name, said in (("keras/resnet18", "not built here"), ("torchvision/nonesuch", "has no")):
        with pytest.raises(ModelError, match=said):
            build(replace(identity, architectures=(Architecture(name, ""),)))
    with pytest.raises(ModelError, match="without a head"):
        build(replace(identity, head=None))
    elsewhere = replace(identity.head, path="fc.1")
    with pytest.raises(ModelError, match=r"lies at fc\.1"):
        build(replace(identity, head=elsewhere))


class Doubled(ResNet):
    """A ResNet-34 by its weights, and another one by its forward."""

    def forward(self, x):
        return super().forward(x) * 2


def doubled():
    return Doubled(BasicBlock, [3, 4, 6, 3], num_classes=3)


@pytest.mark.parametrize("make", [doubled, lambda: resnet34(num_classes=3)])
@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"model": module}])
def test_a_pickled_module_is_not_taken_for_the_librarys(tmp_path, make, wrap):
    torch.save(wrap(make()), tmp_path / "whole.pth")
    identity = of(tmp_path / "whole.pth")
    assert identity.architecture == "torchvision/resnet34"
    with pytest.raises(ModelError, match="whole pickled module") as error:
        build(identity)
    assert "--model" in error.value.fix
    assert "\n" not in str(error.value)
    module = build(identity, factory=f"{__file__}:doubled")
    assert load(module, identity).holds


def test_a_torchscript_program_is_not_taken_for_the_librarys(digits):
    identity = of(digits / "shufflenet.pth")
    script = replace(identity, manifest=replace(identity.manifest, container="torchscript"))
    with pytest.raises(ModelError, match="TorchScript program") as error:
        build(script)
    assert "--model" in error.value.fix


def test_settings_beside_a_state_dict_are_no_module(tmp_path):
    state = resnet34(num_classes=3).state_dict()
    beside = {"args": Namespace(lr=0.1), "criterion": nn.CrossEntropyLoss(), "act": nn.ReLU}
    torch.save({"state_dict": state, **beside}, tmp_path / "a.pth")
    identity = of(tmp_path / "a.pth")
    assert load(build(identity), identity).holds


@pytest.mark.parametrize(
    ("name", "side"), [("googlenet", "aux1.fc2"), ("inception_v3", "AuxLogits.fc")]
)
def test_side_branches_keep_the_width_that_the_file_has(tmp_path, name, side):
    with torch.device("meta"):
        module = get_model(name, weights=None, init_weights=False)
    module = module.to_empty(device="cpu")
    for tensor in module.state_dict().values():
        tensor.zero_()
    module.fc = nn.Linear(module.fc.in_features, 4)
    torch.save(module.state_dict(), tmp_path / "a.pth")
    identity = of(tmp_path / "a.pth")
    built = build(identity)
    assert built.get_submodule(side).out_features == 1000
    proof = load(built, identity)
    assert proof.holds, proof.what
    assert proof.facts["module_fraction"] == 1
