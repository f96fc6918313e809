"""Files written by torch.save: each tensor's place, shape, layout and bytes, by torch's account."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from interop.errors import ReadError
from interop.facts import TensorSpec
from interop.reading import read
from interop.reading.values.comparison import array, digest
from tests.reading.conftest import dangers, dense_sha256, stored_bytes, tensors


def _element_bytes(tensor: torch.Tensor) -> bytes:
    storage = tensor.untyped_storage()
    return bytes(storage.tolist())


def _agrees(spec: TensorSpec, tensor: torch.Tensor) -> None:
    assert spec.shape == tuple(tensor.shape)
    assert f"torch.{spec.dtype}" == str(tensor.dtype)
    assert spec.offset == tensor.storage_offset()
    assert (spec.conj, spec.neg) == (tensor.is_conj(), tensor.is_neg())
    if spec.stride is None:
        assert tensor.is_contiguous()
    else:
        assert spec.stride == tensor.stride()
    assert stored_bytes(spec) == _element_bytes(tensor)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_kind_of_tensor_lies_where_it_is_said_to(
    tmp_path: Path, kinds: dict[str, torch.Tensor], protocol: int, zipped: bool
) -> None:
    path = tmp_path / "kinds.pth"
    if not zipped:  # the legacy layout has no storages for the dtypes that came after it
        late = ("float8", "uint16")
        kinds = {name: t for name, t in kinds.items() if not name.startswith(late)}
    torch.save(kinds, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    manifest = read(path)
    assert manifest.container == ("torch-zip" if zipped else "torch-legacy")
    assert manifest.size == path.stat().st_size
    assert {i.danger for i in manifest.imports} == {"safe"}
    found = tensors(manifest)
    assert list(found) == list(kinds)
    loaded = torch.load(path, weights_only=False)  # the safe loader stops at protocol 3
    for name, spec in found.items():
        _agrees(spec, loaded[name])
    for spec in found.values():
        if spec.storage is None:
            continue
        assert digest(spec) == dense_sha256(kinds[spec.name]), spec.name


def test_tied_weights_share_one_storage(tmp_path: Path, kinds: dict[str, torch.Tensor]) -> None:
    torch.save(kinds, tmp_path / "kinds.pth")
    found = tensors(read(tmp_path / "kinds.pth"))
    assert found["tied"].storage == found["whole"].storage == found["strided"].storage
    assert found["plain"].storage != found["whole"].storage


def test_a_module_is_flattened_as_its_state_dict(tmp_path: Path) -> None:
    inner = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    module = torch.nn.Sequential(inner, torch.nn.Linear(4, 2))
    module.register_buffer("kept", torch.ones(2))
    module.register_buffer("left_out", torch.ones(2), persistent=False)
    for zipped in (True, False):
        path = tmp_path / f"module_{zipped}.pth"
        torch.save(module, path, _use_new_zipfile_serialization=zipped)
        manifest = read(path)
        found = tensors(manifest)
        assert list(found) == list(module.state_dict())
        for name, value in module.state_dict().items():
            assert found[name].shape == tuple(value.shape)
        assert manifest.metadata == {}
        codes = [str(i) for i in manifest.imports if i.danger == "code"]
        assert "torch.nn.modules.linear.Linear" in codes
        assert not [i for i in manifest.imports if i.danger == "unsafe"]


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_archive_is_read_as_its_state_dict(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.jit.script(module).save(str(tmp_path / "script.pt"))
    manifest = read(tmp_path / "script.pt")
    found = tensors(manifest)
    assert list(found) == list(module.state_dict())
    for spec in found.values():
        if spec.storage is None:
            continue
        assert digest(spec) == dense_sha256(module.state_dict()[spec.name])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["trace", "script"])
def test_a_torchscript_archive_is_told_for_the_program_that_it_is(how: str, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout()).eval()
    path = tmp_path / "compiled.pt"
    if how == "trace":
        torch.jit.trace(module, torch.ones(1, 3)).save(str(path))
    else:
        torch.jit.script(module).save(str(path))
    manifest = read(path)
    assert manifest.container == "torchscript"
    code = [i for i in manifest.imports if i.danger == "code"]
    assert {i.name for i in code} == {"Sequential", "Linear", "Dropout"}
    assert all(i.module.startswith("__torch__.torch.nn.modules.") for i in code)
    assert {i.danger for i in manifest.imports if i not in code} == {"safe"}
    with pytest.raises(RuntimeError, match="TorchScript"):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize("beside", ["constants.pkl", "code/__torch__.py"])
def test_one_part_of_a_torchscript_archive_is_enough(
    beside: str, write_zip: Callable[..., Path]
) -> None:
    program = b"\x80\x02(c__torch__.a\nNet\n)\x81}bc__torch__.a\nPair\n)Rcposix\nsystem\nt."
    manifest = read(write_zip({"a/data.pkl": program, f"a/{beside}": b"\x80\x02)."}))
    assert manifest.container == "torchscript"
    assert dangers(manifest) == {
        "__torch__.a.Net": "code",
        "__torch__.a.Pair": "code",
        "posix.system": "unsafe",
    }
    # Without its code, nothing vouches for the name.
    alone = read(write_zip({"a/data.pkl": program}, name="b.pth"))
    assert alone.container == "torch-zip" and dangers(alone)["__torch__.a.Pair"] == "unsafe"


def test_meta_parameter_sparse_and_quantized_tensors_have_names_and_shapes(tmp_path: Path) -> None:
    state = {
        "meta": torch.empty(3, 4, device="meta"),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "sparse": torch.eye(3).to_sparse(),
        "rows": torch.eye(3).to_sparse_csr(),
        "int8": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
    }
    torch.save(state, tmp_path / "odd.pth")
    found = tensors(read(tmp_path / "odd.pth"))
    assert {n: t.shape for n, t in found.items()} == {n: tuple(t.shape) for n, t in state.items()}
    assert found["meta"].storage is None
    assert found["sparse"].storage is None and found["rows"].storage is None
    assert found["int8"].dtype == "qint8"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_made_of_others_are_read_with_their_parts(zipped: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    dense = torch.randn(4, 6).relu()
    scales, zeros = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 2, 3])
    pieces = [torch.randn(2, 3), torch.randn(4, 3)]
    coo, csr, csc = dense.to_sparse(), dense.to_sparse_csr(), dense.to_sparse_csc()
    bsr = dense.to_sparse_bsr((2, 3))
    channels = torch.quantize_per_channel(dense, scales, zeros, 0, torch.qint8)
    tensor = torch.quantize_per_tensor(dense, 0.1, 3, torch.quint8)
    nested = torch.nested.nested_tensor(pieces)
    state = {
        "coo": coo, "csr": csr, "csc": csc, "bsr": bsr, "channels": channels, "tensor": tensor,
        "nested": nested, "jagged": torch.nested.nested_tensor(pieces, layout=torch.jagged),
    }  # fmt: skip
    torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    manifest = read(tmp_path / "m.pth")
    assert "unsafe" not in dangers(manifest).values()
    found = tensors(manifest)

    def parts(name: str) -> dict[str, torch.Tensor]:
        return {p.name: torch.from_numpy(array(p).copy()) for p in found[name].parts}

    def same(name: str, **wanted: torch.Tensor) -> None:
        got = parts(name)
        for part, values in wanted.items():
            assert torch.equal(got[part], values.to(got[part].dtype)), (name, part)

    plain = coo.coalesce()
    same("coo", indices=plain.indices(), values=plain.values())
    for name in ("csr", "bsr"):
        one = state[name]
        same(name, values=one.values(), crow_indices=one.crow_indices(),
             col_indices=one.col_indices())  # fmt: skip
    same("csc", values=csc.values(), ccol_indices=csc.ccol_indices(), row_indices=csc.row_indices())
    same("channels", scales=scales, zero_points=zeros)
    same("nested", values=torch.cat([p.reshape(-1) for p in pieces]))
    same("jagged", values=torch.cat(pieces))
    assert found["tensor"].quantizer == "per_tensor_affine scale 0.1 zero point 3"
    assert found["channels"].quantizer == "per_channel_affine axis 0"
    assert all(torch.equal(torch.from_numpy(array(found[n]).copy()), state[n].int_repr())
               for n in ("tensor", "channels"))  # fmt: skip
    layouts = {n: t.layout for n, t in found.items()}
    assert layouts == {
        "coo": "sparse_coo", "csr": "sparse_csr", "csc": "sparse_csc", "bsr": "sparse_bsr",
        "channels": "strided", "tensor": "strided", "nested": "jagged", "jagged": "jagged",
    }  # fmt: skip
    assert all(t.has_values for t in found.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_what_has_no_values_or_is_not_strided_has_no_storage(zipped: bool, tmp_path: Path) -> None:
    eye, meta = torch.eye(4), torch.ones(4, 6, device="meta")
    state = {
        "meta": meta,
        "meta parameter": torch.nn.Parameter(meta),
        "meta view": meta[1:, ::2],
        "meta uint16": meta.to(torch.uint16),
        "meta sparse": eye.to_sparse().to("meta"),
        "coo": eye.to_sparse(),
        "coo parameter": torch.nn.Parameter(eye.to_sparse()),
        "hybrid": torch.ones(3, 2).to_sparse(1),
        "csr": eye.to_sparse_csr(),
        "csc": eye.to_sparse_csc(),
        "bsr": eye.to_sparse_bsr((2, 2)),
        "bsc": eye.to_sparse_bsc((2, 2)),
    }
    torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    found = tensors(read(tmp_path / "m.pth"))
    assert {n: t.shape for n, t in found.items()} == {n: tuple(t.shape) for n, t in state.items()}
    assert [n for n, t in found.items() if t.storage is not None] == []


def test_a_single_tensor_and_a_list_are_state_dicts_too(tmp_path: Path) -> None:
    torch.save(torch.ones(2, 3), tmp_path / "one.pth")
    torch.save([torch.ones(1), torch.ones(2)], tmp_path / "list.pth")
    assert tensors(read(tmp_path / "one.pth"))[""].shape == (2, 3)
    assert list(tensors(read(tmp_path / "list.pth"))) == ["0", "1"]


def test_repacked_with_compression_the_values_are_still_found(tmp_path: Path) -> None:
    state = {"w": torch.randn(40, 40)}
    torch.save(state, tmp_path / "plain.pth")
    packed = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    spec = tensors(read(packed))["w"]
    assert spec.storage is not None and spec.storage.offset == -1
    assert torch.equal(torch.from_numpy(array(spec).copy()), state["w"])


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_off_anywhere_is_told_of(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "whole.pth"
    state = {"a.weight": torch.randn(8, 8), "a.bias": torch.randn(8), "n": torch.tensor(3)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    cut = tmp_path / "cut.pth"
    for length in [*range(3, len(whole) - 1, max(1, len(whole) // 150)), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(ReadError) as error:
            read(cut)
        assert error.value.rule == "file-truncated", (length, str(error.value))
        assert error.value.fix and error.value.where == str(cut)


def test_a_storage_smaller_than_its_tensor_is_truncated(
    tmp_path: Path, write_zip: Callable[..., Path]
) -> None:
    torch.save({"w": torch.ones(100)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries = {n: d[:-4] if n.endswith("data/0") else d for n, d in entries.items()}
    with pytest.raises(ReadError, match="396 of 400 bytes"):
        read(write_zip(entries, name="b.pth"))


def test_two_checkpoints_of_one_kind_differ_in_header_only_by_structure(tmp_path: Path) -> None:
    for name, shape in (("a", (2, 3)), ("b", (2, 3)), ("c", (3, 3))):
        folder = tmp_path / name
        folder.mkdir()
        torch.save(
            {"w": torch.randn(*shape)}, folder / "m.pth", _use_new_zipfile_serialization=False
        )
    headers = [read(tmp_path / name / "m.pth").header_sha256 for name in "abc"]
    contents = [read(tmp_path / n / "m.pth", content_hash=True).content_sha256 for n in "ab"]
    assert headers[0] != headers[2]
    assert contents[0] != contents[1] and contents[0] is not None
    assert read(tmp_path / "a" / "m.pth").content_sha256 is None


def test_the_python_2_strings_of_old_files_are_read(write_zip: Callable[..., Path]) -> None:
    # protocol 2 as Python 2 wrote it: SHORT_BINSTRING keys, one of them in Latin-1
    pickle = b"\x80\x02}(U\x04namesU\x03catU\x05caf\xe9sK\x01u."
    pickle = pickle.replace(b"U\x04names", b"U\x05names")
    manifest = read(write_zip({"a/data.pkl": pickle}))
    assert manifest.metadata == {"names": "cat", "cafés": 1}


@pytest.mark.parametrize("library", ["pickle", "joblib", "dill"])
def test_tensors_that_were_pickled_without_torch_save(tmp_path: Path, library: str) -> None:
    state = {"w": torch.arange(12.0).reshape(3, 4), "half": torch.ones(5, dtype=torch.float16)}
    state["tied"] = state["w"]
    file = tmp_path / "state.pkl"
    with file.open("wb") as target:
        pytest.importorskip(library).dump({"state_dict": state, "epoch": 3}, target)
    manifest = read(file)
    assert {str(one) for one in manifest.imports if one.danger != "safe"} == {
        "torch.storage._load_from_bytes"
    }
    assert not [one for one in manifest.imports if one.danger in ("unsafe", "code")]
    (found,) = manifest.state_dicts
    assert (found.place, [t.name for t in found.tensors]) == ("state_dict", ["w", "half", "tied"])
    by_name = {t.name: t for t in found.tensors}
    assert by_name["w"].storage == by_name["tied"].storage
    assert by_name["w"].storage != by_name["half"].storage
    for name, spec in by_name.items():
        assert spec.storage is not None and spec.storage.offset > 0
        raw = file.read_bytes()[spec.storage.offset : spec.storage.offset + spec.storage.nbytes]
        assert raw == state[name].numpy().tobytes()


def test_what_is_within_such_bytes_is_followed(tmp_path: Path) -> None:
    class Within:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def __reduce__(self) -> tuple[object, tuple[bytes]]:
            return torch.storage._load_from_bytes, (self.data,)

    def saved(what: object, **options: bool) -> bytes:
        buffer = io.BytesIO()
        torch.save(what, buffer, **options)
        return buffer.getvalue()

    old = {"_use_new_zipfile_serialization": False}
    good = torch.ones(40).untyped_storage()
    told = {
        "a storage": (saved(good, **old), set()),
        "an archive": (saved(good), {"torch.storage._load_from_bytes"}),
        "a command": (
            saved({"a": Command()}, **old), {"posix.system", "torch.storage._load_from_bytes"}
        ),
        "anything": (b"x" * 100, {"torch.storage._load_from_bytes"}),
    }  # fmt: skip
    for what, (data, unsafe) in told.items():
        file = tmp_path / "f.pkl"
        file.write_bytes(pickle.dumps([Within(saved(good, **old)), Within(data)], protocol=4))
        found = {str(one) for one in read(file).imports if one.danger == "unsafe"}
        assert found == unsafe, what


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_that_torch_save_was_given_are_weights(tmp_path: Path, protocol: int) -> None:
    state = {"w": torch.arange(120.0).reshape(3, 40).numpy(), "b": torch.ones(30).numpy()}
    torch.save({"state": state, "epoch": 1}, tmp_path / "np.pth", pickle_protocol=protocol)
    (found,) = read(tmp_path / "np.pth").state_dicts
    assert (found.place, [(t.name, t.shape) for t in found.tensors]) == (
        "state", [("w", (3, 40)), ("b", (30,))],
    )  # fmt: skip
    for spec in found.tensors:
        assert array(spec).tolist() == state[spec.name].tolist()
