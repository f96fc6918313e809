"""Bare pickles of numpy arrays, as Detectron keeps its weights."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.reading import read
from interop.reading.values.comparison import array
from tests.reading.conftest import dangers, tensors


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv1.weight": rng.standard_normal((8, 3, 3, 3)).astype("f4"),
        "turned": np.asfortranarray(rng.standard_normal((6, 7))),
        "half": rng.standard_normal(5).astype("f2"),
        "swapped": rng.standard_normal(9).astype(">f4"),
        "steps": np.arange(3),
    }


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_weights_where_there_are_no_tensors(tmp_path: Path, protocol: int) -> None:
    weights = _weights()
    kept = {"model": weights, "__author__": "somebody", "matching_heuristics": True}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(kept, protocol))
    manifest = read(tmp_path / "m.pkl")
    assert manifest.container == "pickle" and "unsafe" not in dangers(manifest).values()
    found = tensors(manifest, "model")
    assert list(found) == list(weights)
    for name, spec in found.items():
        assert np.array_equal(array(spec), weights[name]), name
        assert spec.shape == weights[name].shape
    if protocol >= 3:
        # In place, but for what has to be turned round and what is too short to be worth it.
        in_place = {n for n, s in found.items() if s.storage and s.storage.offset >= 0}
        assert in_place == {"conv1.weight", "turned"}
    assert manifest.metadata["__author__"] == "somebody"


def test_beside_tensors_arrays_are_records(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(2)}, "mean": np.zeros(3)}, tmp_path / "m.pth")
    manifest = read(tmp_path / "m.pth")
    assert [s.place for s in manifest.state_dicts] == ["state_dict"]
    assert manifest.metadata["mean"] == [0, 0, 0]


def test_an_array_with_too_few_bytes_is_no_tensor(tmp_path: Path) -> None:
    data = pickle.dumps({"w": np.ones(1000, "f4")}, 4)
    (tmp_path / "m.pkl").write_bytes(data.replace(b"M\xe8\x03\x85", b"M\xe9\x03\x85"))
    assert read(tmp_path / "m.pkl").state_dicts == ()
