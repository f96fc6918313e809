"""Distributed checkpoints: files that are missing, lead out, or hold what they should not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from fixtures.benign import OUT
from interop.errors import ReadError
from interop.reading import read
from tests.reading.conftest import dangers, stored_bytes, tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(OUT / "distributed-two", tmp_path / "m")
    return tmp_path / "m"


def _refusal(path: Path) -> ReadError:
    with pytest.raises(ReadError) as error:
        read(path)
    return error.value


def test_places_are_the_keys_of_the_state(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(layer.parameters())
    state = {
        "app": {"model": layer.state_dict(), "ema": [{"w": torch.ones(2)}]},
        "optimizer": optimizer.state_dict(),
        "alone": torch.zeros(1),
        "labels": ["a", "b"],
    }
    dcp.save(state, checkpoint_id=tmp_path, no_dist=True)
    manifest = read(tmp_path)
    places = {s.place: [t.name for t in s.tensors] for s in manifest.state_dicts}
    assert places["app.model"] == ["weight", "bias"] and places[""] == ["alone"]
    assert places["app.ema.0"] == ["w"]
    assert manifest.held_aside == ("optimizer",)
    weight = tensors(manifest, "app.model")["weight"]
    assert stored_bytes(weight) == layer.weight.detach().numpy().tobytes()


def test_a_missing_or_short_file_is_told_of(folder: Path) -> None:
    file = folder / "__1_0.distcp"
    file.write_bytes(file.read_bytes()[:3000])
    assert _refusal(folder).rule == "file-truncated"
    file.unlink()
    error = _refusal(folder)
    assert error.rule == "file-truncated" and "__1_0.distcp" in error.what


@pytest.mark.parametrize("name", [b"../0.distcp.", b"/etc/passwd.", b"a/b.distcp.."])
def test_a_file_outside_of_the_folder_is_refused(folder: Path, name: bytes) -> None:
    table = folder / ".metadata"
    data = table.read_bytes()
    assert len(name) == len(b"__0_0.distcp") and b"__0_0.distcp" in data
    table.write_bytes(data.replace(b"__0_0.distcp", name))
    assert _refusal(folder).rule == "index-escapes-folder"


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "__0_0.distcp").rename(folder.parent / "elsewhere")
    (folder / "__0_0.distcp").symlink_to(folder.parent / "elsewhere")
    assert _refusal(folder).rule == "index-escapes-folder"


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_what_an_entry_that_is_no_tensor_would_run_is_told(tmp_path: Path) -> None:
    dcp.save({"w": torch.ones(2), "bad": _Runs()}, checkpoint_id=tmp_path, no_dist=True)
    assert dangers(read(tmp_path))["posix.system"] == "unsafe"


def test_a_table_damaged_anywhere_is_refused_or_read(folder: Path) -> None:
    table = folder / ".metadata"
    whole = table.read_bytes()
    for at in range(0, len(whole), 3):
        table.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        try:
            read(folder)
        except ReadError as error:
            assert error.rule


def test_the_table_alone_does_not_make_a_folder_one(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "model.pth")
    (tmp_path / ".metadata").write_text("somebody else's")
    assert read(tmp_path).container == "torch-zip"
