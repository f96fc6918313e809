"""A file that sorts its names gives back the order in which its module defines them."""

from __future__ import annotations

import random

import pytest

from interop.facts import TensorSpec
from interop.identity.index.order import in_definition_order
from interop.models.catalog import entry

_NAMES = """
torchvision/resnet50 torchvision/vit_b_16 torchvision/swin_t torchvision/densenet121
torchvision/fasterrcnn_resnet50_fpn timm/swin_tiny_patch4_window7_224 timm/convnext_tiny
timm/efficientnet_b0 timm/swinv2_tiny_window8_256 timm/resnetv2_50 transformers/BertModel
transformers/ResNetForImageClassification
"""
NAMES = _NAMES.split()


@pytest.mark.parametrize("name", NAMES)
def test_sorted_or_shuffled_names_come_back_in_order(name: str) -> None:
    wanted = list(entry(name).shapes)
    shuffled = sorted(wanted)
    for names in (shuffled, random.Random(0).sample(wanted, len(wanted))):
        specs = [TensorSpec(n, "float32", (1,)) for n in names]
        assert [t.name for t in in_definition_order(specs, (name,))] == wanted
    assert shuffled != wanted


def test_a_new_head_does_not_hide_the_order_of_the_rest() -> None:
    wanted = [n for n in entry("torchvision/resnet18").shapes if not n.startswith("fc")]
    specs = [TensorSpec(n, "float32", (1,)) for n in sorted([*wanted, "classify.weight"])]
    assert [t.name for t in in_definition_order(specs)] == [*wanted, "classify.weight"]
