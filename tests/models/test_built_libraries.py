"""timm's and torchvision's models of all tasks, with what the shapes and config.json tell."""

import sys
from dataclasses import replace

import pytest
import torch
from torchvision.models import get_model

from interop.errors import ExtraMissing, ModelError
from interop.identity import identify_file
from interop.models import build, built

BARE = {"weights": None, "weights_backbone": None, "num_classes": 5}
FIVE = {"weights": None, "num_classes": 5}


def saved(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    return identify_file(tmp_path / "a.pth")


def alike(one, other, shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a, b = one.eval()(x), other(x)
    a, b = (y["out"] if isinstance(y, dict) else y for y in (a, b))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", BARE),
        ("keypointrcnn_resnet50_fpn", BARE | {"num_classes": 2, "num_keypoints": 7}),
        ("retinanet_resnet50_fpn", BARE),
        ("fcos_resnet50_fpn", BARE),
        ("ssdlite320_mobilenet_v3_large", BARE),
        ("ssd300_vgg16", BARE),
    ],
)
def test_a_detector_is_built_with_its_classes(tmp_path, name, options):
    module = get_model(name, **options)
    identity = saved(tmp_path, module.state_dict())
    again, proof, notes = built(identity, arch=f"torchvision/{name}")
    assert proof.holds, proof.what
    assert any("thresholds" in note for note in notes)
    assert [
        n for n, t in again.state_dict().items() if t.shape != module.state_dict()[n].shape
    ] == []


def test_norms_that_were_frozen_stay_frozen(tmp_path):
    from torchvision.ops import FrozenBatchNorm2d

    module = get_model("fasterrcnn_mobilenet_v3_large_320_fpn", **BARE)
    state = {
        k: v for k, v in module.state_dict().items()
        if not (k.startswith("backbone") and k.endswith("num_batches_tracked"))
    }  # fmt: skip
    again, proof, _ = built(
        saved(tmp_path, state), arch="torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"
    )
    assert proof.holds and proof.facts["counters_absent"] == 0
    assert any(isinstance(m, FrozenBatchNorm2d) for m in again.modules())


def test_other_anchors_are_refused(tmp_path):
    module = get_model("retinanet_resnet50_fpn", **BARE)
    state = module.state_dict()
    for key, rows in (("classification_head.cls_logits", 15), ("regression_head.bbox_reg", 12)):
        state[f"head.{key}.weight"] = torch.zeros(rows, 256, 3, 3)
        state[f"head.{key}.bias"] = torch.zeros(rows)
    with pytest.raises(ModelError, match="other anchors"):
        build(saved(tmp_path, state), arch="torchvision/retinanet_resnet50_fpn")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deeplabv3_mobilenet_v3_large", BARE | {"aux_loss": True}),
        ("deeplabv3_mobilenet_v3_large", BARE | {"aux_loss": False}),
        ("lraspp_mobilenet_v3_large", BARE),
    ],
)
def test_a_segmenter_has_its_auxiliary_branch_or_none(tmp_path, name, options):
    module = get_model(name, **options)
    again, proof, _ = built(saved(tmp_path, module.state_dict()))
    assert proof.holds, proof.what
    alike(module, again, (2, 3, 64, 64))


@pytest.mark.parametrize(
    ("name", "shape"), [("r3d_18", (1, 3, 4, 32, 32)), ("s3d", (1, 3, 16, 224, 224))]
)
def test_a_video_classifier_is_built(tmp_path, name, shape):
    module = get_model(name, **FIVE)
    again, proof, _ = built(saved(tmp_path, module.state_dict()))
    assert proof.holds, proof.what
    alike(module, again, shape)


def test_a_float_twin_of_a_quantizable_model_is_built(tmp_path):
    module = get_model("quantized_shufflenet_v2_x0_5", quantize=False, **FIVE)
    identity = saved(tmp_path, module.state_dict())
    for arch in (None, "torchvision/quantized_shufflenet_v2_x0_5"):
        again, proof, _ = built(identity, arch=arch)
        assert proof.holds
        alike(module, again, (1, 3, 64, 64))


def test_codes_are_refused_with_what_to_do(digits):
    identity = identify_file(digits / "shufflenet.pth")
    coded = replace(identity, kind="quantized state dict (torch.quantize codes)")
    with pytest.raises(ModelError, match="no exporter route") as error:
        build(coded)
    assert "--precision int8" in error.value.fix


