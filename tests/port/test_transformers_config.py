"""Each config of the table has the sizes of the model that it stands for."""

from __future__ import annotations

import pytest

from interop.check.maps import unmapped
from interop.check.pairing import pair
from interop.models import catalog
from interop.models.libraries.transformers.config import config_for
from interop.port.models import Model, identity_of

pytest.importorskip("transformers")
pytest.importorskip("timm")

PAIRS = [
    ("torchvision/resnet34", "ResNet"),
    ("torchvision/resnet101", "ResNet"),
    ("timm/regnetx_016", "RegNet"),
    ("torchvision/regnet_y_1_6gf", "RegNet"),
    ("torchvision/vit_b_32", "ViT"),
    ("timm/vit_small_patch16_384", "ViT"),
    ("timm/swin_small_patch4_window7_224", "Swin"),
    ("torchvision/convnext_small", "ConvNext"),
    ("timm/tf_efficientnet_b2", "EfficientNet"),
]


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_the_weights_map_completely(name: str, family: str) -> None:
    kind = f"{family}ForImageClassification"
    config = config_for(name, kind)
    assert config is not None
    model = Model(f"transformers/{kind}", {**config, "num_labels": 1000})
    target = identity_of(model.build(), model.name)
    source = identity_of(catalog.meta(name), name)
    assert unmapped(target, source, pair(target, source).mapped) == ([], [])


def test_what_the_table_does_not_have() -> None:
    assert config_for("timm/vit_base_patch14_dinov2", "ViTForImageClassification") is None
    assert config_for("torchvision/vgg16", "ResNetForImageClassification") is None
    assert config_for("torchvision/resnet18", "BertModel") is None
