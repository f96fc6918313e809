"""One small model of each kind, saved by its own library: proved, and loaded by that library again.

What loads it back is nothing of ours: `from_pretrained`, timm's local-dir, safetensors' load_model.
"""

import json
from copy import deepcopy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_model

from interop.errors import ModelError
from interop.export import ExportOptions, export
from interop.facts import Answer
from interop.identity import identify_file
from interop.models.signature import Signature, drawn
from interop.models.signature.types import DETECTIONS
from interop.verify.bundle import verify

transformers = pytest.importorskip("transformers")
timm = pytest.importorskip("timm")

PROOFS = ["loaded fraction", "same weights", "parity", "canary", "structure"]
TEXT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
    "vocab_size": 99, "max_position_embeddings": 64,
}  # fmt: skip
PICTURE = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 40,
    "image_size": 32, "patch_size": 8, "num_labels": 3,
}  # fmt: skip
T5 = {
    "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 1, "num_heads": 4, "vocab_size": 99,
    "decoder_start_token_id": 0,
}  # fmt: skip
SOUND = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 40,
    "vocab_size": 20, "conv_dim": (16, 16), "conv_stride": (5, 2), "conv_kernel": (10, 3),
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 16,
}  # fmt: skip
WHISPER = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "vocab_size": 99,
    "max_source_positions": 50, "max_target_positions": 20, "num_mel_bins": 16, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
SEGFORMER = {
    "num_encoder_blocks": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "sr_ratios": [4, 2],
    "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [4, 4],
    "decoder_hidden_size": 16, "num_labels": 4,
}  # fmt: skip
TWO = ("batch", "sequence")
# class: (the Auto class, config, its fields, the axes of each input, second names of tied weights)
CASES = {
    "BertForSequenceClassification": (
        "AutoModelForSequenceClassification", "BertConfig", TEXT | {"num_labels": 3},
        {"input_ids": TWO, "attention_mask": TWO, "token_type_ids": TWO}, ()),
    "RobertaForTokenClassification": (
        "AutoModelForTokenClassification", "RobertaConfig", TEXT | {"num_labels": 5},
        {"input_ids": TWO, "attention_mask": TWO, "token_type_ids": TWO}, ()),
    "BertForMultipleChoice": (
        "AutoModelForMultipleChoice", "BertConfig", TEXT,
        dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"),
                      ("batch", "choices", "sequence")), ()),
    "DistilBertForQuestionAnswering": (
        "AutoModelForQuestionAnswering", "DistilBertConfig",
        {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 40, "vocab_size": 99},
        {"input_ids": TWO, "attention_mask": TWO}, ()),
    "LlamaForCausalLM": (
        "AutoModelForCausalLM", "LlamaConfig", TEXT | {"tie_word_embeddings": True},
        {"input_ids": TWO, "attention_mask": TWO}, ("lm_head.weight",)),
    "BertForMaskedLM": (
        "AutoModelForMaskedLM", "BertConfig", TEXT,
        {"input_ids": TWO, "attention_mask": TWO, "token_type_ids": TWO},
        ("cls.predictions.decoder.bias", "cls.predictions.decoder.weight")),
    "T5ForConditionalGeneration": (
        "AutoModelForSeq2SeqLM", "T5Config", T5,
        {"input_ids": TWO, "attention_mask": TWO,
         "decoder_input_ids": ("batch", "decoder_sequence")},
        ("decoder.embed_tokens.weight", "encoder.embed_tokens.weight", "lm_head.weight")),
    "ViTForImageClassification": (
        "AutoModelForImageClassification", "ViTConfig", PICTURE,
        {"pixel_values": ("batch", 3, 32, 32)}, ()),
    "YolosForObjectDetection": (
        "AutoModelForObjectDetection", "YolosConfig",
        PICTURE | {"image_size": [32, 32], "num_detection_tokens": 5, "patch_size": 8},
        None, ()),
    "SegformerForSemanticSegmentation": (
        "AutoModelForSemanticSegmentation", "SegformerConfig", SEGFORMER,
        {"pixel_values": ("batch", 3, "height", "width")}, ()),
    "Wav2Vec2ForCTC": (
        "AutoModelForCTC", "Wav2Vec2Config", SOUND, {"input_values": ("batch", "samples")}, ()),
    "Wav2Vec2ForSequenceClassification": (
        "AutoModelForAudioClassification", "Wav2Vec2Config", SOUND | {"num_labels": 4},
        {"input_values": ("batch", "samples")}, ()),
    "WhisperForConditionalGeneration": (
        "AutoModelForSpeechSeq2Seq", "WhisperConfig", WHISPER,
        {"input_features": ("batch", 16, 100)}, ("proj_out.weight",)),
    "BertModel": (
        "AutoModel", "BertConfig", TEXT,
        {"input_ids": TWO, "attention_mask": TWO, "token_type_ids": TWO}, ()),
    "ElectraForSequenceClassification": (  # num_labels=1: a number, and no class
        "AutoModelForSequenceClassification", "ElectraConfig",
        TEXT | {"num_labels": 1, "embedding_size": 16},
        {"input_ids": TWO, "attention_mask": TWO, "token_type_ids": TWO}, ()),
}  # fmt: skip