# ---------------------------------------------------------------- timm

TIMM = {
    "resnet18": ("resnet18", {"num_classes": 5}, 64),
    "no head": ("resnet18", {"num_classes": 0}, 64),
    "one channel": ("resnet18", {"num_classes": 5, "in_chans": 1}, 64),
    "twice the features": ("resnet18", {"num_classes": 5, "global_pool": "catavgmax"}, 64),
    "vit": ("vit_tiny_patch16_224", {"num_classes": 5}, 224),
    "vit avg": ("vit_tiny_patch16_224", {"num_classes": 5, "global_pool": "avg"}, 224),
    "vit small": ("vit_tiny_patch16_224", {"num_classes": 5, "img_size": 96}, 96),
    "distilled": ("deit_tiny_distilled_patch16_224", {"num_classes": 5}, 224),
}


@pytest.mark.parametrize("case", TIMM)
@pytest.mark.parametrize("form", ["bare", "folder"])
def test_timms_models_are_built(tmp_path, case, form):
    timm = pytest.importorskip("timm")
    name, options, side = TIMM[case]
    module = timm.create_model(name, **options)
    if form == "folder":
        timm.models.save_for_hf(module, tmp_path)
        identity, arch = identify_file(tmp_path), None
    else:
        identity, arch = saved(tmp_path, module.state_dict()), f"timm/{name}"
    again, proof, _ = built(identity, arch=arch)
    assert proof.holds, proof.what
    alike(module, again, (1, options.get("in_chans", 3), side, side))


def test_a_head_of_other_features_is_refused(tmp_path):
    timm = pytest.importorskip("timm")
    state = timm.create_model("mobilenetv3_small_050", num_classes=5).state_dict()
    state["classifier.weight"] = torch.zeros(5, 7)
    with pytest.raises(ModelError, match="takes 7 features"):
        build(saved(tmp_path, state), arch="timm/mobilenetv3_small_050")


def test_a_name_that_the_weights_are_not_of_fails_the_proof(tmp_path):
    identity = saved(tmp_path, get_model("resnet18", **FIVE).state_dict())
    proof = built(identity, arch="torchvision/resnet34")[1]
    assert not proof.holds and proof.facts["missing"]


# ---------------------------------------------------------------- torchaudio

DEEPSPEECH = """
import torch

class DeepSpeech(torch.nn.Module):
    def __init__(self, n_feature, n_hidden=2048, n_class=40):
        super().__init__()
        self.fc1 = torch.nn.Module()
        self.fc1.fc = torch.nn.Linear(n_feature, n_hidden)
        self.out = torch.nn.Linear(n_hidden, n_class)
"""


@pytest.fixture
def torchaudio(tmp_path, monkeypatch):
    """A torchaudio that refuses to be imported, as the real one does beside another torch."""
    models = tmp_path / "site" / "torchaudio" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise OSError('built for another CUDA')\n")
    (models / "deepspeech.py").write_text(DEEPSPEECH)
    monkeypatch.syspath_prepend(tmp_path / "site")
    before = {n for n in sys.modules if n.startswith("_interop_torchaudio")}
    assert not before
    yield
    for name in [n for n in sys.modules if n.startswith("_interop_torchaudio")]:
        del sys.modules[name]


def test_torchaudios_models_need_none_of_its_extension(tmp_path, torchaudio):
    state = {
        "fc1.fc.weight": torch.rand(8, 4), "fc1.fc.bias": torch.rand(8),
        "out.weight": torch.rand(3, 8), "out.bias": torch.rand(3),
    }  # fmt: skip
    identity = saved(tmp_path, state)
    _module, proof, notes = built(identity, arch="torchaudio/deepspeech")
    assert proof.holds and "relu_max_clip" in notes[0]
    assert "torchaudio" not in sys.modules
    with pytest.raises(ModelError, match=r"fc1\.fc\.weight"):
        build(saved(tmp_path, {"a.weight": torch.ones(2, 2)}), arch="torchaudio/deepspeech")


def test_without_torchaudio_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match="pip install torchaudio"):
        build(saved(tmp_path, {"a.weight": torch.ones(2, 2)}), arch="torchaudio/wav2vec2_base")
