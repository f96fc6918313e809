"""torchvision's classifiers are known from a bare state dict, whatever became of the head."""

from __future__ import annotations

import json

import pytest

from interop.facts import TensorSpec
from interop.identity import head, index
from interop.models.build_index import build_index, state_dict_shapes

NAMES = [name.partition("/")[2] for name in json.loads(index.STORED.read_text())["architectures"]]
Shapes = dict[str, tuple[int, ...]]


def specs(shapes: Shapes) -> list[TensorSpec]:
    return [TensorSpec(name, "float32", shape) for name, shape in shapes.items()]


def without_head(shapes: Shapes, path: str) -> Shapes:
    return {k: v for k, v in shapes.items() if not head.under(k, path)}


@pytest.mark.parametrize("name", NAMES)
def test_each_architecture_is_named_whatever_its_head(name: str) -> None:
    shapes, stored = state_dict_shapes(name), index.load()
    full = f"torchvision/{name}"
    path = stored.heads[full]
    width = shapes[f"{path}.weight"][1]
    body = without_head(shapes, path)
    tail = shapes[f"{path}.weight"][2:]
    seven = {f"{path}.weight": (7, width, *tail), f"{path}.bias": (7,)}
    deep = {f"{path}.1.weight": (7, width), f"{path}.1.bias": (7,)}
    for case, given, at, outputs, kind in (
        ("as it is", shapes, path, 1000, ("linear", "conv1x1")),
        ("other classes", {**body, **seven}, path, 7, ("linear", "conv1x1")),
        ("wrapped", {**body, **deep}, path, 7, ("several layers",)),
        ("removed", body, path, 0, ("removed",)),
        ("sorted", dict(sorted({**body, **seven}.items())), path, 7, ("linear", "conv1x1")),
    ):
        match = index.find(specs(given), stored)
        assert match is not None, case
        assert (match.names, match.head_path) == ((full,), at), case
        found = head.at_path(specs(given), match.head_path, standard=match.standard_head)
        assert (found.outputs, found.kind in kind) == (outputs, True), case


def test_the_whole_classifier_replaced_is_a_head_one_level_up() -> None:
    shapes = without_head(state_dict_shapes("vgg11"), "classifier")
    match = index.find(specs({**shapes, "classifier.weight": (4, 25088)}), index.load())
    assert match is not None
    assert (match.names, match.head_path) == (("torchvision/vgg11",), "classifier")


def test_side_branches_of_training_may_be_missing() -> None:
    shapes = state_dict_shapes("googlenet")
    bare = {k: v for k, v in shapes.items() if not k.startswith("aux")}
    match = index.find(specs(bare), index.load())
    assert match is not None and match.names == ("torchvision/googlenet",)


def test_a_changed_backbone_is_not_the_architecture() -> None:
    shapes = state_dict_shapes("resnet18")
    shapes["conv1.weight"] = (64, 1, 7, 7)
    assert index.find(specs(shapes), index.load()) is None


def test_old_files_without_counters_are_known() -> None:
    shapes = {
        k: v for k, v in state_dict_shapes("resnet18").items() if "num_batches_tracked" not in k
    }
    match = index.find(specs(shapes), index.load())
    assert match is not None and match.names == ("torchvision/resnet18",)


def test_the_stored_index_is_what_the_script_builds() -> None:
    stored = json.loads(index.STORED.read_text())
    some = ["resnet18", "vit_b_16", "squeezenet1_1", "googlenet", "regnet_x_400mf"]
    for name, entry in build_index(some)["architectures"].items():
        assert stored["architectures"][name] == entry
    assert len(stored["architectures"]) == 80
    assert stored["built_from"]["torchvision"]


def test_twins_are_a_class_and_not_a_guess() -> None:
    document = build_index(["resnet18"])
    entry = document["architectures"]["torchvision/resnet18"]
    document["architectures"]["other/resnet18_padded"] = entry
    document["twins"] = {"other/resnet18_padded": "padding"}
    match = index.find(specs(state_dict_shapes("resnet18")), index.parse(document))
    assert match is not None
    assert match.names == ("other/resnet18_padded", "torchvision/resnet18")
    assert match.ambiguity == "padding"