def saved(name, folder):
    """A tiny model with drawn weights, as its library saves it."""
    _, config, fields, _, _ = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = getattr(transformers, name)(getattr(transformers, config)(**fields))
        for parameter in made.parameters():  # a fresh bias of zeros would prove little
            if parameter.ndim < 2:
                parameter.data += 0.1 * torch.randn_like(parameter)
        made.save_pretrained(folder)
    return made.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model of CASES and its bundle, made once: the module, the two folders and the report."""
    made = {}

    def once(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("kind")
            source = saved(name, folder / "source")
            report = export(identify_file(folder / "source"), folder / "out")
            made[name] = source, folder / "source", folder / "out", report
        return made[name]

    return once


def state_of(module):
    return {n: t.detach() for n, t in module.state_dict().items()}


def axes(path):
    """The axes of each of a graph's inputs."""
    graph = onnx.load(path, load_external_data=False).graph
    return {
        i.name: tuple(d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim)
        for i in graph.input
    }


def receipt(folder):
    return json.loads((folder / "interop.json").read_text())


def answers(module, how, arrays):
    """What a module gives for arrays by name, in the order of the graph's outputs."""
    target = module.get_submodule(how.part) if how.part else module
    with torch.inference_mode():
        given = {n: torch.from_numpy(a) for n, a in arrays.items()}
        if how.kind == DETECTIONS:
            found = target(list(given.values()))[0]
        else:
            found = target(**given) if how.by_name else target(*given.values())
    if isinstance(found, torch.Tensor):
        return {"output": found.numpy()}
    return {n: t.numpy() for n, t in found.items() if isinstance(t, torch.Tensor)}


def alike(folder, module):
    """ONNX Runtime, as anybody opens it, against a module, at sizes that no proof has tried."""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    how = Signature.from_json(receipt(folder)["signature"])
    taken = [i.name for i in session.get_inputs()]
    more = {a: how.others[a] for a in how.varying if a in how.others}
    arrays = drawn(how, 3, more, seed=5)
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(None, {n: arrays[n] for n in taken}), strict=True))
    right = answers(module, how, arrays)
    for name in names:
        scale = float(np.abs(right[name]).max()) or 1.0
        np.testing.assert_allclose(found[name], right[name], rtol=0, atol=2e-4 * scale)
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_transformers_comes_out_as_it_went_in(name, exported):
    auto, _, _, takes, second = CASES[name]
    source, folder, out, report = exported(name)
    assert report.outcome is Answer.YES, report.proofs
    assert [p.name for p in report.proofs] == PROOFS
    assert report.details.attempts == ()
    if takes is not None:
        assert axes(out / "model.onnx") == takes

    # Its own library loads it back, with the same weights and the same answers.
    loaded, info = getattr(transformers, auto).from_pretrained(out, output_loading_info=True)
    assert type(loaded).__name__ == name
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    mine, theirs = state_of(loaded), state_of(source)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[n], theirs[n]) for n in theirs)
    alike(out, loaded.eval())

    # A tied weight stands once, and safetensors' own strict loader knows the second name.
    with safe_open(out / "model.safetensors", "pt") as file:
        held, header = set(file.keys()), file.metadata()
    assert held == theirs.keys() - set(second)
    assert {n for n in second if n in header} == set(second)
    with torch.no_grad():
        again = type(source)(loaded.config)
        assert load_model(again, out / "model.safetensors", strict=True) == (set(), [])
    assert all(torch.equal(t, theirs[n]) for n, t in state_of(again).items())

    for path in out.iterdir():
        assert str(folder.parent).encode() not in path.read_bytes(), path.name
    assert identify_file(out).architecture == identify_file(folder).architecture


def test_what_the_class_computes_is_in_the_graph_and_in_no_file_of_weights(tmp_path):
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, vocab_size=99,
        max_position_embeddings=32, pad_token_id=98, decoder_start_token_id=98,
    )  # fmt: skip
    source, out = transformers.MarianMTModel(config).eval(), tmp_path / "out"
    source.save_pretrained(tmp_path / "source")
    report = export(identify_file(tmp_path / "source"), out)
    assert report.outcome is Answer.YES, report.proofs
    names = []
    for folder in (tmp_path / "source", out):
        with safe_open(folder / "model.safetensors", "pt") as file:
            names.append(set(file.keys()))
    assert names[0] == names[1] and not any("embed_positions" in n for n in names[1])
    loaded = transformers.MarianMTModel.from_pretrained(out)
    assert all(torch.equal(t, state_of(source)[n]) for n, t in state_of(loaded).items())
    assert verify(out).outcome is Answer.YES


