"""What a forward takes is told by what says so, in a stated order, and never guessed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import list_models

from fixtures.make import DIGITS
from interop.errors import ConfigError, ModelError
from interop.facts import Preprocessing
from interop.identity import identify_file
from interop.models.infer_signature import signature
from interop.models.libraries.torchvision import signature as torchvision
from interop.models.signature import (
    Argument,
    Forward,
    Signature,
    drawn,
    narrowed,
    parse_argument,
    seeded,
    unmarked,
)
from interop.models.signature.types import DETECTIONS

ANY_SIZE = Preprocessing(resize=(40,), mean=(0.5,), std=(0.5,), color="L")
TWO = ("batch", "sequence")


@pytest.fixture(scope="module")
def known():
    return identify_file(DIGITS / "shufflenet.pth")


@pytest.fixture(scope="module")
def unknown(known):
    """Of no architecture and no preprocessing."""
    return replace(known, architectures=(), preprocessing=None)


def named(known, name):
    """The identity of another architecture, of which no preprocessing is known."""
    (one, *_) = known.architectures
    return replace(known, architectures=(replace(one, name=name),), preprocessing=None)


def axes(found):
    return {a.name: a.axes for a in found.arguments}


def runs(module, found, count=2, sizes=None):
    """The module's tensors for seeded input of a signature."""
    forward = Forward(module, found)
    given = tuple(torch.from_numpy(a) for a in drawn(found, count, sizes).values())
    forward.learn_outputs(given)
    with torch.inference_mode():
        return dict(zip(forward.outputs, forward(*given), strict=True))


# ---------------------------------------------------------------- what comes first


def test_a_person_then_the_preprocessing_then_the_module_then_the_library(known, unknown):
    module = nn.Identity()
    said = [parse_argument("x=int64<9(batch,tokens:5)")]
    assert axes(signature(known, module, said)) == {"x": ("batch", "tokens")}
    assert signature(known, module, said).others == {"tokens": 7}
    assert axes(signature(known, module)) == {"input": ("batch", 3, 64, 64)}
    gray = replace(known, preprocessing=replace(ANY_SIZE, crop=(28, 30)))
    assert axes(signature(gray, module)) == {"input": ("batch", 1, 28, 30)}
    silent = replace(known, preprocessing=None)
    assert axes(signature(silent, module)) == {"input": ("batch", 3, 224, 224)}
    sizeless = replace(known, preprocessing=ANY_SIZE)
    assert axes(signature(sizeless, module)) == {"input": ("batch", 3, 224, 224)}
    module.example_input_array = torch.zeros(1, 7)
    assert axes(signature(silent, module)) == {"input": ("batch", 7)}
    with pytest.raises(ModelError, match="size of its input is in no file") as error:
        signature(unknown, nn.Identity())
    assert "--input" in error.value.fix and "--preprocess" in error.value.fix


# ---------------------------------------------------------------- torchvision


def test_every_classifier_of_torchvision_has_a_size():
    import torchvision.models as home

    names = list_models(module=home)
    sizes = {n: side(n) for n in names}
    assert len(sizes) > 70
    assert all(sizes.values())
    assert sizes["inception_v3"] == 299
    assert side("no_such_model") is None
    module = nn.Identity()
    module.image_size = 384
    assert torchvision.side("vit_b_16", module) == 384


def side(name):
    return torchvision.side(name, nn.Identity())


@pytest.mark.parametrize(
    ("name", "takes", "kind"),
    [
        ("fcn_resnet50", {"input": ("batch", 3, "height", "width")}, ""),
        ("lraspp_mobilenet_v3_large", {"input": ("batch", 3, "height", "width")}, ""),
        ("fasterrcnn_resnet50_fpn", {"image": (3, "height", "width")}, DETECTIONS),
        ("ssdlite320_mobilenet_v3_large", {"image": (3, "height", "width")}, DETECTIONS),
        ("r3d_18", {"input": ("batch", 3, 16, 112, 112)}, ""),
        ("swin3d_t", {"input": ("batch", 3, 16, 224, 224)}, ""),
        ("raft_small", dict.fromkeys(("image1", "image2"), ("batch", 3, 128, 128)), ""),
    ],
)
def test_the_tasks_of_torchvision_take_what_they_take(known, name, takes, kind):
    found = signature(named(known, f"torchvision/{name}"), nn.Identity())
    assert axes(found) == takes
    assert found.kind == kind
    assert set(found.varying) == set(found.sizes) == set(found.others)
    assert found.batched is (kind != DETECTIONS)


