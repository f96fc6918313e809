"""What the libraries' models are called, where their heads lie, and what a dimension tells."""

import sys
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from safetensors import safe_open

from interop.errors import ExtraMissing, ModelError
from interop.models import catalog

HEADS = {
    "torchvision/resnet18": ("avg", [("fc", "classes")]),
    "torchvision/vgg11": ("flat", [("classifier.6", "classes")]),
    "torchvision/vit_b_32": ("token", [("heads.head", "classes")]),
    "torchvision/squeezenet1_1": ("map", [("classifier.1", "classes")]),
    "torchvision/inception_v3": ("avg", [("fc", "classes"), ("AuxLogits.fc", "auxiliary classes")]),
    "torchvision/ssdlite320_mobilenet_v3_large": (
        "map",
        [("head.classification_head", "box classes"), ("head.regression_head", "boxes")],
    ),
    "torchvision/maskrcnn_resnet50_fpn": (
        "map",
        [
            ("roi_heads.box_predictor.cls_score", "box classes"),
            ("roi_heads.box_predictor.bbox_pred", "boxes"),
            ("roi_heads.mask_predictor.mask_fcn_logits", "masks"),
        ],
    ),
    "torchvision/fcn_resnet50": (
        "map",
        [("classifier.4", "pixel classes"), ("aux_classifier.4", "auxiliary pixel classes")],
    ),
    "torchvision/raft_small": ("", []),
    "timm/resnet18": ("avg", [("fc", "classes")]),
    "timm/deit_tiny_distilled_patch16_224": (
        "token",
        [("head", "classes"), ("head_dist", "distillation")],
    ),
    "transformers/BertModel": ("", []),
    "transformers/BertForTokenClassification": ("sequence", [("classifier", "token classes")]),
    "transformers/DistilBertForSequenceClassification": (
        "token",
        [("classifier", "classes"), ("pre_classifier", "projection")],
    ),
    "transformers/GPT2LMHeadModel": ("sequence", [("lm_head", "vocabulary")]),
    "transformers/Wav2Vec2ForCTC": ("sequence", [("lm_head", "characters")]),
    "transformers/DeiTForImageClassificationWithTeacher": (
        "token",
        [("cls_classifier", "classes"), ("distillation_classifier", "distillation")],
    ),
    "transformers/YolosForObjectDetection": (
        "sequence",
        [("class_labels_classifier", "box classes"), ("bbox_predictor", "boxes")],
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_heads_of_a_model_are_where_its_tensors_are(name):
    entry = catalog.entry(name)
    assert (entry.takes, list(entry.heads)) == HEADS[name]
    for path, _ in entry.heads:
        assert any(key.startswith(f"{path}.") for key in entry.shapes)


def test_all_names_are_known():
    assert len(catalog.names("torchvision")) >= 121
    assert len(catalog.names("timm")) >= 1000
    known = catalog.names("transformers")
    assert len(known) >= 150 and len(known) == len(set(known))


def test_side_branches_may_be_missing():
    assert catalog.entry("torchvision/googlenet").optional == ("aux1", "aux2")
    assert catalog.entry("torchvision/fcn_resnet50").optional == ("aux_classifier",)
    assert catalog.entry("torchvision/resnet18").optional == ()


def test_a_model_of_features_also_stands_with_a_classifier():
    bare, headed = catalog.entries("timm/vit_small_patch14_dinov2")
    assert bare.heads == () and headed.heads == (("head", "classes"),)
    assert set(headed.shapes) - set(bare.shapes) == {"head.weight", "head.bias"}


def test_the_real_module_has_the_entrys_names_and_runs():
    module = catalog.module("timm/resnet18", num_classes=3)
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    assert list(module.state_dict()) == list(catalog.entry("timm/resnet18").shapes)
    module = catalog.module("transformers/BertModel", num_hidden_layers=1, vocab_size=50)
    assert module.state_dict()["embeddings.word_embeddings.weight"].shape == (50, 768)


def test_a_module_on_meta_takes_no_memory():
    module = catalog.meta("torchvision/vit_b_32")
    weights = [p for p in module.parameters() if p.is_meta]
    assert sum(p.numel() for p in weights) > 0.99 * sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "name",
    ["BertModel", "DistilBertModel", "GPT2Model", "T5Model", "LlamaModel", "ViTModel",
     "WhisperModel", "BartModel", "OPTModel"],
)  # fmt: skip
def test_each_size_is_one_that_shapes_follow(name):
    """A field that is doubled changes the shapes; a dropout that is doubled does not."""
    entry = catalog.entry(f"transformers/{name}")
    config = dict(catalog._library("transformers").configs(name)[0])
    assert len(set(entry.sizes.values())) == len(entry.sizes) >= 4

    def shapes(**fields):
        module = catalog.meta(entry.name, **{**config, **fields})
        return {key: tuple(value.shape) for key, value in module.state_dict().items()}

    assert shapes() == dict(entry.shapes)
    for field, value in entry.sizes.items():
        if field in config:
            assert shapes(**{field: 2 * value}) != dict(entry.shapes), field
    assert shapes(initializer_range=0.04) == dict(entry.shapes)


def test_names_on_disk_are_those_that_are_saved(tmp_path):
    memory, disk = catalog.entries("transformers/DINOv3ViTModel")[:2]
    assert set(memory.shapes) != set(disk.shapes)
    config = catalog._library("transformers").configs("DINOv3ViTModel")[0]
    catalog.module("transformers/DINOv3ViTModel", **config).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(disk.shapes)
    # In the order of the definition, which the file does not keep.
    assert next(iter(disk.shapes)).startswith("embeddings.")
    assert list(disk.shapes) != sorted(disk.shapes)


def test_a_tied_head_is_in_memory_alone():
    memory, disk = catalog.entries("transformers/GPT2LMHeadModel")
    assert memory.heads and not disk.heads
    assert set(memory.shapes) - set(disk.shapes) == {"lm_head.weight"}
    assert memory.root == disk.root == "transformer"


@pytest.mark.parametrize("name", ["torchvision/no_such", "timm/no_such", "transformers/NoSuch"])
def test_a_name_that_a_library_lacks(name):
    with pytest.raises(ModelError, match=r"(?i)no_?such"):
        catalog.entries(name)


def test_a_name_without_a_library():
    with pytest.raises(ModelError, match="library/name"):
        catalog.module("resnet18")


def test_a_library_that_is_missing(monkeypatch):
    def none(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(catalog, "version", none)
    with pytest.raises(ExtraMissing, match=r"timm is not installed; pip install .*\[timm\]"):
        catalog.names("timm")


def test_a_library_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files may be half there: the package index knows it, and an import finds it not."""
    pytest.importorskip("timm")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ExtraMissing, match=r"timm is not installed; .*\[timm\]"):
        catalog.module("timm/resnet18")
