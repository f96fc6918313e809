"""`read` as a whole: what is no model is told for what it is, and nothing heavy is loaded."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from interop.errors import ReadError
from interop.reading import read


def _refusal(path: Path, rule: str = "file-unrecognised") -> str:
    with pytest.raises(ReadError) as error:
        read(path)
    assert error.value.rule == rule
    assert error.value.where == str(path) and error.value.fix
    return error.value.what


FOREIGN = {
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "web page": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "array header": b"\x93NUMPY\x01\x00\x02\x00{}",
    "GGUF": b"GGUF\x03\x00\x00\x00",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(9),
    "text file": b"this is not a model\nat all\n",
    "text file that begins '{": b'{"weights": [1, 2]}',
    "XML": b"<?xml version='1.0'?><a/>",
    "neither": bytes(range(200, 256)) * 3,
    "empty zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_model_is_told_for_what_it_is(tmp_path: Path, what: str) -> None:
    (tmp_path / "model.pth").write_bytes(FOREIGN[what])
    assert what in _refusal(tmp_path / "model.pth")


def test_archives_that_are_no_checkpoint(tmp_path: Path, write_zip: Callable[..., Path]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    assert "tar archive" in _refusal(tmp_path / "a.tar")
    assert "no PyTorch checkpoint" in _refusal(write_zip({"notes.txt": b"hello"}))
    assert "exported program" in _refusal(write_zip({"m/archive_format": b"pt2"}))
    assert "2 checkpoints" in _refusal(write_zip({"a/data.pkl": b"N.", "b/data.pkl": b"N."}))
    assert "big-endian" in _refusal(write_zip({"a/data.pkl": b"N.", "a/byteorder": b"big"}))


def test_missing_empty_and_irregular_files(tmp_path: Path) -> None:
    assert "no such file" in _refusal(tmp_path / "missing.pth")
    (tmp_path / "empty.pth").touch()
    assert "empty" in _refusal(tmp_path / "empty.pth", "file-truncated")
    os.mkfifo(tmp_path / "pipe")
    assert "regular" in _refusal(tmp_path / "pipe")
    (tmp_path / "zeros.pth").write_bytes(bytes(1000))
    assert "zero bytes" in _refusal(tmp_path / "zeros.pth", "file-truncated")


def test_two_entries_of_one_name_are_refused(
    tmp_path: Path, write_zip: Callable[..., Path]
) -> None:
    path = write_zip({"a/data.pkl": b"N.", "b/data.pkl": b"N."})
    path.write_bytes(path.read_bytes().replace(b"b/data.pkl", b"a/data.pkl"))
    assert "two entries" in _refusal(path, "zip-entry-duplicated")


def test_the_bytes_decide_and_not_the_name(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "model.onnx")
    assert read(tmp_path / "model.onnx").container == "torch-zip"


def test_a_bare_pickle_is_its_own_container(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"epoch": 3, "names": ["a"]}))
    manifest = read(str(tmp_path / "a.pth"))
    assert manifest.container == "pickle"
    assert manifest.metadata == {"epoch": 3, "names": ["a"]}


def test_reading_loads_neither_torch_nor_numpy(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth")
    torch.save({"w": torch.ones(2)}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "c.safetensors").write_bytes(save({"w": torch.ones(2)}))
    (tmp_path / "d.onnx").write_bytes(_onnx())
    program = (
        "import sys; from interop.reading import read\n"
        "for name in sys.argv[1:]: assert read(name).state_dicts\n"
        "heavy = {'torch', 'numpy', 'onnx', 'zipfile', 'pickle'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    files = [str(tmp_path / n) for n in ("a.pth", "b.pth", "c.safetensors", "d.onnx")]
    subprocess.run([sys.executable, "-c", program, *files], check=True)


def _onnx() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.ones(2, np.float32), "w")],
    )
    data: bytes = helper.make_model(graph).SerializeToString()
    return data