def test_torchvisions_names_are_no_accident(known):
    """All models that torchvision has for other tasks are told from the classifiers of pictures."""
    import torchvision.models as home

    for task in (home.segmentation, home.detection, home.video, home.optical_flow):
        for name in list_models(module=task):
            assert torchvision.signature(name, nn.Identity()) is not None, name
    for name in list_models(module=home):
        assert torchvision.signature(name, nn.Identity()) is None, name


def test_a_real_detector_and_a_real_segmentation_run(known):
    from torchvision.models import get_model

    bare = {"weights": None, "weights_backbone": None, "num_classes": 3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = get_model("ssdlite320_mobilenet_v3_large", **bare)
        dense = get_model("lraspp_mobilenet_v3_large", **bare)
    found = signature(named(known, "torchvision/ssdlite320_mobilenet_v3_large"), detector)
    assert set(runs(detector, found)) == {"boxes", "scores", "labels"}
    found = signature(named(known, "torchvision/lraspp_mobilenet_v3_large"), dense)
    small = {"height": 64, "width": 96}
    assert runs(dense, found, 1, small)["out"].shape == (1, 3, 64, 96)


# ---------------------------------------------------------------- timm


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("test_vit", {}, ("batch", 3, 160, 160)),  # of one size alone
        ("test_vit", {"img_size": 64}, ("batch", 3, 64, 64)),
        ("test_resnet", {}, ("batch", 3, 160, 160)),  # of any; that of its published weights
        ("test_resnet", {"in_chans": 1}, ("batch", 1, 160, 160)),
        ("test_vit", {"img_size": (64, 96), "in_chans": 1}, ("batch", 1, 64, 96)),
    ],
)
def test_timm_says_what_it_was_built_for(known, name, options, shape):
    timm = pytest.importorskip("timm")
    module = timm.create_model(name, num_classes=4, **options).eval()
    found = signature(named(known, f"timm/{name}"), module)
    assert axes(found) == {"input": shape}
    assert runs(module, found)["output"].shape == (2, 4)


# ---------------------------------------------------------------- transformers

TEXT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20,
    "vocab_size": 40, "max_position_embeddings": 64,
}  # fmt: skip
PICTURE = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20,
    "image_size": 32, "patch_size": 8, "num_labels": 3,
}  # fmt: skip
T5 = {
    "d_model": 16, "d_kv": 8, "d_ff": 20, "num_layers": 1, "num_heads": 2, "vocab_size": 40,
    "decoder_start_token_id": 0,
}  # fmt: skip
RESNET = {
    "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
    "num_labels": 3,
}  # fmt: skip
SEGFORMER = {
    "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 16, "num_labels": 4,
}  # fmt: skip
SOUND = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20,
    "vocab_size": 20, "conv_dim": (8, 8), "conv_stride": (5, 2), "conv_kernel": (10, 3),
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
WHISPER = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "vocab_size": 40,
    "max_source_positions": 50, "max_target_positions": 20, "num_mel_bins": 16, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
THREE = ("input_ids", "attention_mask", "token_type_ids")
FREE = {"pixel_values": ("batch", 3, "height", "width")}
# class: (config, fields, axes once narrowed, names of the outputs)
CLIP = {
    "vision_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                      "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
    "text_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                    "num_attention_heads": 2, "vocab_size": 20},
    "num_labels": 3,
}  # fmt: skip
KINDS = {
    "BertForSequenceClassification": ("BertConfig", TEXT, dict.fromkeys(THREE, TWO), ("logits",)),
    "DistilBertForSequenceClassification": (
        "DistilBertConfig",
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 20, "vocab_size": 40},
        dict.fromkeys(THREE[:2], TWO), ("logits",)),
    "BertForQuestionAnswering": (
        "BertConfig", TEXT, dict.fromkeys(THREE, TWO), ("start_logits", "end_logits")),
    "BertForMultipleChoice": (
        "BertConfig", TEXT, dict.fromkeys(THREE, ("batch", "choices", "sequence")), ("logits",)),
    "LlamaForCausalLM": ("LlamaConfig", TEXT, dict.fromkeys(THREE[:2], TWO), ("logits",)),
    "T5ForConditionalGeneration": (
        "T5Config", T5,
        {"input_ids": TWO, "attention_mask": TWO,
         "decoder_input_ids": ("batch", "decoder_sequence")}, ("logits",)),
    "T5ForSequenceClassification": (
        "T5Config", T5 | {"num_labels": 3}, dict.fromkeys(THREE[:2], TWO), ("logits",)),
    "ViTForImageClassification": (
        "ViTConfig", PICTURE, {"pixel_values": ("batch", 3, 32, 32)}, ("logits",)),
    "CLIPForImageClassification": (
        "CLIPConfig", CLIP, {"pixel_values": ("batch", 3, 32, 32)}, ("logits",)),
    "ResNetForImageClassification": ("ResNetConfig", RESNET, FREE, ("logits",)),
    "SegformerForSemanticSegmentation": ("SegformerConfig", SEGFORMER, FREE, ("logits",)),
    "Wav2Vec2ForCTC": ("Wav2Vec2Config", SOUND, {"input_values": ("batch", "samples")},
                       ("logits",)),
    "WhisperForConditionalGeneration": (
        "WhisperConfig", WHISPER, {"input_features": ("batch", 16, 100)},
        ("last_hidden_state",)),
}  # fmt: skip


