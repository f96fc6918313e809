"""What is kept between a kill and the next run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from interop.errors import ConfigError
from interop.finetune.resume import Epoch, Kept


def add(kept: Kept, layer: nn.Module, phase: str, epoch: int, figure: float) -> None:
    optimizer = torch.optim.AdamW(layer.parameters())
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    kept.add(Epoch(phase, epoch, 1.0, 1.0, figure, 0.1, 1.0, 1.0), layer, optimizer, scaler, 1)


def test_the_best_and_the_latest_come_back(tmp_path: Path) -> None:
    layer, out = nn.Linear(2, 2), tmp_path / "m.pth"
    kept = Kept(out, {"rate": 0.1})
    for epoch, figure in ((1, 0.5), (2, 0.9), (3, 0.7)):
        with torch.no_grad():
            layer.weight.fill_(epoch)
        add(kept, layer, "probe", epoch, figure)
    again = Kept(out, {"rate": 0.1})
    assert again.resumed and (again.phase, again.epoch) == ("probe", 3)
    assert again.best["epoch"] == 2 and float(again.best["module"]["weight"][0, 0]) == 2
    assert float(again.latest["module"]["weight"][0, 0]) == 3
    assert again.history == kept.history
    add(again, layer, "full", 1, 0.9)
    assert again.best["phase"] == "probe"  # no better: the earlier one stays
    assert not Kept(out, {"rate": 0.1}, restart=True).resumed
    assert not (tmp_path / "m.pth.training").exists()


def test_figures_of_a_pretraining_are_of_another_kind(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "m.pth", {})
    add(kept, nn.Linear(2, 2), "pretrain", 1, 0.99)
    add(kept, nn.Linear(2, 2), "probe", 1, 0.3)
    assert kept.best["phase"] == "probe"


def test_other_settings_and_damage_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "m.pth"
    kept = Kept(out, {"rate": 0.1, "seed": 0})
    add(kept, nn.Linear(2, 2), "probe", 1, 0.5)
    with pytest.raises(ConfigError, match=r"rate was 0\.1 and is 0\.2.*--restart"):
        Kept(out, {"rate": 0.2, "seed": 0})
    with pytest.raises(ConfigError, match="batch was None and is 4"):
        Kept(out, {"rate": 0.1, "seed": 0, "batch": 4})
    state = tmp_path / "m.pth.training" / "state.pth"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot be read"):
        Kept(out, {"rate": 0.1, "seed": 0})


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.pth.training").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="state cannot be written"):
        add(Kept(tmp_path / "m.pth", {}), nn.Linear(2, 2), "probe", 1, 0.5)
