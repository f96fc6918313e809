"""Which mappings of a checkpoint are state dicts, which are held aside, and what is metadata."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
from pathlib import Path

import numpy as np
import torch

from interop.reading import read
from tests.reading.conftest import tensors


def test_a_training_checkpoint(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = collections.OrderedDict((f"module.{k}", v) for k, v in module.state_dict().items())
    checkpoint = {
        "epoch": 3,
        "arch": "linear",
        "state_dict": state,
        "state_dict_ema": module.state_dict(),
        "nested": {"model": {"w": torch.ones(1, 2)}},
        "best_acc1": torch.tensor(0.5),
        "optimizer": optimizer.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_scheduler": {"last_epoch": 3},
        "rng_state": torch.get_rng_state(),
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/x/y"), sub={"a": [1]}),
    }
    torch.save(checkpoint, tmp_path / "c.pth")
    manifest = read(tmp_path / "c.pth")
    places = [s.place for s in manifest.state_dicts]
    assert places == ["state_dict", "state_dict_ema", "nested.model"]
    assert list(tensors(manifest, "state_dict")) == ["module.weight", "module.bias"]
    aside = ("optimizer", "optimizer_states", "best_acc1", "rng_state")
    assert sorted(manifest.held_aside) == sorted(aside)
    assert manifest.metadata == {
        "epoch": 3,
        "arch": "linear",
        "args": {"lr": 0.1, "out": "/x/y", "sub": {"a": [1]}},
    }
    assert {i.danger for i in manifest.imports} == {"safe", "refused"}


def test_what_stands_beside_the_weights_becomes_json(tmp_path: Path) -> None:
    checkpoint = {
        "w": torch.ones(2, 2),
        "classes": ["cat", "dog"],
        "names": np.array(["a", "bc"]),
        "counts": np.arange(3),
        "score": np.float64(0.25),
        "index": {0: "cat", 1: "dog"},
        "nan": float("nan"),
        "when": datetime.datetime(2024, 1, 2, 3, 4, 5),
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda:1"),
        "set": {"only"},
        "counter": collections.Counter(a=2),
        "default": collections.defaultdict(list, k=[1]),
        "complex": 1 + 2j,
        "none": None,
        "raw": b"bytes are left out",
    }
    for protocol in (2, 4):
        torch.save(checkpoint, tmp_path / "m.pth", pickle_protocol=protocol)
        manifest = read(tmp_path / "m.pth")
        assert manifest.metadata == {
            "classes": ["cat", "dog"],
            "names": ["a", "bc"],
            "counts": [0, 1, 2],
            "score": 0.25,
            "index": {"0": "cat", "1": "dog"},
            "nan": "nan",
            "when": "2024-01-02T03:04:05",
            "size": [2, 3],
            "device": "cuda:1",
            "set": ["only"],
            "counter": {"a": 2},
            "default": {"k": [1]},
            "complex": "(1+2j)",
            "none": None,
        }
        assert {i.danger for i in manifest.imports} == {"safe", "refused"}


def test_one_mapping_under_two_keys_is_two_state_dicts(tmp_path: Path) -> None:
    shared = {"w": torch.ones(2)}
    torch.save({"model": shared, "ema": shared}, tmp_path / "m.pth")
    assert [s.place for s in read(tmp_path / "m.pth").state_dicts] == ["model", "ema"]


def test_a_checkpoint_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    checkpoint: dict[str, object] = {"model": {"w": torch.ones(2)}}
    checkpoint["self"] = checkpoint
    torch.save(checkpoint, tmp_path / "m.pth")
    assert [s.place for s in read(tmp_path / "m.pth").state_dicts] == ["model"]