def test_another_weight_is_no_equal_answer(exported):
    """`alike` itself on trial: a bundle whose weights were changed is not alike."""
    source, _, out, report = exported("BertForSequenceClassification")
    assert report.outcome is Answer.YES
    alike(out, source)
    other = deepcopy(source)
    other.classifier.bias.data[0] += 0.1
    with pytest.raises(AssertionError):
        alike(out, other)


def test_the_same_input_gives_the_same_bytes(exported, tmp_path):
    _, folder, one, report = exported("T5ForConditionalGeneration")
    assert report.outcome is Answer.YES
    assert export(identify_file(folder), tmp_path / "two").outcome is Answer.YES
    for name in ("model.onnx", "model.safetensors", "config.json"):
        assert (one / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_several_files_are_read_by_whoever_reads_one(tmp_path):
    source = saved("LlamaForCausalLM", tmp_path / "source")
    out = tmp_path / "out"
    assert (
        export(identify_file(tmp_path / "source"), out, ExportOptions(shard=20_000)).outcome
        is Answer.YES
    )
    files = sorted(p.name for p in out.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)
    assert all((out / f).stat().st_size < 25_000 for f in files)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(out)
    theirs = state_of(source)
    assert all(torch.equal(t, theirs[n]) for n, t in state_of(loaded).items())
    alike(out, loaded.eval())
    found = identify_file(out)
    assert found.architecture == identify_file(tmp_path / "source").architecture
    assert {found.prefix + t.name for t in found.tensors} == index["weight_map"].keys()
    assert export(found, tmp_path / "again").outcome is Answer.YES  # an export of the export
    (out / files[1]).unlink()
    with pytest.raises(Exception, match=files[1]):
        onnxruntime.InferenceSession(out / "model.onnx")


def test_code_beside_a_model_is_not_run(tmp_path):
    saved("BertModel", tmp_path / "source")
    config = json.loads((tmp_path / "source" / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "own.Model"}
    (tmp_path / "source" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not run here"):
        export(identify_file(tmp_path / "source"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- timm, torchvision


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_a_model_of_timm_is_loaded_by_timm(name, tmp_path):
    from timm.models import save_for_hf

    torch.manual_seed(0)
    source = timm.create_model(name, num_classes=5).eval()
    save_for_hf(source, tmp_path / "source", safe_serialization=True)
    out = tmp_path / "out"
    report = export(identify_file(tmp_path / "source"), out)
    assert report.outcome is Answer.YES, report.proofs
    assert [p.name for p in report.proofs] == PROOFS
    assert axes(out / "model.onnx") == {"input": ("batch", 3, 160, 160)}
    loaded = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    theirs = state_of(source)
    assert state_of(loaded).keys() == theirs.keys()
    assert all(torch.equal(t, theirs[n]) for n, t in state_of(loaded).items())
    assert loaded.num_classes == 5
    alike(out, loaded)
    for path in out.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name


def checkpoint(name, tmp_path, **options):
    """One of torchvision's with drawn weights, as a .pth, normalised as if it had seen pictures.

    In a fresh one of many layers the signal dies away, and the canary rightly refuses it.
    """
    from torchvision.models import get_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = get_model(name, weights=None, weights_backbone=None, **options).eval()
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.train().momentum = 1.0
        with torch.no_grad():
            module(torch.randn(4, 3, 224, 224) if "lraspp" in name else torch.rand(2, 3, 320, 320))
            for name, tensor in module.eval().named_parameters():
                if "classification_head" in name:  # else all scores are nearly tied
                    tensor *= 20
    torch.save(module.state_dict(), tmp_path / "source.pth")
    return module


def test_a_segmentation_of_torchvision_takes_any_size(tmp_path):
    module = checkpoint("lraspp_mobilenet_v3_large", tmp_path, num_classes=4)
    out = tmp_path / "out"
    report = export(identify_file(tmp_path / "source.pth"), out)
    assert report.outcome is Answer.YES, report.proofs
    assert axes(out / "model.onnx") == {"input": ("batch", 3, "height", "width")}
    found = alike(out, module)
    assert found["out"].shape[:2] == (3, 4)
    again = checkpoint("lraspp_mobilenet_v3_large", tmp_path, num_classes=4)
    assert load_model(again, out / "model.safetensors", strict=True) == (set(), [])


def test_a_detector_of_torchvision_is_compared_as_a_set(tmp_path):
    """Whether an untrained one is exported is its scores' luck: all are tied, or all saturated."""
    checkpoint("ssdlite320_mobilenet_v3_large", tmp_path, num_classes=4)
    report = export(identify_file(tmp_path / "source.pth"), tmp_path / "out")
    proofs = {p.name: p for p in report.proofs}
    assert all(proofs[n].holds for n in ("loaded fraction", "same weights", "parity", "structure"))
    assert all(n > 0 for n in proofs["parity"].facts["detections"])
    assert "detections matched as sets" in proofs["parity"].what
    assert report.outcome is Answer.YES or not proofs["canary"].holds
