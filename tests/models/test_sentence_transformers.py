"""A sentence-transformers folder is one model: the transformer and what is chained behind it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from interop.errors import ModelError
from interop.export import export
from interop.facts import Answer
from interop.identity import identify_file
from interop.verify.bundle import verify

IDS = np.array([[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
PACKAGE = "sentence_transformers.models."


def folder(place: Path, *modules: tuple[str, dict, dict[str, torch.Tensor]]) -> Path:
    """A folder as the library writes it: a small BERT, and modules as (class, config, weights)."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(place)
    listed = [{"idx": 0, "name": "0", "path": "", "type": PACKAGE + "Transformer"}]
    for i, (kind, settings, weights) in enumerate(modules, 1):
        path = f"{i}_{kind}"
        listed.append({"idx": i, "name": str(i), "path": path, "type": PACKAGE + kind})
        (place / path).mkdir()
        if settings:
            (place / path / "config.json").write_text(json.dumps(settings))
        if weights:
            save_file(weights, place / path / "model.safetensors")
    (place / "modules.json").write_text(json.dumps(listed))
    return place


def pooling(mode: str) -> tuple[str, dict, dict]:
    return "Pooling", {"word_embedding_dimension": 32, f"pooling_mode_{mode}": True}, {}


def dense(seed: int = 0) -> tuple[str, dict, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    weights = {
        "linear.weight": torch.randn(16, 32, generator=generator),
        "linear.bias": torch.randn(16, generator=generator),
    }
    config = {"in_features": 32, "out_features": 16, "bias": True,
              "activation_function": "torch.nn.modules.activation.Tanh"}  # fmt: skip
    return "Dense", config, weights


def answers(bundle: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    given = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": np.zeros_like(IDS)}
    (out,) = session.run(None, {i.name: given[i.name] for i in session.get_inputs()})
    return out


def tokens(place: Path) -> torch.Tensor:
    with torch.no_grad():
        model = BertModel.from_pretrained(place).eval()
        return model(torch.tensor(IDS), torch.tensor(MASK)).last_hidden_state


# By hand, from the definition of each mode: row 0 has six tokens, row 1 has three.
BY_HAND = {
    "mean_tokens": lambda t: torch.stack([t[0].mean(0), t[1, :3].mean(0)]),
    "cls_token": lambda t: t[:, 0],
    "max_tokens": lambda t: torch.stack([t[0].max(0).values, t[1, :3].max(0).values]),
    "mean_sqrt_len_tokens": lambda t: torch.stack([t[0].sum(0) / 6**0.5, t[1, :3].sum(0) / 3**0.5]),
    "weightedmean_tokens": lambda t: torch.stack(
        [
            sum((i + 1) * t[0, i] for i in range(6)) / 21,
            sum((i + 1) * t[1, i] for i in range(3)) / 6,
        ]
    ),
    "lasttoken": lambda t: torch.stack([t[0, 5], t[1, 2]]),
}


@pytest.mark.parametrize("mode", BY_HAND)
def test_each_pooling_mode_is_in_the_graph(mode, tmp_path):
    source = folder(tmp_path / "source", pooling(mode))
    report = export(identify_file(source), tmp_path / "out")
    assert report.outcome is Answer.YES, report.summary
    wanted = BY_HAND[mode](tokens(source)).numpy()
    np.testing.assert_allclose(answers(tmp_path / "out"), wanted, atol=1e-5)


def test_names_of_labels_in_the_transformers_config_are_of_another_use(tmp_path):
    source = folder(tmp_path / "source", pooling("mean_tokens"), dense())
    config = json.loads((source / "config.json").read_text())
    config |= {"id2label": {"0": "no", "1": "maybe", "2": "yes"}}
    (source / "config.json").write_text(json.dumps(config))
    identity = identify_file(source)
    assert identity.labels.names is None and identity.labels.applicable is False
    report = export(identity, tmp_path / "out")
    assert report.outcome is Answer.YES, report.summary
    assert verify(tmp_path / "out").outcome is Answer.YES


def test_dense_and_normalize_are_in_the_graph_and_the_bundle_verifies(tmp_path):
    source = folder(tmp_path / "source", pooling("mean_tokens"), dense(), ("Normalize", {}, {}))
    out = tmp_path / "out"
    report = export(identify_file(source), out)
    assert report.outcome is Answer.YES, report.summary
    weights = dense()[2]
    pooled = BY_HAND["mean_tokens"](tokens(source))
    wanted = torch.tanh(pooled @ weights["linear.weight"].T + weights["linear.bias"])
    wanted = wanted / wanted.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(answers(out), wanted.numpy(), atol=1e-5)
    loaded = report.proofs[0]
    assert "Transformer > 1_Pooling > 2_Dense > 3_Normalize, 2 of 2_Dense" in loaded.what
    for name in ("modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors"):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    assert verify(out).outcome is Answer.YES
    # Another trained module in the bundle: the receipt notices, and so does a re-signed one.
    save_file(dense(1)[2], out / "2_Dense" / "model.safetensors")
    assert verify(out).proofs[0].holds is False


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        ([("Pooling", {"pooling_mode_something": True}, {})], "pooling_mode_something"),
        ([("LSTM", {"hidden_dim": 4}, {"x": torch.zeros(1)})], "not built"),
        ([pooling("mean_tokens"), ("Dense", dense()[1], {})], "weights are missing"),
        (
            [pooling("mean_tokens"), ("Dense", {**dense()[1], "out_features": 8}, dense()[2])],
            "do not fit",
        ),
        (
            [pooling("mean_tokens"), ("Dense", {**dense()[1], "activation_function": "os.system"},
                                      dense()[2])],
            "os.system",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_whole_is_refused(modules, why, tmp_path):
    source = folder(tmp_path / "source", *modules)
    with pytest.raises(ModelError, match=why) as refused:
        export(identify_file(source), tmp_path / "out")
    assert refused.value.rule == "part-missing"
    assert not (tmp_path / "out").exists()
