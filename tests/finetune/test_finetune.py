"""The whole way: pretrained weights, real digits, and what the checkpoint is good for."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interop.bench import BenchOptions, bench
from interop.check import check
from interop.errors import ConfigError, DataError, ModelError
from interop.export import export
from interop.facts import Answer, Report
from interop.identity import identify_file

from .conftest import Train


def headline(report: Report) -> float:
    value = report.measurements[0].value
    assert value is not None
    return value


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, pictures: Path, digits: Path) -> Any:
    """The committed backbone, trained both ways for ten digits; the report and the checkpoint."""
    from interop.finetune import FinetuneOptions, finetune

    out = tmp_path_factory.mktemp("tuned") / "model.pth"
    options = FinetuneOptions(out=out, epochs=3, rate=2e-3)
    return finetune(str(digits / "base.pth"), pictures, options), out


def test_the_checkpoint_needs_nothing_more(tuned: Any, digits: Path, tmp_path: Path) -> None:
    report, out = tuned
    assert report.outcome is Answer.YES
    identity = identify_file(out, content_hash=True, whole=True)
    assert identity.architecture == "torchvision/shufflenet_v2_x0_5"
    assert identity.labels.names == tuple(sorted(p.name for p in (digits / "heldout").iterdir()))
    assert identity.preprocessing is not None and identity.preprocessing.size == (64, 64)
    verdicts = {v.intent: v.answer for v in check(digits / "base.pth", out).verdicts}
    assert verdicts["transfer"] is Answer.YES and verdicts["reload"] is Answer.NO
    made = export(identity, tmp_path / "bundle")
    assert made.outcome is Answer.YES and all(p.holds for p in made.proofs)
    seen = bench([identify_file(tmp_path / "bundle")], digits / "heldout", BenchOptions(batches=()))
    accuracy = [m.value for m in seen.measurements if m.name == "top-1"]
    assert min(accuracy) > 0.5  # chance is 0.1
    assert abs(accuracy[0] - headline(report)) < 0.25


def test_the_record_says_what_it_was_made_of(tuned: Any, digits: Path) -> None:
    report, out = tuned
    held = torch.load(out, weights_only=True)
    assert held["base"]["name"] == "base.pth" and held["base"]["loaded_fraction"] == 1
    assert (
        held["base"]["sha256"]
        == identify_file(digits / "base.pth", content_hash=True, whole=True).manifest.content_sha256
    )
    training = held["training"]
    assert training["settings"]["optimizer"] == "adamw" and training["task"]
    rows = [(r["phase"], r["epoch"]) for r in training["curves"]]
    assert rows == [(p, e) for p in ("probe", "full") for e in (1, 2, 3)]
    assert not any("seconds" in key for row in training["curves"] for key in row)
    assert all(row.seconds > 0 for row in report.details.curves)
    chance = [m for m in report.measurements if m.name == "chance"]
    assert chance[0].value == pytest.approx(0.1)
    assert not list(out.parent.glob("*.training"))  # the state is gone


def test_a_probe_leaves_the_backbone_as_it_was(
    train: Train, pictures: Path, digits: Path, tmp_path: Path
) -> None:
    report = train(pictures, tmp_path / "m.safetensors", mode="probe", epochs=4, probe_rate=1e-2)
    identity = identify_file(tmp_path / "m.safetensors")
    assert identity.labels.names and identity.architecture == "torchvision/shufflenet_v2_x0_5"
    from safetensors.torch import load_file

    before, after = weights(digits / "base.pth"), load_file(tmp_path / "m.safetensors")
    changed = [n for n in before if n not in after or not torch.equal(before[n], after[n])]
    assert changed == ["fc.weight", "fc.bias"]  # batch norms' statistics neither
    assert any(p.name == "cached features" for p in report.proofs)
    assert headline(report) > 0.4


def test_without_cached_features_it_is_the_same_training(
    train: Train, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interop.finetune import caching

    train(pictures, tmp_path / "a.pth", mode="probe")
    monkeypatch.setattr(caching, "prove", lambda *_: (None, "it is a test"))
    report = train(pictures, tmp_path / "b.pth", mode="probe")
    assert any("it is a test" in note for note in report.details.notes)
    a, b = weights(tmp_path / "a.pth"), weights(tmp_path / "b.pth")
    assert all(torch.allclose(a[n], b[n], atol=1e-5) for n in a)
    assert not torch.equal(a["fc.bias"], torch.zeros(10))


def test_what_is_not_filled_is_not_trained(
    train: Train, pictures: Path, digits: Path, tmp_path: Path
) -> None:
    broken = torch.load(digits / "base.pth", weights_only=True)
    del broken["state_dict"]["stage3.0.branch1.0.weight"]
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(ModelError, match="its tensors do not bear out"):
        train(pictures, tmp_path / "m.pth", backbone=tmp_path / "broken.pth")
    name = "torchvision/shufflenet_v2_x0_5"
    report = train(
        pictures, tmp_path / "m.pth", backbone=name, weights=tmp_path / "broken.pth", mode="probe"
    )
    assert report.outcome is Answer.NO and report.exit_code == 1
    assert [f.rule for f in report.findings] == ["loaded-fraction-low"]
    assert not (tmp_path / "m.pth").exists() and not report.proofs[0].holds


def test_a_head_that_is_no_layer_runs_the_backbone(
    train: Train, pictures: Path, tmp_path: Path
) -> None:
    how = {"resize": [64, 64], "mean": [0.3] * 3, "std": [0.4] * 3}
    from interop.identity.metadata import parse_preprocessing

    report = train(
        pictures, tmp_path / "m.pth", backbone="random:torchvision/squeezenet1_1", mode="probe",
        epochs=1, preprocessing=parse_preprocessing(how, "a test"),
    )  # fmt: skip
    assert "one vector a sample" in report.details.notes[0]
    assert report.details.base.loaded_fraction == 0
    assert report.details.base.sha256 is None


def test_the_same_settings_go_on_and_others_are_refused(
    train: Train, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interop.finetune import training

    whole = train(pictures, tmp_path / "m.pth", epochs=2)
    expected = (tmp_path / "m.pth").read_bytes()
    (tmp_path / "m.pth").unlink()
    real, calls = training._epoch, []

    def failing(phase: Any, *rest: Any) -> float:
        calls.append(phase.name)
        if len(calls) == 4:  # in the second epoch of the second phase
            raise KeyboardInterrupt
        return real(phase, *rest)

    monkeypatch.setattr(training, "_epoch", failing)
    with pytest.raises(KeyboardInterrupt):
        train(pictures, tmp_path / "m.pth", epochs=2)
    assert not (tmp_path / "m.pth").exists()
    with pytest.raises(ConfigError, match=r"rate was 0\.002 and is 0\.001"):
        train(pictures, tmp_path / "m.pth", epochs=2, rate=1e-3)
    again = train(pictures, tmp_path / "m.pth", epochs=2)
    assert calls[4:] == ["full"] and again.details.resumed
    assert (tmp_path / "m.pth").read_bytes() == expected
    assert again.proofs[1].name == whole.proofs[1].name == "cached features"


def test_other_seeds_give_other_weights(train: Train, pictures: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(pictures, tmp_path / f"{seed}.pth", mode="probe", epochs=1, seed=seed)
    a, b = (weights(tmp_path / f"{seed}.pth") for seed in (0, 1))
    assert not torch.equal(a["fc.weight"], b["fc.weight"])


@pytest.mark.parametrize("centred", [True, False])
def test_numbers_come_out_in_their_own_unit(
    train: Train, pictures: Path, tmp_path: Path, centred: bool
) -> None:
    """The digit itself, as a number far from 0: without the scale nothing would learn it."""
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    table = pictures / f"numbers-{centred}.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "target"))
        for path in sorted(pictures.rglob("*.png")):
            number = names.index(path.parent.name)
            rows.writerow((path.relative_to(pictures), 1000 + 50.5 * number if centred else number))
    report = train(
        table, tmp_path / "m.pth", task=None if centred else "regression", mode="probe", epochs=8,
        probe_rate=1e-2, batch=16,
    )  # fmt: skip
    values = {m.name: m.value for m in report.measurements if m.conditions["group"] == "validation"}
    assert values["MAE"] < 0.75 * values["chance"]
    identity = identify_file(tmp_path / "m.pth", content_hash=True, whole=True)
    assert not identity.labels.applicable
    table.unlink()


def test_ones_own_module(train: Train, pictures: Path, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "from torchvision.models import shufflenet_v2_x0_5\n"
        "def make():\n"
        "    net = shufflenet_v2_x0_5(weights=None)\n"
        "    net.fc = nn.Sequential(nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 10))\n"
        "    return net\n"
    )
    factory = f"{tmp_path}/nets.py:make"
    report = train(pictures, tmp_path / "m.pth", factory=factory, mode="probe")
    assert report.proofs[0].facts["backbone_fraction"] == 1
    held = torch.load(tmp_path / "m.pth", weights_only=True)
    assert "fc.2.weight" in held["state_dict"] and len(held["labels"]) == 10
    assert str(tmp_path) not in json.dumps(held["training"])  # no path of this machine
    with pytest.raises(ModelError, match=r"\(\d+, 10\) is needed"):
        (tmp_path / "wide.py").write_text(
            (tmp_path / "nets.py").read_text().replace("Linear(32, 10)", "Linear(32, 4)")
        )
        train(pictures, tmp_path / "n.pth", factory=f"{tmp_path}/wide.py:make", mode="probe")


def test_validation_of_its_own(train: Train, pictures: Path, digits: Path, tmp_path: Path) -> None:
    report = train(pictures, tmp_path / "a.pth", validation=str(digits / "heldout"), mode="probe")
    assert report.measurements[0].conditions["samples"] == 320
    assert len(report.details.notes) == 1  # that the epoch was chosen by them
    report = train(pictures, tmp_path / "b.pth", validation=str(pictures), mode="probe")
    assert "140 of the 140 validation samples are trained on too" in report.details.notes[0]


def test_what_cannot_be_trained_is_refused(
    train: Train, pictures: Path, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.pth"
    with pytest.raises(ConfigError, match=r"end it with \.pth"):
        train(pictures, tmp_path / "m")
    with pytest.raises(ConfigError, match="float16 is trained on CUDA alone"):
        train(pictures, out, precision="float16")
    with pytest.raises(ConfigError, match="--warmup: cannot be 1"):
        train(pictures, out, warmup=1.0)
    with pytest.raises(DataError, match="0 would be held back"):
        train(pictures, out, validation="0.001")
    with pytest.raises(ModelError, match=r"the loss of epoch 1 .* is no number"):
        train(pictures, out, optimizer="sgd", rate=1e30, clip=0, mode="full")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    out.write_text("older")
    with pytest.raises(ConfigError, match="exists"):
        train(pictures, out)
    assert out.read_text() == "older"
    with pytest.raises(ConfigError, match="is the backbone itself"):
        train(pictures, digits / "base.pth", force=True)


def test_early_stopping_ends_a_phase(train: Train, pictures: Path, tmp_path: Path) -> None:
    report = train(
        pictures, tmp_path / "m.pth", mode="probe", epochs=30, patience=2, probe_rate=1e-2
    )
    curve = report.details.curves
    best = report.details.best.epoch
    assert len(curve) == best + 2 < 30
    assert max(r.figure for r in curve) == report.details.best.figure
    assert np.isclose(headline(report), report.details.best.figure)


def test_an_autoencoders_encoder_under_a_classifier(
    train: Train, pictures: Path, digits: Path, tmp_path: Path
) -> None:
    """The committed autoencoder: its encoder fills the module's, its decoder is left aside."""
    (tmp_path / "coded.py").write_text(
        "from torch import nn\n"
        "from fixtures.autoencoder import ConvAutoencoder\n"
        "class Coded(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.encoder = ConvAutoencoder().encoder\n"
        "        self.head = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.encoder(x).flatten(1))\n"
    )
    report = train(
        pictures, tmp_path / "m.pth", backbone=digits / "autoencoder.pth", mode="both", epochs=6,
        factory=f"{tmp_path}/coded.py:Coded", probe_rate=1e-2,
        preprocessing=identify_file(digits / "base.pth").preprocessing,
    )  # fmt: skip
    proof = report.proofs[0]
    assert proof.holds and proof.facts["backbone_fraction"] == 1
    assert proof.facts["fresh"] == ["head.weight", "head.bias"]
    assert all(n.startswith("decoder.") for n in proof.facts["left_aside"])
    assert headline(report) > 0.3
