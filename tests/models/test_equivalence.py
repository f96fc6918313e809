"""Models of the same weights are run against each other, and told apart where they differ."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from interop.models import catalog
from interop.models.index import equivalence
from interop.models.index.equivalence import compare, shake


def group(*names):
    return [catalog.entry(name) for name in names]


def eps(value):
    return resnet18(norm_layer=partial(nn.BatchNorm2d, eps=value))


@pytest.fixture
def two_resnets(monkeypatch):
    """Stands two variants of resnet18 under names of torchvision's."""

    def stand(first, second):
        made = {"torchvision/resnet18": first, "torchvision/quantized_resnet18": second}
        for builder in ("hollow", "outline"):
            monkeypatch.setattr(
                equivalence.catalog, builder, lambda entry, **_: made[entry.name]().eval()
            )
        return compare(group(*made))

    return stand


def test_two_that_are_equal_agree(two_resnets):
    found = two_resnets(resnet18, resnet18)
    assert found.same == (("torchvision/resnet18", "torchvision/quantized_resnet18"),)
    assert found.apart == ""


@pytest.mark.parametrize("other", [1e-3, 1.5e-5])
def test_two_of_another_epsilon_are_told_apart(two_resnets, other):
    found = two_resnets(resnet18, partial(eps, other))
    assert len(found.same) == 2 and found.apart == "epsilon"


def test_a_model_that_its_input_makes_no_difference_to_shows_nothing(two_resnets):
    def dull():
        module = resnet18()
        forward = module._forward_impl
        module._forward_impl = lambda x: forward(torch.ones_like(x))
        return module

    found = two_resnets(dull, dull)
    assert len(found.same) == 2 and found.apart.endswith(equivalence.BLIND)


def test_what_no_attribute_tells_is_the_librarys_own_code(two_resnets):
    def doubled():
        module = resnet18()
        forward = module._forward_impl
        module._forward_impl = lambda x: forward(2 * x)
        return module

    found = two_resnets(resnet18, doubled)
    assert len(found.same) == 2 and found.apart == equivalence.OWN_CODE


def test_real_twins_across_libraries():
    names = (
        "timm/resnetblur18", "timm/resnet18", "torchvision/quantized_resnet18",
        "torchvision/resnet18",
    )  # fmt: skip
    found = compare(group(*names))
    assert found.same == (
        ("torchvision/resnet18", "torchvision/quantized_resnet18", "timm/resnet18"),
        ("timm/resnetblur18",),
    )
    assert found.apart == "anti-aliasing"


def test_ported_weights_pad_otherwise():
    found = compare(group("timm/efficientnet_b0", "timm/tf_efficientnet_b0"))
    assert len(found.same) == 2 and found.apart == "padding, epsilon"


def test_another_input_size_alone_is_the_same_computation():
    found = compare(group("timm/xcit_nano_12_p16_384", "timm/xcit_nano_12_p16_224"))
    assert found.same == (("timm/xcit_nano_12_p16_224", "timm/xcit_nano_12_p16_384"),)


def test_families_of_text_models():
    kinds = ("Bert", "Roberta", "XLMRoberta", "Camembert")
    found = compare(group(*(f"transformers/{kind}ForTokenClassification" for kind in kinds)))
    families = [tuple(n.split("/")[1].split("For")[0] for n in names) for names in found.same]
    assert families == [("Bert",), ("Roberta", "XLMRoberta", "Camembert")]
    assert found.apart == "padding index"


def test_another_head_is_told_by_the_head():
    found = compare(group("transformers/BertForTokenClassification", "transformers/BertModel"))
    assert len(found.same) == 2 and found.apart == equivalence.HEAD


def test_what_is_too_large_is_not_called_the_same(monkeypatch):
    monkeypatch.setattr(equivalence, "LARGEST", 1000)
    found = compare(group("torchvision/resnet18", "timm/resnet18"))
    assert len(found.same) == 2 and found.apart.endswith(equivalence.TOO_LARGE)


def test_the_name_that_a_group_goes_by():
    names = ["transformers/ViT", "timm/deit_b", "timm/vit_b", "torchvision/quantized_r", "timm/b"]
    assert sorted([*names, "torchvision/r"], key=equivalence.preference) == [
        "torchvision/r", "torchvision/quantized_r", "timm/b", "timm/vit_b", "timm/deit_b",
        "transformers/ViT",
    ]  # fmt: skip


def test_weights_are_seeded_by_name_and_never_trivial():
    one, two = resnet18(), catalog.hollow(catalog.entry("torchvision/resnet18"))
    nn.init.zeros_(one.layer1[0].bn2.weight)
    shake(one)
    shake(two)
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
        if a.is_floating_point():
            assert float(a.abs().min()) > 0 and float(a.std()) > 0, name


def test_weights_that_are_tied_stay_tied():
    module = catalog.hollow(catalog.entry("transformers/GPT2LMHeadModel"))
    shake(module, "transformer")
    assert module.lm_head.weight is module.transformer.wte.weight
