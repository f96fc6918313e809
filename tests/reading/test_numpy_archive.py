"""Arrays of numpy: what their headers may say, and what a damaged one is refused for."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interop.errors import ReadError
from interop.reading import read
from interop.reading.formats.numpy_archive import MAX_HEADER
from interop.reading.values.comparison import array, compared
from tests.reading.conftest import dangers, stored_bytes, tensors

KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_of_number_is_read(tmp_path: Path, order: str, compressed: bool) -> None:
    whole = {kind: np.arange(6).reshape(2, 3).astype(order + kind) for kind in KINDS}
    turned = {f"{kind} turned": np.asfortranarray(values) for kind, values in whole.items()}
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", **whole, **turned)
    found = tensors(read(tmp_path / "a.npz"))
    for name, values in {**whole, **turned}.items():
        spec = found[name]
        assert spec.dtype == values.dtype.newbyteorder("=").name
        assert np.array_equal(array(spec), values), name
        plain = not compressed and (order == "<" or values.itemsize == 1)
        assert spec.storage is not None and (spec.storage.offset >= 0) == plain


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    values = np.arange(4.0)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=version)
    (spec,) = tensors(read(tmp_path / "a.npy")).values()
    assert stored_bytes(spec) == values.tobytes()


def test_an_empty_and_a_lone_number_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", none=np.empty((0, 3), order="F"), one=np.float32(2))
    found = tensors(read(tmp_path / "a.npz"))
    assert array(found["none"]).shape == (0, 3) and array(found["one"]) == 2


def test_text_dates_and_records_are_no_tensors(tmp_path: Path) -> None:
    odd = {
        "text": np.array(["a", "ü"]),
        "dates": np.array(["2020-01-01"], "M8[D]"),
        "records": np.zeros(2, [("a", "<f4"), ("b", "<i8")]),
        "rows": np.array([["a"], ["b"]]),
    }
    np.savez(tmp_path / "a.npz", **odd)
    manifest = read(tmp_path / "a.npz")
    assert manifest.state_dicts == () and manifest.metadata == {"text": ["a", "ü"]}
    assert manifest.held_aside == ("dates", "records", "rows")


def _header(text: str, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "__import__('os').system('true')",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [3], }",
        "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': True, 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } ()",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 65 + "), }",
    ],
)
def test_a_header_that_says_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.npy").write_bytes(_header(text) + bytes(64))
    with pytest.raises(ReadError) as error:
        read(tmp_path / "a.npy")
    assert error.value.rule == "file-unrecognised" and error.value.fix


def test_a_long_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(_header("{" + " " * MAX_HEADER + "}", 2))
    with pytest.raises(ReadError, match="header"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_array_that_promises_more_than_it_holds_is_cut_off(
    tmp_path: Path, compressed: bool
) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }"
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("w.npy", _header(header) + bytes(64))
    with pytest.raises(ReadError) as error:
        read(tmp_path / "a.npz")
    assert error.value.rule == "file-truncated"


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


def test_what_a_pickled_array_would_run_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones(2), bad=np.array(_Runs(), dtype=object))
    assert dangers(read(tmp_path / "a.npz"))["posix.system"] == "unsafe"


def test_a_damaged_pickle_hides_nothing_behind_it(tmp_path: Path) -> None:
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    bad = io.BytesIO()
    np.save(bad, np.array(_Runs(), dtype=object))
    for names in (("a", "b"), ("b", "a")):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            entries = {"a": _header(header) + b"\x80\x04broken", "b": bad.getvalue()}
            for name in names:
                archive.writestr(f"{name}.npy", entries[name])
        assert "unsafe" in dangers(read(tmp_path / "a.npz")).values()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", entries["a"])
    with pytest.raises(ReadError, match="pickle"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_much_text_is_held_aside_and_many_objects_are_looked_through(
    tmp_path: Path, compressed: bool
) -> None:
    save = np.savez_compressed if compressed else np.savez
    text = np.array(["a" * 1000] * 5000)
    noise = np.random.default_rng(0).bytes
    objects = np.array([{"a": noise(20_000)} for _ in range(1000)], dtype=object)
    save(tmp_path / "a.npz", w=np.ones(3), text=text, objects=objects)
    manifest = read(tmp_path / "a.npz")
    assert list(tensors(manifest)) == ["w"] and "text" in manifest.held_aside
    assert "unsafe" not in dangers(manifest)


def test_an_honest_record_of_objects_is_read(tmp_path: Path) -> None:
    records = np.array([({"a": 1}, 2)], dtype=[("a", "O"), ("b", "i4")])
    np.savez(tmp_path / "a.npz", records=records, w=np.ones(2))
    manifest = read(tmp_path / "a.npz")
    assert list(tensors(manifest)) == ["w"] and set(dangers(manifest).values()) == {"refused"}


def test_a_dtype_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': 'float32', 'fortran_order': False, 'shape': (1,), }\n"
    length = struct.pack("<H", len(header))
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\0" + length + header + bytes(4))
    with pytest.raises(ReadError, match="not understood"):
        read(tmp_path / "a.npy")


def _with_sum(path: Path, crc: int, method: int, arrays: int = 1) -> Path:
    """An archive of arrays of which the first states a checksum that is not its own."""
    array = io.BytesIO()
    np.save(array, np.arange(6, dtype="f4"))
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in map(str, range(arrays)):
            archive.writestr(f"{name}.npy", array.getvalue())
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = data.index(mark) + place
        data[at : at + 4] = crc.to_bytes(4, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("crc", [0, 1])
@pytest.mark.parametrize("arrays", [1, 2])
def test_a_wrong_checksum_is_refused_as_numpy_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crc: int, method: int, arrays: int
) -> None:
    file = _with_sum(tmp_path / "a.npz", crc, method, arrays)
    with pytest.raises(zipfile.BadZipFile), np.load(file) as archive:
        archive["0"]
    with pytest.raises(ReadError) as error:
        read(file)
    assert error.value.rule == "zip-checksum-wrong"
    # Of a large one the headers alone are read, unless all of it is.
    monkeypatch.setattr("interop.reading.formats.numpy_archive._MAX_CHECKED", 10)
    assert tensors(read(file))["0"].shape == (6,)
    found = [tensors(read(file))["0"]]
    for reading in (
        lambda: read(file, content_hash=True),
        lambda: list(compared((t, None) for t in found)),
    ):
        with pytest.raises(ReadError) as error:
            reading()
        assert error.value.rule == "zip-checksum-wrong"


def test_torch_may_leave_its_checksums_out(write_zip: Callable[..., Path]) -> None:
    path = write_zip({"a/data.pkl": b"}.", "a/version": b"3"})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + place : at + place + 4] = bytes(4)
    path.write_bytes(data)
    assert read(path).container == "torch-zip"
