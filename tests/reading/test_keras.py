"""Keras files: where HDF5 could lead out of the file, and the code a configuration names."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fixtures.benign import OUT
from interop.errors import ExtraMissing, ReadError
from interop.reading import read
from interop.reading.formats.keras_config import imported, opened
from interop.reading.values.comparison import array
from tests.reading.conftest import tensors


def _links(file: h5py.File) -> None:
    file["w"] = h5py.SoftLink("/elsewhere")


def _external_link(file: h5py.File) -> None:
    file["w"] = h5py.ExternalLink("/etc/hostname", "/x")


def _external_storage(file: h5py.File) -> None:
    file.create_dataset("w", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("w", layout)


@pytest.mark.parametrize("trick", [_links, _external_link, _external_storage, _virtual])
def test_data_kept_elsewhere_is_refused(tmp_path: Path, trick: Callable[[h5py.File], None]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["fine"] = np.ones(2, "f4")
        trick(file)
    with pytest.raises(ReadError) as error:
        read(tmp_path / "a.h5")
    assert error.value.rule == "external-data-escapes-folder"


def test_a_group_within_itself_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("g")
        group["again"] = group
    with pytest.raises(ReadError) as error:
        read(tmp_path / "a.h5")
    assert error.value.rule == "pickle-over-limit"


def test_an_optimizer_and_text_are_held_aside(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layer/kernel"] = np.ones(2, "f4")
        file["optimizer_weights/m"] = np.ones(2, "f4")
        file["names"] = np.array([b"a", b"b"])
    manifest = read(tmp_path / "a.h5")
    assert set(tensors(manifest)) == {"layer/kernel"}
    assert set(manifest.held_aside) == {"optimizer_weights", "names"}


def test_never_written_and_empty_data_sets_have_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("zeros", (3,), "f4")
        file.create_dataset("none", (0, 2), "f4")
        file["one"] = np.float64(2)
    found = tensors(read(tmp_path / "a.h5"))
    assert array(found["zeros"]).tolist() == [0, 0, 0] and array(found["none"]).shape == (0, 2)
    assert array(found["one"]) == 2


def test_a_compressed_archive_is_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(OUT / "model.keras") as plain,
        zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    before, after = tensors(read(OUT / "model.keras")), tensors(read(tmp_path / "m.keras"))
    for name, spec in before.items():
        storage = after[name].storage
        assert storage is not None and storage.offset == -1
        assert np.array_equal(array(after[name]), array(spec))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    whole = (OUT / "keras.weights.h5").read_bytes()
    for length in (9, 100, 1000, 5000, len(whole) - 10):
        (tmp_path / "a.h5").write_bytes(whole[:length])
        with pytest.raises(ReadError):
            read(tmp_path / "a.h5")


def test_without_h5py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name in ("model.h5", "model.keras"):
        with pytest.raises(ExtraMissing, match=r"model-interop\[keras\]"):
            read(OUT / name)


def _told(config: Any) -> list[tuple[str, str]]:
    return [(str(i), i.danger) for i in imported(config, "f")]


def test_keras_own_layers_are_nothing_to_tell_of() -> None:
    with zipfile.ZipFile(OUT / "model.keras") as archive:
        assert _told(json.loads(archive.read("config.json"))) == []
    own = {"module": "builtins", "class_name": "function", "config": "relu"}
    named = {"module": "keras.src.models.functional", "class_name": "Functional",
             "registered_name": "Functional"}  # fmt: skip
    assert _told([own, named, {"class_name": "keras>Dense"}, {"class_name": "Custom>Adam"}]) == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"class_name": "Lambda"}, ("keras.layers.Lambda", "unsafe")),
        ({"class_name": "__lambda__", "config": {}}, ("keras.layers.Lambda", "unsafe")),
        ({"class_name": "function", "module": "os", "config": "system"}, ("os.system", "unsafe")),
        (
            {"class_name": "function", "module": "builtins", "config": "exec"},
            ("builtins.exec", "unsafe"),
        ),
        ({"class_name": "run", "module": "subprocess"}, ("subprocess.run", "unsafe")),
        (
            {"class_name": "function", "module": "keras.utils", "config": "get_file"},
            ("keras.utils.get_file", "unsafe"),
        ),
        (
            {"class_name": "enable_unsafe_deserialization", "module": "keras.config"},
            ("keras.config.enable_unsafe_deserialization", "unsafe"),
        ),
        ({"class_name": "Mine", "module": "my.layers"}, ("my.layers.Mine", "code")),
        ({"class_name": "Mine", "registered_name": "pack>Mine"}, ("pack.Mine", "code")),
        ({"class_name": "Custom>Mine"}, ("Custom.Mine", "code")),
    ],
)
def test_code_of_others_is_told_of(config: Any, told: tuple[str, str]) -> None:
    assert _told({"config": {"layers": [{"deep": config}]}}) == [told]


def test_a_file_on_which_the_library_runs_for_ever_is_refused(tmp_path: Path) -> None:
    data = bytearray((OUT / "model.h5").read_bytes())
    data[2444] = data[4585] = 0  # a heap whose next object is always the same one
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(ReadError) as error:
        read(tmp_path / "a.h5")
    assert error.value.rule == "pickle-over-limit"


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["w"] = np.ones(2, "f4")
        file.attrs["model_config"] = b'{"class_name": "\xf1"}'
    assert read(tmp_path / "a.h5").metadata["config.json"] == {"class_name": "\ufffd"}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "\\ud800"}'
    with pytest.raises(ReadError, match="not JSON"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.losses", "mean_squared_error"),
        ("keras.src.activations.activations", "relu"),
        ("tensorflow.python.keras.metrics", "binary_accuracy"),
    ],
)
def test_functions_of_kerass_own_that_compute_are_no_danger(module: str, name: str) -> None:
    function = {"class_name": "function", "module": module, "config": name}
    assert list(imported({"loss": function}, "m.keras")) == []


@pytest.mark.parametrize(
    "module", ["keras.layers", "keras.src.ops.numpy", "keras", "keras.src.models"]
)
def test_classes_of_kerass_own_are_no_danger(module: str) -> None:
    assert list(imported({"class_name": "Add", "module": module, "config": {}}, "m.keras")) == []


def test_a_function_of_tensorflows_as_a_layer_is_judged_by_its_name() -> None:
    def told(symbol: str) -> list[str]:
        layer = {"class_name": "TFOpLambda", "config": {"function": symbol}}
        return [f"{i} {i.danger}" for i in imported(layer, "m.h5")]

    assert told("io.write_file") == ["tensorflow.io.write_file unsafe"]
    assert told("math.multiply") == told("__operators__.add") == told("nn.relu") == []


@pytest.mark.parametrize(
    ("layer", "config", "told"),
    [
        ("StringLookup", {"name": "s", "vocabulary": "/etc/passwd"},
         "'/etc/passwd' (vocabulary of the StringLookup layer 's')"),
        ("IntegerLookup", {"vocabulary": "http://host/x"},
         "'http://host/x' (vocabulary of the IntegerLookup layer)"),
        ("Custom>TextVectorization", {"vocabulary": "a\nb"},
         "'a\\nb' (vocabulary of the TextVectorization layer)"),
        ("BytePairTokenizer", {"vocabulary": {"a": 0}, "merges": "/m.txt"},
         "'/m.txt' (merges of the BytePairTokenizer layer)"),
        ("SentencePieceTokenizer", {"proto": "/x.model"},
         "'/x.model' (SentencePiece model of the SentencePieceTokenizer layer)"),
        ("TFSMLayer", {"filepath": "/else"}, "'/else' (SavedModel of the TFSMLayer layer)"),
        ("KerasLayer", {"handle": "https://tfhub.dev/x"},
         "'https://tfhub.dev/x' (module of the KerasLayer layer)"),
        ("Mine", {"vocab_path": "v"}, "'v' (vocabulary of the Mine layer)"),
        ("a\nb", {"url": "u"}, "'u' (file of the 'a\\nb' layer)"),
        ("ResNet50", {"weights": "/w.h5"}, "'/w.h5' (weights of the ResNet50 layer)"),
        ("ResNet50", {"weights": "imagenet"},
         "'imagenet' (weights to download of the ResNet50 layer)"),
    ],
)  # fmt: skip
def test_a_value_that_is_a_path_is_told_of(layer: str, config: Any, told: str) -> None:
    nested = {"config": {"layers": [{"class_name": layer, "config": config}]}}
    assert [str(one) for one in opened(nested)] == [told]


@pytest.mark.parametrize(
    ("layer", "config"),
    [
        ("StringLookup", {"name": "/etc/passwd", "vocabulary": ["a", "/etc/passwd"]}),
        ("StringLookup", {"vocabulary": None}),
        ("SentencePieceTokenizer", {"proto": "aGVsbG8gd29ybGQ="}),
        ("ResNet50", {"weights": None}),
        ("Dense", {"handle": "x", "activation": "relu", "weights": ""}),
    ],
)
def test_values_that_the_model_holds_itself_are_no_paths(layer: str, config: Any) -> None:
    assert list(opened({"class_name": layer, "config": config})) == []


def test_a_vocabulary_that_is_a_path_is_told_of_every_container(tmp_path: Path) -> None:
    layer = {"class_name": "StringLookup", "config": {"name": "s", "vocabulary": "/etc/passwd"}}
    with (
        zipfile.ZipFile(OUT / "model.keras") as plain,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as changed,
    ):
        for name in plain.namelist():
            data = plain.read(name)
            changed.writestr(name, json.dumps(layer).encode() if name == "config.json" else data)
    for attribute in ("model_config", "training_config"):
        with h5py.File(tmp_path / f"{attribute}.h5", "w") as file:
            file["w"] = np.ones(2, "f4")
            file.attrs[attribute] = json.dumps({"loss": layer})
    files = [tmp_path / "m.keras", *tmp_path.glob("*.h5")]
    assert [[one.path for one in read(file).opened] for file in files] == [["/etc/passwd"]] * 3
    assert read(OUT / "model.keras").opened == () and read(OUT / "model.h5").opened == ()
