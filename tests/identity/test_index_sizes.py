"""Families of free sizes are known at any size, in memory and on disk, with their heads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from interop.identity import identify, identify_file
from tests.helpers.manifests import manifest, shapes_of

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 96, "num_hidden_layers": 5, "num_attention_heads": 4}
IMAGE = {**SMALL, "intermediate_size": 160, "num_labels": 7}
GPT = {"n_embd": 96, "n_layer": 3, "n_head": 4, "vocab_size": 211}
DISTIL = {"dim": 96, "n_layers": 3, "n_heads": 4, "hidden_dim": 160, "vocab_size": 211} | {
    "num_labels": 7
}
TEXT = {**SMALL, "vocab_size": 211, "intermediate_size": 160, "num_labels": 7}


@pytest.mark.parametrize(
    ("model", "config", "role", "outputs"),
    [
        ("BertForSequenceClassification", TEXT, "classes", 7),
        ("BertForTokenClassification", TEXT, "token classes", 7),
        ("BertForQuestionAnswering", {**TEXT, "num_labels": 2}, "answer span", 2),
        ("BertForMaskedLM", TEXT, "vocabulary", 211),
        ("RobertaForSequenceClassification", TEXT, "classes", 7),
        ("ViTForImageClassification", IMAGE, "classes", 7),
        ("LlamaForCausalLM", {**TEXT, "num_key_value_heads": 2}, "vocabulary", 211),
        ("GPT2LMHeadModel", GPT, "vocabulary", 211),
        ("DistilBertForSequenceClassification", DISTIL, "classes", 7),
    ],
)  # fmt: skip
def test_a_family_is_known_at_any_size(
    model: str, config: dict[str, int], role: str, outputs: int, tmp_path: Path
) -> None:
    kind = getattr(transformers, model)
    made = kind(kind.config_class(**config))
    made.save_pretrained(tmp_path)
    torch.save(made.state_dict(), tmp_path / "bare.pth")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "model.safetensors").write_bytes(
        (tmp_path / "model.safetensors").read_bytes()
    )
    for file in (tmp_path / "bare.pth", tmp_path / "alone" / "model.safetensors"):
        seen = identify_file(file)
        names = [n for a in seen.architectures for n in (a.name, *a.also)]
        assert f"transformers/{model}" in names, file
        sizes = seen.architectures[0].sizes
        for field in ("hidden_size", "n_embd", "dim", "intermediate_size", "vocab_size"):
            if field in config:
                assert sizes[field] == config[field]
        assert seen.head is not None, file
        assert seen.head.outputs == outputs
        if len(seen.architectures) == 1:
            assert seen.head.role == role
    folder = identify_file(tmp_path)
    assert folder.architecture is not None, folder.ambiguity
    assert folder.architecture == f"transformers/{model}"


def test_layers_of_two_widths_are_no_member_of_the_family() -> None:
    config = transformers.BertConfig(**TEXT)
    shapes = shapes_of(transformers.BertForSequenceClassification(config))
    assert identify(manifest(shapes)).architecture == "transformers/BertForSequenceClassification"
    broken = {**shapes, "bert.encoder.layer.3.intermediate.dense.weight": (161, 96)}
    assert identify(manifest(broken)).architectures == ()
    for part in ("layer.4.attention", "layer.1."):
        lost = {n: s for n, s in shapes.items() if part not in n}
        assert identify(manifest(lost)).architectures == ()


def test_a_head_of_ones_own_on_a_family_s_backbone() -> None:
    config = transformers.BertConfig(**TEXT)
    body = shapes_of(transformers.BertModel(config))
    own = {f"encoder.{n}": s for n, s in body.items()} | {
        "top.1.weight": (3, 96),
        "top.1.bias": (3,),
    }
    seen = identify(manifest(own))
    assert "transformers/BertModel" in [a.name for a in seen.architectures]
    assert seen.root == "encoder"
    assert seen.head is not None and (seen.head.path, seen.head.outputs) == ("top", 3)
    gone = identify(manifest(body))
    assert gone.architectures == seen.architectures and gone.head is None


def test_a_config_that_names_another_family_is_not_believed() -> None:
    shapes = shapes_of(transformers.BertForSequenceClassification(transformers.BertConfig(**TEXT)))
    told = {"config.json": json.loads('{"architectures": ["ViTForImageClassification"]}')}
    seen = identify(manifest(shapes, told))
    assert "do not bear out" in seen.ambiguity


def test_causal_masks_of_old_files_are_no_weights() -> None:
    shapes = shapes_of(transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT)))
    masks: dict[str, tuple[int, ...]] = {
        f"transformer.h.{i}.attn.bias": (1, 1, 1024, 1024) for i in range(3)
    }
    seen = identify(manifest(shapes | masks))
    assert seen.architecture == "transformers/GPT2LMHeadModel"
    assert seen.head is not None and seen.head.path == "lm_head"


def test_a_speech_model_has_its_mask_vector_or_not() -> None:
    config = transformers.Wav2Vec2Config(**TEXT)
    shapes = shapes_of(transformers.Wav2Vec2ForCTC(config))
    assert "wav2vec2.masked_spec_embed" in shapes
    bare = {n: s for n, s in shapes.items() if "masked_spec_embed" not in n}
    for given in (shapes, bare):
        seen = identify(manifest(given))
        assert seen.architecture == "transformers/Wav2Vec2ForCTC"
        assert seen.head is not None and seen.head.role == "characters"
        assert seen.side_heads == ()


def test_a_class_is_named_only_with_all_that_leads_to_its_head() -> None:
    shapes = shapes_of(
        transformers.Wav2Vec2ForSequenceClassification(transformers.Wav2Vec2Config(**TEXT))
    )
    own = {n: s for n, s in shapes.items() if not n.startswith(("projector", "classifier"))}
    own |= {"classifier.dense.weight": (96, 96), "classifier.out_proj.weight": (8, 96)}
    seen = identify(manifest(own))
    assert seen.architectures and seen.head is not None
    # A head of somebody's own, and no class's with the projection before it gone.
    assert (seen.head.path, seen.head.evidence) == ("classifier", "beside 'wav2vec2'")


def test_what_leads_to_a_head_is_no_head_where_that_is_gone() -> None:
    shapes = shapes_of(
        transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**DISTIL))
    )
    gone = {n: s for n, s in shapes.items() if not n.startswith("classifier")}
    seen = identify(manifest(gone))
    names = [a.name for a in seen.architectures]
    assert "transformers/DistilBertForSequenceClassification" in names
    assert seen.head is not None and (seen.head.path, seen.head.kind) == ("classifier", "removed")


def test_another_head_of_a_class_is_not_what_leads_to_its_first() -> None:
    shapes = shapes_of(transformers.BertForNextSentencePrediction(transformers.BertConfig(**TEXT)))
    seen = identify(manifest(shapes))
    assert seen.architecture == "transformers/BertModel"
    assert seen.head is not None and (seen.head.path, seen.head.outputs) == ("cls", 2)


def test_an_architecture_is_not_listed_again_under_its_other_name() -> None:
    shapes = shapes_of(transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**TEXT)))
    names = [n for a in identify(manifest(shapes)).architectures for n in (a.name, *a.also)]
    assert len(names) == len(set(names)) and "transformers/HubertModel" in names
