"""transformers' folders become their modules: config.json in full, names of disk and of memory."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from interop.errors import ModelError
from interop.identity import identify_file
from interop.models import build, built, load

transformers = pytest.importorskip("transformers")

TEXT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
    "vocab_size": 99, "max_position_embeddings": 64,
}  # fmt: skip
PICTURE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
    "image_size": 32, "patch_size": 8, "num_labels": 3,
}  # fmt: skip
BART = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "vocab_size": 99,
}  # fmt: skip


def tokens():
    return {"input_ids": torch.randint(3, 90, (2, 9), generator=torch.Generator().manual_seed(0))}


def both():
    return tokens() | {"decoder_input_ids": tokens()["input_ids"][:, :4]}


def pictures():
    return {"pixel_values": torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}


def sound():
    return {"input_values": torch.rand(2, 2000, generator=torch.Generator().manual_seed(0))}


def mels():
    return {"input_features": torch.rand(1, 80, 100), "decoder_input_ids": both()["input_ids"][:1]}


WHISPER = BART | {
    "max_source_positions": 50, "max_target_positions": 20, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
CASES = {
    "BertForSequenceClassification": ("BertConfig", TEXT | {"num_labels": 3}, tokens),
    "BertForMaskedLM": ("BertConfig", TEXT, tokens),
    "GPT2LMHeadModel": (
        "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}, tokens),
    "LlamaForCausalLM": ("LlamaConfig", TEXT | {"tie_word_embeddings": True}, tokens),
    "MixtralForCausalLM": (
        "MixtralConfig", TEXT | {"num_key_value_heads": 2, "num_local_experts": 4}, tokens),
    "T5ForConditionalGeneration": (
        "T5Config", {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4,
                     "vocab_size": 99, "decoder_start_token_id": 0}, both),
    "BartForConditionalGeneration": ("BartConfig", BART, both),
    "MarianMTModel": (
        "MarianConfig", BART | {"pad_token_id": 98, "decoder_start_token_id": 98}, both),
    "WhisperForConditionalGeneration": ("WhisperConfig", WHISPER, mels),
    "ViTForImageClassification": ("ViTConfig", PICTURE, pictures),
    "YolosForObjectDetection": (
        "YolosConfig", PICTURE | {"image_size": [32, 32], "num_detection_tokens": 5}, pictures),
    "SegformerForSemanticSegmentation": (
        "SegformerConfig", {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1],
                            "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16,
                            "num_labels": 4}, pictures),
    "Wav2Vec2ForCTC": (
        "Wav2Vec2Config", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
                           "intermediate_size": 40, "vocab_size": 20, "conv_dim": (16, 16),
                           "conv_stride": (5, 2), "conv_kernel": (10, 3),
                           "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
                           "num_conv_pos_embedding_groups": 2}, sound),
}  # fmt: skip


def made(name, **more):
    config, fields, inputs = CASES[name]
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(getattr(transformers, config)(**fields, **more)).eval(), inputs()


def outputs(module, inputs):
    with torch.inference_mode():
        return [t for t in module(**inputs).to_tuple() if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize("name", CASES)
def test_a_saved_folder_becomes_its_module(tmp_path, name):
    module, inputs = made(name)
    module.save_pretrained(tmp_path)
    again, proof, notes = built(identify_file(tmp_path))
    assert proof.holds, proof.what
    assert proof.facts["checkpoint_fraction"] == proof.facts["module_fraction"] == 1
    assert type(again) is type(module) and not again.training and notes == ()
    for one, other in zip(outputs(module, inputs), outputs(again, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_map_from_disk_to_memory_is_stated(tmp_path):
    made("ViTForImageClassification")[0].save_pretrained(tmp_path)
    facts = built(identify_file(tmp_path))[1].facts
    assert facts["renamed"]["count"] == 32
    on_disk = set(load_file(tmp_path / "model.safetensors"))
    assert set(facts["renamed"]["examples"]) <= on_disk


def test_what_is_joined_on_the_way_is_taken_apart_again(tmp_path):
    made("MixtralForCausalLM")[0].save_pretrained(tmp_path)
    identity = identify_file(tmp_path)
    _module, proof, _ = built(identity)
    assert proof.facts["converted"]["count"] == 4
    from interop.models import key_mapping

    kept = key_mapping.undone
    try:
        # A way back that gives other numbers is seen.
        key_mapping.undone = lambda *a: {n: t + 1 for n, t in kept(*a).items()}
        proof = load(build(identity), identity)
    finally:
        key_mapping.undone = kept
    assert not proof.holds and len(proof.facts["unequal"]) == 2 * 3 * 4


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_ties_are_one_tensor_afterwards_and_stated(tmp_path, name):
    made(name)[0].save_pretrained(tmp_path)
    module, proof, _ = built(identify_file(tmp_path))
    assert "lm_head.weight" in proof.facts["ties"]
    assert module.lm_head.weight is module.get_input_embeddings().weight


def test_a_tie_that_the_class_does_not_have_is_missing(tmp_path):
    module, _ = made("GPT2LMHeadModel")
    module.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    proof = built(identify_file(tmp_path))[1]
    assert not proof.holds and proof.facts["missing"] == ["lm_head.weight"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "classifier.bias"}, "missing"),
        (lambda s: s | {"extra.weight": torch.ones(2)}, "unexpected"),
        (lambda s: s | {"classifier.bias": torch.ones(4)}, "reshaped"),
    ],
)
def test_what_does_not_fit_fails_the_proof(tmp_path, change, kind):
    made("BertForSequenceClassification")[0].save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    proof = built(identify_file(tmp_path))[1]
    assert not proof.holds and len(proof.facts[kind]) == 1


def test_what_the_class_leaves_aside_is_told(tmp_path):
    module, _inputs = made("BertForSequenceClassification")
    module.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = load_file(file) | {"bert.embeddings.position_ids": torch.arange(64)[None]}
    save_file(old, file, {"format": "pt"})
    proof = built(identify_file(tmp_path))[1]
    assert proof.holds and "left aside" in proof.what
    assert proof.facts["ignored"] == ["bert.embeddings.position_ids"]


def test_what_the_class_computes_anew_need_not_be_in_the_file(tmp_path, monkeypatch):
    module, _ = made("MarianMTModel")
    module.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert not any("embed_positions" in name for name in weights)
    assert built(identify_file(tmp_path))[1].facts["computed"] == [
        f"model.{part}.embed_positions.weight" for part in ("encoder", "decoder")
    ]
    # A weight that the class would draw is missing, whatever it says of it.
    lacking = "model.encoder.layers.0.fc1.weight"
    known = type(module)._keys_to_ignore_on_load_missing
    monkeypatch.setattr(type(module), "_keys_to_ignore_on_load_missing", [*known, r"fc1\.weight$"])
    del weights[lacking]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    proof = built(identify_file(tmp_path))[1]
    assert not proof.holds and proof.facts["missing"] == [lacking]


def test_a_regression_and_half_precision_are_built(tmp_path):
    module, inputs = made("BertForSequenceClassification")
    config = transformers.BertConfig(**TEXT, num_labels=1, problem_type="regression")
    module = transformers.BertForSequenceClassification(config).to(torch.float16)
    module.save_pretrained(tmp_path)
    again, proof, _ = built(identify_file(tmp_path))
    assert proof.holds and again.dtype == torch.float16
    assert outputs(again, inputs)[0].shape == (2, 1)


def refused(folder: Path, **changes) -> ModelError:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelError) as error:
        build(identify_file(folder))
    (folder / "config.json").write_text(json.dumps(config))
    return error.value


def test_what_is_refused(tmp_path):
    made("BertForSequenceClassification")[0].save_pretrained(tmp_path)
    assert "auto_map" in str(refused(tmp_path, auto_map={"AutoModel": "modeling_own.Own"}))
    assert "no model class" in str(refused(tmp_path, architectures=["NoSuchModel"]))
    assert "is of 'gpt2'" in str(refused(tmp_path, model_type="gpt2"))
    assert "quantised" in str(refused(tmp_path, quantization_config={"quant_method": "gptq"}))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelError, match="in no weight") as error:
        build(identify_file(tmp_path / "model.safetensors"))
    assert "config.json beside it" in error.value.fix


def test_names_that_safetensors_left_out_are_ties(tmp_path):
    from safetensors.torch import save_model

    from interop.models import ties

    module, inputs = made("T5ForConditionalGeneration")
    module.save_pretrained(tmp_path)
    save_model(module, str(tmp_path / "model.safetensors"))
    identity = identify_file(tmp_path)
    assert len(ties(identity)) == 3
    again, proof, _ = built(identity)
    assert proof.holds, proof.what
    assert torch.equal(outputs(again, inputs)[0], outputs(module, inputs)[0])
