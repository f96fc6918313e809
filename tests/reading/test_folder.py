"""Folders: a bundle, shards, and folders that hold no model or several."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from fixtures.benign import OUT
from interop.errors import ReadError
from interop.reading import read
from interop.reading.values.comparison import array
from tests.reading.conftest import dangers, tensors


def _graph(path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph), str(path))


def test_a_bundle_gives_weights_graph_and_descriptions(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    _graph(tmp_path / "model.onnx")
    (tmp_path / "config.json").write_text(json.dumps({"num_labels": 2}))
    (tmp_path / "interop.json").write_text("{}")
    manifest = read(tmp_path)
    assert manifest.path == str(tmp_path)
    assert manifest.file == str(tmp_path / "model.safetensors")
    assert manifest.graph is not None and manifest.graph.operators == {"Relu": 1}
    assert manifest.metadata == {
        "format": "pt",
        "config.json": {"num_labels": 2},
        "interop.json": {},
    }


def test_one_model_file_is_the_model_beside_what_trainers_leave(tmp_path: Path) -> None:
    for name in ("best.pth", "optimizer.pt", "rng_state_0.pth", "training_args.bin"):
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    assert read(tmp_path).file == str(tmp_path / "best.pth")


@pytest.mark.parametrize("names", [[], ["a.pth", "b.pth"], [".metadata"], ["README.md"]])
def test_no_model_or_several_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ReadError) as error:
        read(tmp_path)
    assert error.value.rule == "file-unrecognised" and error.value.fix


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    manifest = read(tmp_path, content_hash=True)
    assert {n: t.shape for n, t in tensors(manifest).items()} == {"a": (2,), "b": (3,)}
    assert manifest.content_sha256
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(ReadError) as error:
        read(tmp_path)
    assert error.value.rule == "file-truncated" and "model-2" in error.value.what


def test_an_index_may_not_leave_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../x.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ReadError, match="outside"):
        read(tmp_path)


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ReadError) as error:
        read(tmp_path)
    assert error.value.where.endswith("config.json")


def test_labels_beside_the_model_are_kept_under_their_files_names(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "id2label.json").write_text('{"0": "cat", "1": "dog"}')
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "preprocessor_config.json").write_text('{"do_resize": true}')
    (tmp_path / "generation_config.json").write_text('{"max_length": 20}')
    assert read(tmp_path).metadata == {
        "id2label.json": {"0": "cat", "1": "dog"},
        "labels.txt": ["cat", "dog"],
        "preprocessor_config.json": {"do_resize": True},
    }


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "renamed.bin"])
def test_an_index_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model-1.safetensors")
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "model-1.safetensors"}}
    (tmp_path / name).write_text(json.dumps(index, indent=2))
    manifest = read(tmp_path / name)
    assert manifest.container == "safetensors" and manifest.path == str(tmp_path / name)
    assert set(tensors(manifest)) == {"a"}


def test_a_file_that_is_the_only_one_of_any_format_is_the_model(tmp_path: Path) -> None:
    for name in ("arrays.npz", "export.pt2", "model.h5", "model.keras", "tied.th"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        shutil.copy(OUT / name, folder / name)
        assert read(folder).container == read(OUT / name).container


def test_of_two_tensorflow_checkpoints_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for file in (OUT / "tensorflow").iterdir():
            shutil.copy(file, tmp_path / file.name.replace("model", name))
    with pytest.raises(ReadError, match="2 model files"):
        read(tmp_path)
    assert read(tmp_path / "b.index").container == "tensorflow-checkpoint"


def test_a_tensor_is_taken_from_the_shard_that_the_index_names(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "1.safetensors")
    save_file({"a": torch.full((2,), 7.0), "c": torch.ones(2)}, tmp_path / "2.safetensors")
    shards = {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}
    index = json.dumps({"weight_map": shards})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    found = tensors(read(tmp_path))
    assert list(found) == ["a", "b", "c"] and array(found["a"]).tolist() == [1, 1]


def test_the_classes_that_a_configuration_brings_are_code(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    own = {"auto_map": {"AutoModel": "someone/else--modeling.Mine", "AutoTokenizer": ["t.T", None]}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    assert dangers(read(tmp_path)) == {"modeling.Mine": "code", "t.T": "code"}
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Mine"]}))
    assert dangers(read(tmp_path)) == {}
