"""How a candidate was trained, as far as a file says so."""

from __future__ import annotations

import json

import torch
from torch import nn

from interop.assess.provenance import training
from interop.identity import identify_file


def told(path):
    return training(identify_file(path))


def saved(tmp_path, **more):
    path = tmp_path / "m.pth"
    torch.save({"state_dict": nn.Linear(2, 2).state_dict(), **more}, path)
    return path


def test_nothing_is_made_up(tmp_path):
    assert told(saved(tmp_path)) == {}
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    assert "optimizer" not in told(saved(tmp_path, optimizer=optimizer.state_dict(), seed=True))


def test_a_trainers_arguments_and_its_epoch(tmp_path):
    found = told(saved(tmp_path, epoch=12, args={"opt": "adamw", "lr": 0.001, "batch_size": 64}))
    assert found == {
        "optimizer": "adamw (args)", "learning rate": "0.001 (args)", "batch": "64 (args)",
        "epochs": "12 (the checkpoint)",
    }  # fmt: skip


def test_the_record_of_finetune(tmp_path):
    record = {
        "settings": {"optimizer": "sgd", "rate": 0.01, "epochs": 5, "batch": 32, "seed": 0},
        "data": {"samples": 90, "sha256": "ab" * 32},
    }
    found = told(saved(tmp_path, training=record, base={"name": "base.pth", "sha256": "cd" * 32}))
    assert found["optimizer"] == "sgd (training)" and found["epochs"] == "5 (training)"
    assert found["data"] == "90 samples, sha256 abababababab… (training)"
    assert found["base"] == "base.pth (the checkpoint)"


def test_a_folders_record_and_its_card(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "training.json").write_text(
        json.dumps({"training": {"settings": {"optimizer": "adam"}}, "base": {"name": "bert"}})
    )
    (tmp_path / "README.md").write_text("---\ndatasets:\n- imdb\n- yelp\nbase_model: x\n---\nHi\n")
    found = told(tmp_path)
    assert found["optimizer"] == "adam (training.json)" and found["base"] == "bert (training.json)"
    assert found["data"] == "imdb, yelp (README.md)"
    (tmp_path / "training.json").write_text("no json")
    (tmp_path / "README.md").write_text("no front")
    assert told(tmp_path) == {}


def test_samples_that_a_model_was_trained_on_are_known_again(tmp_path):
    from base64 import b64encode
    from hashlib import sha256

    from interop.assess.provenance import trained_on

    hashes = [sha256(bytes([i])).hexdigest() for i in range(10)]
    listed = b64encode(b"".join(bytes.fromhex(h[:12]) for h in hashes[:4])).decode()
    path = saved(tmp_path, training={"data": {"samples": 4, "seen": listed}})
    assert trained_on(identify_file(path), hashes) == 4
    assert trained_on(identify_file(path), hashes[4:]) == 0
    assert trained_on(identify_file(saved(tmp_path)), hashes) is None
    assert (
        trained_on(identify_file(saved(tmp_path, training={"data": {"seen": "?"}})), hashes) is None
    )
