"""Weights come from where the file has them, and nothing of it is unpickled."""

import zipfile
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from interop.errors import ModelError, ReadError
from interop.facts import Storage, TensorSpec
from interop.identity import identify
from interop.models import state_dict
from interop.reading import read


def tensors_of(path):
    return identify(read(path)).tensors


def equal(a, b):
    return list(a) == list(b) and all(
        torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a
    )


@pytest.mark.parametrize("name", ["plain.pth", "legacy.pth", "training.pth"])
def test_what_torch_loads_is_what_is_mapped(derived, name):
    loaded = torch.load(derived / name, weights_only=True)
    loaded = loaded.get("model", loaded)
    expected = {k.removeprefix("module."): v for k, v in loaded.items()}
    assert equal(state_dict(tensors_of(derived / name)), expected)


def test_a_hostile_file_gives_its_weights_and_does_not_run(derived, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = state_dict(tensors_of(derived / "plain.pth"))
    assert equal(state_dict(tensors_of(derived / "hostile.pth")), plain)
    assert list(tmp_path.iterdir()) == []


def test_ties_views_and_strides_are_as_they_were_saved(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    saved = {
        "whole": base,
        "tied": base,
        "turned": base.t(),
        "part": base[1:3, ::2],
        "scalar": torch.tensor(3, dtype=torch.int64),
        "empty": torch.empty(0, 5),
    }
    torch.save(saved, tmp_path / "a.pth")
    found = state_dict(tensors_of(tmp_path / "a.pth"))
    assert equal(found, saved)
    assert found["whole"].data_ptr() == found["tied"].data_ptr() == found["turned"].data_ptr()
    assert found["turned"].stride() == (1, 6)


def test_writing_to_a_tensor_leaves_the_file_alone(tmp_path):
    torch.save({"w": torch.ones(8, 8)}, tmp_path / "a.pth")
    before = (tmp_path / "a.pth").read_bytes()
    state_dict(tensors_of(tmp_path / "a.pth"))["w"].zero_()
    assert (tmp_path / "a.pth").read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool])
def test_every_dtype_and_any_alignment(tmp_path, dtype):
    # One odd tensor before the others, so that they begin at odd bytes.
    saved = OrderedDict(a=torch.ones(3, dtype=torch.bool), b=torch.randn(5, 3).to(dtype))
    torch.save(saved, tmp_path / "a.pth")
    save_file(saved, tmp_path / "a.safetensors", {"odd": "x" * 7})
    assert equal(state_dict(tensors_of(tmp_path / "a.pth")), saved)
    found = state_dict(tensors_of(tmp_path / "a.safetensors"))
    assert equal({n: found[n] for n in saved}, saved)


def test_an_unaligned_storage_is_copied(tmp_path):
    values = torch.randn(4)
    (tmp_path / "raw").write_bytes(b"\0" + values.numpy().tobytes())
    spec = TensorSpec("w", "float32", (4,), Storage(str(tmp_path / "raw"), "w", 1, 16))
    assert torch.equal(state_dict([spec])["w"], values)


def test_lazy_conjugates_and_negatives_are_resolved(tmp_path):
    saved = {
        "conj": torch.randn(4, dtype=torch.complex64).conj(),
        "negative": torch._neg_view(torch.randn(4)),
    }
    torch.save(saved, tmp_path / "a.pth")
    found = state_dict(tensors_of(tmp_path / "a.pth"))
    for name, value in saved.items():
        assert torch.equal(found[name], value.resolve_conj().resolve_neg())


def test_a_compressed_archive_is_inflated(tmp_path):
    saved = {"w": torch.randn(6, 7), "n": torch.tensor(2)}
    torch.save(saved, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    specs = tensors_of(tmp_path / "b.pth")
    assert specs[0].storage.offset == -1
    assert equal(state_dict(specs), saved)


def test_what_cannot_be_had_is_said(tmp_path):
    torch.save({"w": torch.randn(6, 7)}, tmp_path / "a.pth")
    (spec,) = tensors_of(tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"^a\.pth: w has no values .*a meta or sparse tensor"):
        state_dict([replace(spec, storage=None)], "a.pth")
    with pytest.raises(ModelError, match="qint8"):
        state_dict([replace(spec, dtype="qint8")])
    with pytest.raises(ReadError, match="beyond its storage"):
        state_dict([replace(spec, shape=(7, 7), stride=None)])
    short = tmp_path / "a.pth"
    short.write_bytes(short.read_bytes()[: spec.storage.offset + 8])
    with pytest.raises(ReadError, match="ends before byte"):
        state_dict([spec])
