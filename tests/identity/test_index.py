"""Models of one size are known from a bare state dict, whatever became of the head."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.identity import identify
from interop.identity.index import lookup
from interop.identity.index.build import IndexEntry, Twins, alike, document
from interop.models.catalog import entry
from tests.helpers.manifests import Shapes, manifest

# One of each way to lay out a head, over both libraries; benchmarks/identity.py goes over all.
_NAMES = """
torchvision/alexnet torchvision/vgg16 torchvision/resnet50 torchvision/squeezenet1_1
torchvision/inception_v3 torchvision/googlenet torchvision/densenet121 torchvision/vit_b_16
torchvision/swin_t torchvision/mobilenet_v3_small torchvision/regnet_y_400mf torchvision/r3d_18
torchvision/convnext_tiny torchvision/mvit_v1_b torchvision/fcn_resnet50
torchvision/deeplabv3_resnet50 torchvision/fasterrcnn_resnet50_fpn torchvision/ssd300_vgg16
timm/tf_efficientnet_b0 timm/deit_tiny_distilled_patch16_224 timm/convnext_tiny timm/levit_128s
timm/swin_tiny_patch4_window7_224 timm/mixer_s32_224 timm/xcit_nano_12_p16_224 timm/pit_ti_224
timm/edgenext_xx_small timm/volo_d1_224 timm/crossvit_tiny_240 timm/mobilevit_xxs timm/ghostnet_100
"""
NAMES = _NAMES.split()


def variants(e: IndexEntry) -> Iterator[tuple[str, Shapes, int | None]]:
    """What people do to a head: (how, the state dict, its outputs)."""
    path = e.heads[0][0]
    own = {n: s for n, s in e.shapes.items() if lookup.under(n, path)}
    body = {n: s for n, s in e.shapes.items() if n not in own}
    matrices = [s for s in own.values() if len(s) > 1]
    width, tail = matrices[0][1], matrices[-1][2:]
    seven = {f"{path}.weight": (7, width, *tail), f"{path}.bias": (7,)}
    yield "kept", dict(e.shapes), None
    yield "other classes", {**body, **seven}, 7
    yield "sorted by name", dict(sorted({**body, **seven}.items())), 7
    yield "Sequential(Dropout, Linear)", {**body, f"{path}.1.weight": (7, width)}, 7
    yield "MLP", {**body, f"{path}.0.weight": (64, width), f"{path}.3.weight": (7, 64)}, 7
    yield "removed", body, 0
    yield "prefixed", {f"module.model.{n}": s for n, s in e.shapes.items()}, None
    inside = {f"backbone.{n}": s for n, s in body.items()}
    yield "in somebody's own module", {**inside, "cls.weight": (7, width), "cls.bias": (7,)}, 7


@pytest.mark.parametrize("name", NAMES)
def test_an_architecture_is_named_whatever_its_head(name: str) -> None:
    e = entry(name)
    for how, shapes, outputs in variants(e):
        seen = identify(manifest(shapes))
        names = [n for a in seen.architectures for n in (a.name, *a.also)]
        assert name in names, how
        if outputs is not None:
            assert seen.head is not None, how
            assert seen.head.outputs == outputs, how
        assert seen.root == ("backbone" if how == "in somebody's own module" else ""), how


def test_heads_beside_the_main_one_are_named_by_what_they_give() -> None:
    roles = {
        "torchvision/inception_v3": ("classes", ["auxiliary classes"]),
        "torchvision/maskrcnn_resnet50_fpn": ("box classes", ["boxes", "masks"]),
        "torchvision/keypointrcnn_resnet50_fpn": ("box classes", ["boxes", "keypoints"]),
        "torchvision/fcn_resnet50": ("pixel classes", ["auxiliary pixel classes"]),
        "timm/deit_tiny_distilled_patch16_224": ("classes", ["distillation"]),
    }
    for name, (main, sides) in roles.items():
        seen = identify(manifest(entry(name).shapes))
        assert seen.head is not None and seen.head.role == main, name
        assert [h.role for h in seen.side_heads] == sides, name
        outside = {t.name for t in seen.tensors} - {t.name for t in seen.backbone or ()}
        held = {n for h in (seen.head, *seen.side_heads) for n in h.tensors}
        assert outside == held, name


def test_the_whole_classifier_replaced_is_a_head_one_level_up() -> None:
    body = {n: s for n, s in entry("torchvision/vgg11").shapes.items() if n.startswith("features")}
    seen = identify(manifest({**body, "classifier.weight": (4, 25088)}))
    assert seen.architecture == "torchvision/vgg11"
    assert seen.head is not None and (seen.head.path, seen.head.outputs) == ("classifier", 4)


def test_side_branches_of_training_may_be_missing() -> None:
    shapes = entry("torchvision/googlenet").shapes
    bare = {n: s for n, s in shapes.items() if not n.startswith("aux")}
    assert identify(manifest(bare)).architectures == identify(manifest(shapes)).architectures != ()


def test_one_other_shape_in_the_backbone_is_another_architecture() -> None:
    shapes = {**entry("torchvision/resnet18").shapes, "conv1.weight": (64, 1, 7, 7)}
    assert identify(manifest(shapes)).architectures == ()


def test_a_backbone_in_a_larger_network_is_not_the_whole() -> None:
    body = {f"backbone.{n}": s for n, s in entry("torchvision/resnet18").shapes.items()}
    neck = {f"neck.{n}.weight": (2048, 1024) for n in range(4)}
    assert identify(manifest({**body, **neck})).architectures == ()


def test_counters_and_buffers_say_nothing() -> None:
    shapes = entry("torchvision/swin_t").shapes
    bare = {n: s for n, s in shapes.items() if "relative_position_index" not in n}
    assert len(bare) < len(shapes)
    assert identify(manifest(bare)).architecture == "torchvision/swin_t"


def stem(name: str, width: int = 8) -> IndexEntry:
    shapes = {"conv.weight": (width, 3, 3, 3), "norm.weight": (width,), "fc.weight": (9, width)}
    return IndexEntry(name, shapes, (("fc", "classes"),), "avg")


def test_what_no_file_tells_apart_is_found_and_reported_as_a_class() -> None:
    entries = [stem("torchvision/a"), stem("timm/a"), stem("timm/b"), stem("timm/c", 16)]
    assert [[e.name for e in g] for g in alike(entries)] == [["torchvision/a", "timm/a", "timm/b"]]
    twins = [Twins([("torchvision/a", "timm/a"), ("timm/b",)], "padding, epsilon")]
    stored = lookup.parse(document(entries, twins, {"timm": "1"}))
    shapes = entries[0].shapes
    silent = identify(manifest(shapes), entries=stored)
    assert [a.name for a in silent.architectures] == ["torchvision/a", "timm/b"]
    assert silent.architectures[0].also == ("timm/a",)
    assert (silent.architecture, silent.ambiguity) == (None, "padding, epsilon")
    for told in (
        identify(manifest(shapes), arch="timm/b", entries=stored),
        identify(manifest(shapes), arch="b", entries=stored),
        identify(manifest(shapes, {"arch": "b"}), entries=stored),
        identify(manifest(shapes, {"config.json": {"architecture": "b"}}), entries=stored),
    ):
        assert (told.architecture, told.ambiguity) == ("timm/b", "")
    assert told.architectures[0].evidence == "config.json key 'architecture'"
    lied = identify(manifest(shapes), arch="c", entries=stored)
    assert lied.architecture is None and "do not bear out" in lied.ambiguity


def test_the_stored_index_is_small_and_says_what_it_was_built_from() -> None:
    assert lookup.STORED.stat().st_size <= 400_000
    assert set(lookup.load().built_from) >= {"torchvision", "timm", "transformers"}


def test_hashes_do_not_depend_on_the_order_of_names() -> None:
    shapes = entry("torchvision/resnet18").shapes
    assert lookup.module_sums(shapes.items()) == lookup.module_sums(reversed(list(shapes.items())))
    assert lookup.word("a", (1, 2)) != lookup.word("a", (2, 1))
