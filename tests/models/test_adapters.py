"""Adapters are merged into their base, and the merge is proved, or said to be none."""

import json

import pytest
import torch

from interop.errors import ModelError
from interop.identity import identify_file
from interop.models import adapters, build, built

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

TEXT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
    "vocab_size": 99, "max_position_embeddings": 64,
}  # fmt: skip
TOKENS = {"input_ids": torch.randint(3, 90, (2, 9), generator=torch.Generator().manual_seed(0))}


def bert(**more):
    torch.manual_seed(0)
    config = transformers.BertConfig(**TEXT, num_labels=3, **more)
    return transformers.BertForSequenceClassification(config)


def adapted(module, folder, **options):
    """peft's module with an adapter that does something, saved."""
    model = peft.get_peft_model(module, peft.LoraConfig(r=4, **options)).eval()
    for name, tensor in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(tensor, std=0.1)
    model.save_pretrained(folder)
    return model


def logits(module, inputs):
    with torch.inference_mode():
        made = module(**inputs) if isinstance(inputs, dict) else module(inputs)
    return made if isinstance(made, torch.Tensor) else made.logits


@pytest.fixture
def pair(tmp_path):
    bert().save_pretrained(tmp_path / "base")
    options = {"task_type": "SEQ_CLS", "target_modules": ["query", "dense"]}
    model = adapted(bert(), tmp_path / "adapter", **options)
    return tmp_path / "base", tmp_path / "adapter", model


def test_a_lora_of_a_text_model_is_merged_and_weighed(pair):
    base, folder, model = pair
    identity = identify_file(folder)
    module, proof, _ = built(identity, base=base)
    assert proof.holds, proof.what
    facts = proof.facts
    assert facts["recomputed"] == len(facts["merged"]) == 9
    assert 0 < facts["largest_ulps"] < 4
    assert facts["adapter_tensors"] == len(facts["adapter_names"]) == 20
    assert facts["replaced"] == ["classifier.weight", "classifier.bias"]
    torch.testing.assert_close(logits(module, TOKENS), logits(model, TOKENS), rtol=1e-5, atol=1e-6)
    assert not any("lora" in name for name in module.state_dict())


def test_an_adapter_without_its_base_is_no_model(pair):
    with pytest.raises(ModelError, match="no model without its base") as error:
        build(identify_file(pair[1]))
    assert "--base" in error.value.fix
    with pytest.raises(ModelError, match="it holds none"):
        built(identify_file(pair[0]), base=pair[0])


def test_a_base_of_another_head_gives_its_backbone_alone(tmp_path, pair):
    _, folder, model = pair
    whole = transformers.BertForPreTraining(transformers.BertConfig(**TEXT))
    whole.bert.load_state_dict(bert().bert.state_dict())
    whole.save_pretrained(tmp_path / "other")
    module, proof, _ = built(identify_file(folder), base=tmp_path / "other")
    assert proof.holds, proof.what
    assert proof.facts["supplied"] == ["classifier.weight", "classifier.bias"]
    assert all(n.startswith("cls.") for n in proof.facts["left_of_base"])
    torch.testing.assert_close(logits(module, TOKENS), logits(model, TOKENS), rtol=1e-5, atol=1e-6)


def test_a_base_of_other_shapes_is_refused(tmp_path, pair):
    wide = {**TEXT, "hidden_size": 64, "num_labels": 3}
    other = transformers.BertForSequenceClassification(transformers.BertConfig(**wide))
    other.save_pretrained(tmp_path / "wide")
    with pytest.raises(ModelError, match=r"not this base's|features"):
        built(identify_file(pair[1]), base=tmp_path / "wide")
    gpt = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=99)
    )
    gpt.save_pretrained(tmp_path / "gpt")
    _, proof, _ = built(identify_file(pair[1]), base=tmp_path / "gpt")
    assert not proof.holds


def test_a_tensor_that_peft_does_not_use_fails_the_proof(pair):
    from safetensors.torch import load_file, save_file

    base, folder, _ = pair
    file = folder / "adapter_model.safetensors"
    state = load_file(file)
    spare = "base_model.model.bert.encoder.layer.7.attention.self.query.lora_A.weight"
    save_file(state | {spare: torch.rand(4, 32)}, file)
    proof = built(identify_file(folder), base=base)[1]
    assert not proof.holds and proof.facts["unused"] == [spare]
    first = next(iter(state))
    save_file({n: t for n, t in state.items() if n != first}, file)
    proof = built(identify_file(folder), base=base)[1]
    assert not proof.holds and len(proof.facts["not_in_adapter"]) == 1


def test_a_merge_that_is_another_sum_fails_the_proof(pair, monkeypatch):
    base, folder, _ = pair
    kept = peft.tuners.lora.Linear.get_delta_weight
    monkeypatch.setattr(peft.tuners.lora.Linear, "get_delta_weight", lambda *a: kept(*a) * 1.001)
    proof = built(identify_file(folder), base=base)[1]
    assert not proof.holds and len(proof.facts["unequal"]) == 9


def test_a_change_beside_the_adapter_fails_the_proof(pair, monkeypatch):
    base, folder, _ = pair
    kept = adapters._Merging._compare

    def touched(self, live):
        kept(self, live)
        next(t for n, t in self.module.state_dict().items() if "word_emb" in n).add_(1)

    monkeypatch.setattr(adapters._Merging, "_compare", touched)
    proof = built(identify_file(folder), base=base)[1]
    assert not proof.holds
    assert proof.facts["changed"] == ["bert.embeddings.word_embeddings.weight"]


def test_a_base_that_lacks_a_tensor_is_not_merged(pair):
    from safetensors.torch import load_file, save_file

    base, folder, _ = pair
    state = load_file(base / "model.safetensors")
    state.pop("bert.pooler.dense.bias")
    save_file(state, base / "model.safetensors", {"format": "pt"})
    proof = built(identify_file(folder), base=base)[1]
    assert not proof.holds and proof.what.startswith("of the base")


def test_a_pickled_adapter_is_read_and_never_unpickled(pair, monkeypatch):
    from safetensors.torch import load_file

    base, folder, model = pair
    state = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(state, folder / "adapter_model.bin")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("unpickled"))
    module, proof, _ = built(identify_file(folder), base=base)
    assert proof.holds, proof.what
    torch.testing.assert_close(logits(module, TOKENS), logits(model, TOKENS), rtol=1e-5, atol=1e-6)


def test_an_adapter_without_its_config_is_refused(pair):
    base, folder, _ = pair
    (folder / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match=r"without its adapter_config\.json"):
        built(identify_file(folder), base=base)


def test_what_cannot_be_merged_is_said(pair):
    base, folder, _ = pair
    config = json.loads((folder / "adapter_config.json").read_text())
    prompt = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_CLS", "num_virtual_tokens": 3}
    (folder / "adapter_config.json").write_text(json.dumps(prompt | {"token_dim": 32}))
    with pytest.raises(ModelError):
        built(identify_file(folder), base=base)
    assert config["peft_type"] == "LORA"


def test_a_convolutions_adapter_in_a_timm_model(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model("resnet10t")
    timm.models.save_for_hf(module, tmp_path / "base")
    module.reset_classifier(5)
    options = {"target_modules": ["0.conv1", "conv2"], "modules_to_save": ["fc"]}
    model = adapted(module, tmp_path / "adapter", **options)
    merged, proof, _ = built(identify_file(tmp_path / "adapter"), base=tmp_path / "base")
    assert proof.holds, proof.what
    assert proof.facts["recomputed"] == len(proof.facts["merged"])
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(logits(merged, x), logits(model, x), rtol=1e-5, atol=1e-5)
