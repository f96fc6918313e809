"""The classes of a whole pickled module say which of several architectures it is."""

import pytest

from interop.facts import Architecture, HeadInput, ModuleSpec
from interop.identity import describe, identify_file
from interop.identity.index.match import Match
from interop.identity.module_classes import narrowed

RESNETS = (
    Architecture(
        "torchvision/resnet18", "", 1.0, ("torchvision/quantized_resnet18", "timm/resnet18")
    ),
    Architecture("timm/resnetblur18", ""),
)
NETS = (
    Architecture("timm/efficientnet_b0", ""),
    Architecture("timm/tf_efficientnet_b0", ""),
    Architecture("timm/efficientnet_blur_b0", ""),
)


def fit(architectures, *types):
    tree = tuple(ModuleSpec(str(i) if i else "", kind) for i, kind in enumerate(types))
    match = Match(architectures, "anti-aliasing", "", (), HeadInput.UNKNOWN, ())
    found = narrowed(match, tree)
    return [a.name for a in found.architectures], found.apart


@pytest.mark.parametrize("architectures, types, name", [
    (RESNETS, ["torchvision.models.resnet.ResNet"], "torchvision/resnet18"),
    (RESNETS, ["torchvision.models.quantization.resnet.QuantizableResNet"],
     "torchvision/quantized_resnet18"),
    (RESNETS, ["timm.models.resnet.ResNet"], "timm/resnet18"),
    (RESNETS, ["timm.models.resnet.ResNet", "timm.layers.blur_pool.BlurPool2d"],
     "timm/resnetblur18"),
    (RESNETS, ["torch.nn.parallel.data_parallel.DataParallel", "timm.models.resnet.ResNet"],
     "timm/resnet18"),
    (NETS, ["timm.models.efficientnet.EfficientNet"], "timm/efficientnet_b0"),
    (NETS, ["timm.models.efficientnet.EfficientNet", "timm.layers.conv2d_same.Conv2dSame"],
     "timm/tf_efficientnet_b0"),
    (NETS, ["timm.models.efficientnet.EfficientNet", "timm.layers.blur_pool.BlurPool2d"],
     "timm/efficientnet_blur_b0"),
])  # fmt: skip
def test_classes_leave_one(architectures, types, name):
    assert fit(architectures, *types) == ([name], "")


@pytest.mark.parametrize("types", [[], ["somebody.Net"], ["transformers.models.bert.X"]])
def test_what_they_do_not_know_stays_open(types):
    names = ["torchvision/resnet18", "timm/resnetblur18"]
    assert fit(RESNETS, *types) == (names, "anti-aliasing")


@pytest.mark.parametrize("name, kind, modules", [
    ("torchvision-0.13-resnet18", "torchvision.models.resnet.ResNet", 68),
    ("timm-0.9-lcnet_035", "timm.models.mobilenetv3.MobileNetV3", 170),
])  # fmt: skip
def test_the_tree_is_read_without_the_library(name, kind, modules, older):
    identity = identify_file(older / f"{name}.pth")
    assert identity.architecture and identity.architecture.endswith(name.rpartition("-")[2])
    assert identity.ambiguity == "" and identity.state is not None
    tree = {spec.path: spec for spec in identity.state.tree}
    assert tree[""].type == kind
    shown = describe.facts(identity)["pickled_module"]
    assert shown["type"] == kind and shown["modules"] == len(tree) == modules
    assert sum(shown["classes"].values()) == modules


def test_scalars_of_a_layer_are_read(older):
    tree = identify_file(older / "torchvision-0.13-resnet18.pth").state.tree
    norm = next(spec for spec in tree if spec.path == "layer1.0.bn1")
    assert norm.type == "torch.nn.modules.batchnorm.BatchNorm2d" and norm.scalars["eps"] == 1e-5
    conv = next(spec for spec in tree if spec.path == "conv1")
    assert conv.scalars["stride"] == [2, 2]


def test_inspect_shows_it(interop, older):
    shown = interop("inspect", older / "torchvision-0.13-resnet18.pth").stdout
    assert "module         torchvision.models.resnet.ResNet (68 modules: 20 Conv2d" in shown
    assert "several" not in shown and "or " not in shown.partition("confidence")[0]
