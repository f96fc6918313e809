"""TensorFlow's files: damaged tables, missing data, and folders that are one model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures import tensorflow_graphs as tf
from fixtures.benign import OUT
from interop.errors import ReadError
from interop.reading import read
from interop.reading.bytes.snappy import masked_crc
from interop.reading.formats.tensorflow import _handle, _pairs
from tests.reading.conftest import stored_bytes, tensors


def _refusal(path: Path) -> ReadError:
    with pytest.raises(ReadError) as error:
        read(path)
    return error.value


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    shutil.copytree(OUT / "tensorflow", tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    shutil.copytree(OUT / "saved-model", tmp_path / "s")
    return tmp_path / "s"


def test_the_names_are_the_variables(checkpoint: Path) -> None:
    manifest = read(checkpoint)
    assert set(tensors(manifest)) == {"net/kernel", "net/bias", "net/steps"}
    assert manifest.held_aside == ("_CHECKPOINTABLE_OBJECT_GRAPH",)
    assert stored_bytes(tensors(manifest)["net/steps"]) == (7).to_bytes(8, "little")


def test_the_data_must_be_there_and_long_enough(checkpoint: Path) -> None:
    data = checkpoint / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:20])
    assert _refusal(checkpoint).rule == "file-truncated"
    data.unlink()
    error = _refusal(checkpoint)
    assert error.rule == "file-truncated" and data.name in error.what


def test_data_that_is_a_link_out_of_the_folder_is_refused(checkpoint: Path) -> None:
    data = checkpoint / "model.data-00000-of-00001"
    data.rename(checkpoint.parent / "elsewhere")
    data.symlink_to(checkpoint.parent / "elsewhere")
    assert _refusal(checkpoint).rule == "index-escapes-folder"


def test_an_index_under_another_name_is_told_so(checkpoint: Path) -> None:
    (checkpoint / "model.index").rename(checkpoint / "renamed")
    error = _refusal(checkpoint / "renamed")
    assert error.rule == "file-truncated" and "name" in error.fix


def test_a_table_damaged_anywhere_is_refused_or_read(checkpoint: Path) -> None:
    index = checkpoint / "model.index"
    whole = index.read_bytes()
    for at in range(len(whole)):
        for value in (0, 0x7F, 0xFF):
            index.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read(index)
            except ReadError as error:
                assert error.fix


def _packed(index: bytes, kind: int = 1, wrong: int = 0, size: int = 0) -> bytes:
    """The same table in blocks packed by Snappy, as literals; `size` is added to what they state,
    `wrong` to their checksums."""
    whole = bytearray()

    def put(block: bytes) -> bytes:
        pieces = (block[at : at + 50] for at in range(0, len(block), 50))
        packed = tf.number(len(block) + size)
        packed += b"".join(bytes([(len(piece) - 1) << 2]) + piece for piece in pieces)
        handle = tf.number(len(whole)) + tf.number(len(packed))
        packed += bytes([kind])
        whole.extend(packed + ((masked_crc(packed) + wrong) & 0xFFFFFFFF).to_bytes(4, "little"))
        return handle

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        entries = (b"\0" + tf.number(len(k)) + tf.number(len(v)) + k + v for k, v in pairs)
        return b"".join(entries) + bytes(4) + (1).to_bytes(4, "little")

    def pairs(at: int, handles: bytes) -> list[tuple[bytes, bytes]]:
        offset, length, _ = _handle(handles, at)
        return list(_pairs(index[offset : offset + length]))

    behind = _handle(index[-48:], 0)[2]
    lines = [(k, put(block(pairs(0, handle)))) for k, handle in pairs(behind, index[-48:])]
    footer = put(block([])) + put(block(lines))
    return bytes(whole) + footer.ljust(40, b"\0") + index[-8:]


def test_a_table_packed_by_snappy_is_read(checkpoint: Path) -> None:
    plain, index = read(checkpoint), checkpoint / "model.index"
    whole = index.read_bytes()
    index.write_bytes(_packed(whole))
    assert read(checkpoint).state_dicts == plain.state_dicts
    for damaged in (_packed(whole, wrong=1), _packed(whole, size=1), _packed(whole, size=1 << 40)):
        index.write_bytes(damaged)
        assert _refusal(checkpoint).rule == "file-truncated"
    index.write_bytes(_packed(whole, kind=2))
    assert "compressed in an unknown way" in _refusal(checkpoint).what


def test_the_checksum_of_a_block_is_held(checkpoint: Path) -> None:
    index = checkpoint / "model.index"
    data = bytearray(index.read_bytes())
    data[data.index(b"VARIABLE_VALUE")] ^= 1
    index.write_bytes(data)
    assert _refusal(checkpoint).rule == "file-truncated"


def test_a_saved_model_is_its_folder_and_its_graph_file(saved: Path) -> None:
    folder, file = read(saved), read(saved / "saved_model.pb")
    assert folder.state_dicts == file.state_dicts and folder.graph == file.graph
    assert folder.path == str(saved) and folder.file == file.path


def test_a_saved_model_without_variables_is_a_graph(saved: Path) -> None:
    shutil.rmtree(saved / "variables")
    manifest = read(saved)
    assert manifest.state_dicts == () and manifest.graph is not None


def test_a_saved_model_that_is_cut_off_is_refused(saved: Path) -> None:
    file = saved / "saved_model.pb"
    whole = file.read_bytes()
    for length in range(1, len(whole), 101):
        file.write_bytes(whole[:length])
        assert _refusal(saved).rule in ("file-truncated", "file-unrecognised")


def test_an_asset_outside_of_the_folder_is_refused(saved: Path) -> None:
    name = b"../../etc/passwd"
    asset = b"\x12" + bytes([len(name)]) + name
    meta = b"\x32" + bytes([len(asset)]) + asset
    with (saved / "saved_model.pb").open("ab") as file:
        file.write(b"\x12" + bytes([len(meta)]) + meta)
    assert _refusal(saved).rule == "index-escapes-folder"


def test_the_bytecode_of_a_keras_2_layer_is_told_of(saved: Path) -> None:
    layer = b'{"class_name": "Lambda", "config": {}}'
    node = b"\x2a" + bytes([len(layer)]) + layer
    (saved / "keras_metadata.pb").write_bytes(b"\x0a" + bytes([len(node)]) + node)
    assert [(str(i), i.danger) for i in read(saved).imports] == [("keras.layers.Lambda", "unsafe")]


def test_graphs_without_number_are_refused(saved: Path) -> None:
    with (saved / "saved_model.pb").open("ab") as file:
        file.write(b"\x12\x00" * 1000)
    assert _refusal(saved).rule == "pickle-over-limit"


def test_saving_itself_is_no_danger(saved: Path) -> None:
    manifest = read(saved)
    assert manifest.graph is not None and "SaveV2" in manifest.graph.operators
    assert "unsafe" not in {i.danger for i in manifest.imports}
