"""Pretraining without labels, and the recipe that transfers nothing."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from interop.errors import ConfigError
from interop.finetune.autoencoder import Autoencoder, Decoder, Reconstruction
from interop.identity.metadata import parse_preprocessing

from .conftest import Train

HOW = parse_preprocessing({"resize": [32, 32], "mean": [0.3] * 3, "std": [0.4] * 3}, "a test")


def test_the_encoder_becomes_the_backbone(train: Train, few: Path, tmp_path: Path) -> None:
    report = train(
        few, tmp_path / "m.pth", backbone="random:torchvision/shufflenet_v2_x0_5",
        mode="probe", pretrain="autoencoder", pretrain_epochs=2, epochs=1, preprocessing=HOW,
    )  # fmt: skip
    proof = next(p for p in report.proofs if p.name == "transferred fraction")
    assert proof.holds and proof.facts["backbone_fraction"] == 1
    assert all(name.startswith("fc.") for name in proof.facts["fresh"])
    rows = [r for r in report.details.curves if r.phase == "pretrain"]
    assert len(rows) == 2 and rows[1].train_loss < rows[0].train_loss
    training = torch.load(tmp_path / "m.pth", weights_only=True)["training"]
    assert training["settings"]["pretrain"] == "autoencoder"
    assert training["curves"][0]["phase"] == "pretrain"
    plain = train(
        few, tmp_path / "n.pth", backbone="random:torchvision/shufflenet_v2_x0_5",
        mode="probe", epochs=1, preprocessing=HOW,
    )  # fmt: skip
    assert len(plain.proofs) == len(report.proofs) - 1
    a, b = (torch.load(tmp_path / f"{n}.pth", weights_only=True)["state_dict"] for n in "mn")
    assert not torch.equal(a["conv1.0.weight"], b["conv1.0.weight"])


def test_a_killed_pretraining_goes_on(
    train: Train, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interop.finetune import training

    given = {
        "backbone": "random:torchvision/shufflenet_v2_x0_5", "mode": "probe", "epochs": 2,
        "pretrain": "autoencoder", "pretrain_epochs": 2, "preprocessing": HOW,
    }  # fmt: skip
    out = tmp_path / "m.pth"
    train(few, out, **given)
    expected = out.read_bytes()
    real = training._epoch
    for stop in (2, 4):  # within the pretraining; after it, within the probe
        out.unlink()
        calls = []

        def failing(*args: object, stop: int = stop, calls: list[int] = calls) -> float:
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(training, "_epoch", failing)
        with pytest.raises(KeyboardInterrupt):
            train(few, out, **given)
        monkeypatch.setattr(training, "_epoch", real)
        again = train(few, out, **given)
        assert out.read_bytes() == expected
        assert any(p.name == "transferred fraction" for p in again.proofs)


def test_the_usual_recipe_loads_nothing() -> None:
    """An autoencoder's state dict into a classifier, strict=False: no tensor, and no word of it."""
    from torchvision.models import shufflenet_v2_x0_5

    classifier = shufflenet_v2_x0_5(weights=None, num_classes=10)
    coder = Autoencoder(shufflenet_v2_x0_5(weights=None, num_classes=10).eval(), "fc",
                        torch.zeros(2, 3, 32, 32))  # fmt: skip
    before = {n: t.clone() for n, t in classifier.state_dict().items()}
    found = classifier.load_state_dict(coder.state_dict(), strict=False)
    weights = [n for n in before if not n.endswith("num_batches_tracked")]
    assert found.missing_keys == weights and len(found.unexpected_keys) > len(weights)
    assert all(torch.equal(before[n], t) for n, t in classifier.state_dict().items())
    # With the prefix off, all of them load: it was never more than the names.
    inner = OrderedDict(
        (n.removeprefix("encoder."), t)
        for n, t in coder.state_dict().items() if n.startswith("encoder.")
    )  # fmt: skip
    assert not classifier.load_state_dict(inner).missing_keys


def test_any_nesting_of_unlabelled_pictures(train: Train, few: Path, tmp_path: Path) -> None:
    import shutil

    for n, path in enumerate(sorted(few.rglob("*.png"))[:20]):
        target = tmp_path / "raw" / f"a{n % 2}" / f"b{n % 3}"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / f"{n}.png")
    (tmp_path / "raw" / "notes.txt").write_text("no picture")
    report = train(
        few, tmp_path / "m.pth", mode="probe", pretrain="autoencoder", pretrain_epochs=1,
        unlabelled=tmp_path / "raw", epochs=1,
    )  # fmt: skip
    assert report.details.curves[0].phase == "pretrain"
    with pytest.raises(ConfigError, match="--unlabelled"):
        train(few, tmp_path / "n.pth", unlabelled=tmp_path / "raw")


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28), (3, 30, 50)])
def test_the_decoder_gives_the_pictures_own_shape(shape: tuple[int, int, int]) -> None:
    assert Decoder(7, shape)(torch.zeros(2, 7)).shape == (2, *shape)


def test_variance_explained() -> None:
    """1 for the very picture, 0 for the mean of all, and the loss is a sum over pictures."""
    import numpy as np

    from interop.data.base import Prepared, Record

    real = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    records = tuple(Record(str(i), "", None, None) for i in range(4))
    batch = Prepared({"input": real}, records, tuple(range(4)), ({},) * 4)
    goal = Reconstruction()
    exact, mean = torch.from_numpy(real), torch.full((4, 1, 8, 8), float(real.mean()))
    assert goal.figure(goal.answers(exact, batch), records) == pytest.approx(1)
    assert goal.figure(goal.answers(mean, batch), records) == pytest.approx(0, abs=1e-6)
    off = nn.functional.mse_loss(mean, exact)
    assert float(goal.loss(mean, batch)) == pytest.approx(4 * float(off), rel=1e-5)