def model(name):
    transformers = pytest.importorskip("transformers")
    config, fields, *_ = KINDS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, name)(getattr(transformers, config)(**fields)).eval()


@pytest.mark.parametrize("name", KINDS)
def test_a_class_of_transformers_takes_what_it_is_served_with(unknown, name):
    module, takes, gives = model(name), *KINDS[name][2:]
    forward = Forward(module, signature(unknown, module))
    found = narrowed(forward, torch.float32)
    assert axes(found) == takes
    assert tuple(runs(module, found)) == gives
    if found.varying:  # and at another size of every axis that is said to be free
        assert tuple(runs(module, found, 3, found.others)) == gives


def test_a_speech_model_is_heard_by_its_encoder(unknown):
    found = signature(unknown, model("WhisperForConditionalGeneration"))
    assert found.part == "model.encoder"


def test_rows_end_with_the_token_that_a_classifier_looks_for(unknown):
    module = model("T5ForSequenceClassification")
    tokens = drawn(signature(unknown, module), 3)["input_ids"]
    assert (tokens[:, -1] == module.config.eos_token_id).all()
    assert not (tokens[:, :-1] == module.config.eos_token_id).any()
    assert tokens.min() >= 1 and tokens.max() < 40


def test_a_size_that_the_module_refuses_is_held(unknown):
    """`narrowed` holds the axes that fail, and them alone."""

    class Odd(nn.Module):
        def forward(self, ids, picture):
            assert picture.shape[2:] == (8, 8)
            return ids.float().mean(1) + picture.mean((1, 2, 3))

    takes = Signature(
        (
            Argument("ids", TWO, "int64", "whole"),
            Argument("picture", ("batch", 3, "height", "width")),
        ),
        {"sequence": 4, "height": 8, "width": 8},
        {"sequence": 6, "height": 16, "width": 16},
    )
    found = narrowed(Forward(Odd(), takes), torch.float32)
    assert axes(found) == {"ids": TWO, "picture": ("batch", 3, 8, 8)}


# ---------------------------------------------------------------- somebody's own


class Own(nn.Module):
    """Gives back the sum of whatever it is given."""

    def __init__(self, example):
        super().__init__()
        self.example_input_array = example

    def forward(self, *given, **named):
        return sum(t.float().flatten(1).sum(1) for t in (*given, *named.values()))


TENSOR, WHOLE = torch.zeros(2, 3, 5), torch.full((2, 4), 6)


@pytest.mark.parametrize(
    ("example", "takes", "by_name"),
    [
        (TENSOR, {"input": ("batch", 3, 5)}, False),
        ((TENSOR, WHOLE), {"input_0": ("batch", 3, 5), "input_1": ("batch", 4)}, False),
        ({"x": TENSOR, "ids": WHOLE}, {"x": ("batch", 3, 5), "ids": ("batch", 4)}, True),
    ],
)
def test_a_module_of_ones_own_gives_an_example(unknown, example, takes, by_name):
    module = Own(example)
    found = signature(unknown, module)
    assert axes(found) == takes
    assert found.by_name is by_name
    for name, array in drawn(found, 3).items():
        whole = name in ("ids", "input_1")
        assert array.dtype == (np.int64 if whole else np.float32)
        assert not whole or (array.min() >= 0 and array.max() <= 6)
    assert runs(module, found, 3)["output"].shape == (3,)


@pytest.mark.parametrize("example", ["a picture", (), {}, (TENSOR, 3), torch.zeros(())])
def test_an_example_that_is_none_is_an_error(unknown, example):
    with pytest.raises(ModelError, match="neither a tensor with a batch axis"):
        signature(unknown, Own(example))


