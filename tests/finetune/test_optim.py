"""Which block has which rate, and how rates go over the steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.models import inception_v3, resnet18

from interop.finetune.optim import factor, groups, optimizer, stages
from interop.finetune.options import FinetuneOptions

HOW = FinetuneOptions(out=Path("m.pth"))


def test_blocks_from_input_to_output() -> None:
    model = resnet18(weights=None)
    names = [n for n, _ in model.named_parameters() if not n.startswith("fc.")]
    found = stages(model, names)
    # The stem with its norm, two blocks a layer, and nothing lost.
    assert [s[0] for s in found] == [
        "conv1.weight", *(f"layer{i}.{k}.conv1.weight" for i in (1, 2, 3, 4) for k in (0, 1)),
    ]  # fmt: skip
    assert "bn1.weight" in found[0]
    assert sorted(n for s in found for n in s) == sorted(names)


def test_branches_of_one_block_are_one_block() -> None:
    model = inception_v3(weights=None, init_weights=False)
    names = [n for n, _ in model.named_parameters()]
    firsts = [s[0].partition(".")[0] for s in stages(model, names)]
    assert len(firsts) == len(set(firsts)) and "Mixed_5b" in firsts


def test_blocks_of_a_transformer() -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(vocab_size=20, num_hidden_layers=3, **small)
    )
    names = [n for n, _ in model.named_parameters() if n.startswith("bert.")]
    found = [s[0].rsplit(".", 1)[0] for s in stages(model, names)]
    assert found[0].startswith("bert.embeddings") and found[-1].startswith("bert.pooler")
    assert len(found) == 5


def test_rates_fall_towards_the_input() -> None:
    model = resnet18(weights=None)
    names = [n for n, _ in model.named_parameters()]
    head = {"fc.weight", "fc.bias"}
    how = FinetuneOptions(out=Path("m.pth"), layer_decay=0.5, head_rate_factor=10, weight_decay=0.3)
    made = groups(model, names, head, 1e-3, how)
    rate = {id(p): g["base"] for g in made for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in made for p in g["params"]}
    assert len(rate) == len(names)
    assert rate[id(model.fc.weight)] == pytest.approx(1e-2)
    assert rate[id(model.layer4[1].conv1.weight)] == pytest.approx(1e-3)
    assert rate[id(model.layer4[0].conv1.weight)] == pytest.approx(5e-4)
    assert rate[id(model.conv1.weight)] == pytest.approx(1e-3 * 0.5**8)
    assert decay[id(model.conv1.weight)] == 0.3
    assert decay[id(model.bn1.weight)] == decay[id(model.fc.bias)] == 0
    for kind, name in (("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")):
        built = optimizer(
            [dict(g) for g in made], FinetuneOptions(out=Path("m.pth"), optimizer=kind)
        )
        assert type(built).__name__ == name


def test_rates_rise_then_fall() -> None:
    told = [factor(i, 100, HOW) for i in range(100)]
    assert told[0] == pytest.approx(0.1) and max(told) == told[9] == 1
    assert told[9:] == sorted(told[9:], reverse=True) and 0 < told[-1] < 0.01
    assert told[55] == pytest.approx(0.5, abs=0.01)
    flat = FinetuneOptions(out=Path("m.pth"), schedule="constant", warmup=0)
    assert {factor(i, 7, flat) for i in range(7)} == {1.0}