def test_outputs_bear_the_names_of_a_mapping_or_a_number():
    takes = Signature((Argument("input", ("batch", 3)),), leave=("cache",))

    class Gives(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.how = how

        def forward(self, x):
            return self.how(x)

    def names(how):
        return tuple(runs(Gives(how), takes))

    assert names(lambda x: x + 1) == ("output",)
    assert names(lambda x: [x + 1]) == ("output",)
    assert names(lambda x: (x + 1, [x + 2, None])) == ("output_0", "output_1")
    mapping = {"logits": 1, "cache": 2}
    assert names(lambda x: {k: x + v for k, v in mapping.items()}) == ("logits",)
    assert names(lambda x: {"a": x + 1, "all": (x, x + 2)}) == ("a", "all_0", "all_1")
    with pytest.raises(ModelError, match="no tensor"):
        names(lambda x: "nothing")
    with pytest.raises(ModelError, match="no tensor"):
        names(lambda x: {"cache": x})


# ---------------------------------------------------------------- what a person writes


@pytest.mark.parametrize(
    ("text", "argument", "sizes"),
    [
        ("x=float32(batch,3,8,8)", Argument("x", ("batch", 3, 8, 8)), {}),
        ("float(batch,7)", Argument("input", ("batch", 7)), {}),
        (
            "tokens=int64<1000(batch,sequence:20)",
            Argument("tokens", TWO, "int64", "whole", 0, 1000),
            {"sequence": 20},
        ),
        ("ids:int32(batch, n)", Argument("ids", ("batch", "n"), "int32", "whole", 0, 100), {}),
        ("m=bool(batch,4)", Argument("m", ("batch", 4), "bool", "rows"), {}),
        ("h=float16(batch,4)", Argument("h", ("batch", 4)), {}),
    ],
)  # fmt: skip
def test_an_input_is_described_in_one_word(text, argument, sizes):
    assert parse_argument(text) == (argument, sizes)


def test_an_input_without_a_name_is_called_by_its_place():
    assert parse_argument("float(batch,7)", 2)[0].name == "input_2"


@pytest.mark.parametrize(
    "text",
    ["", "x", "x=float32", "x=float32(batch,-1)", "x=complex64(batch,2)", "x=float32(batch,3d)",
     "x=float32(batch,n:many)", "x=float32(batch,3", "x=text(batch)", "x y=float32(batch,3)(4)"],
)  # fmt: skip
def test_what_describes_no_input_is_a_usage_error(text):
    with pytest.raises(ConfigError) as error:
        parse_argument(text)
    assert error.value.exit_code == 2
    assert "input=float32(batch,3,224,224)" in error.value.fix


# ---------------------------------------------------------------- the numbers


def test_seeded_numbers_are_the_same_every_time():
    np.testing.assert_array_equal(seeded((3, 5)), seeded((3, 5)))
    assert seeded((3, 5)).shape == (10, 3, 5)
    takes = Signature((Argument("a", ("batch", "n"), draw="unit"),), {"n": 50})
    one, other, another = drawn(takes, 2), drawn(takes, 2), drawn(takes, 2, seed=1)
    np.testing.assert_array_equal(one["a"], other["a"])
    assert not np.array_equal(one["a"], another["a"])
    assert one["a"].shape == (2, 50) and one["a"].min() >= 0 and one["a"].max() <= 1


def test_a_signature_goes_through_a_receipt():
    import json

    takes = Signature(
        (Argument("a", TWO, "int64", "whole", 3, 90, 1),), {"sequence": 16}, {"sequence": 24},
        "model.encoder", True, leave=("cache",), role="pixel classes",
    )  # fmt: skip
    assert Signature.from_json(json.loads(json.dumps(takes.json()))) == takes
    with pytest.raises((KeyError, TypeError)):
        Signature.from_json({"arguments": [{"name": "x", "axes": [1], "other": 2}]})


def test_torchaudios_models_take_frames_or_samples():
    from interop.models.libraries.torchaudio import signature as torchaudio

    speech = nn.Module()
    speech.fc1 = nn.Module()
    speech.fc1.fc = nn.Linear(80, 4)
    assert torchaudio.signature("deepspeech", speech).arguments[0].axes == (
        "batch",
        1,
        "frames",
        80,
    )
    assert torchaudio.signature("hubert_base", nn.Module()).varying == ("samples",)


def test_trying_a_size_leaves_no_mark():
    """As Swin of transformers does, which keeps the small window that a small picture makes."""

    class Marked(nn.Module):
        window = 7

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.window = min(self.window, x.shape[-1])
            return x[..., : self.window]

    module = Marked()
    axes = Signature((Argument("x", ("batch", "length")),), {"length": 16}, {"length": 3})
    forward = Forward(module, axes)
    assert narrowed(forward, torch.float32).varying == ("length",)
    assert module.window == 7
    with unmarked(module, only_after_error=True):
        module(torch.zeros(1, 5))
    assert module.window == 5
    with pytest.raises(RuntimeError), unmarked(module, only_after_error=True):
        module(torch.zeros(1, 2))
        raise RuntimeError
    assert module.window == 5
