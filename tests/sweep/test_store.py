"""What models are in a folder, below a prefix and in a list."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from interop.errors import ConfigError
from interop.reading.grouping import grouped
from interop.sweep.store import expanded, is_store, opened
from tests.helpers.commands import refused
from tests.sweep.conftest import Make, safetensors


def test_a_folder_has_single_files_and_folders_that_are_one_model(make: Make) -> None:
    root = make(3)
    bundle = root / "bert"
    bundle.mkdir()
    (bundle / "model.safetensors").write_bytes(safetensors())
    (bundle / "config.json").write_text("{}")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "a.pth").write_bytes(b"x")
    (root / "readme.md").write_text("no model")
    (root / "weights.bin").write_bytes(b"x")
    models = {m.path: m for m in opened(str(root)).each()}
    singles = [f"00/m000{n}.safetensors" for n in range(3)]
    assert list(models) == [*singles, "bert", "weights.bin"]
    assert models["bert"].folder and not models[singles[0]].folder
    assert models["bert"].size == len(safetensors()) + 2
    assert models["weights.bin"].perhaps and not models["bert"].perhaps
    assert all(m.stamp for m in models.values())


def test_a_stamp_changes_with_the_file_and_with_what_belongs_to_it(make: Make) -> None:
    root = make(2)
    (root / "00" / "config.json").write_text("{}")
    before = {m.path: m.stamp for m in opened(str(root)).each()}
    os.utime(root / "00" / "m0000.safetensors", ns=(1, 1))
    after = {m.path: m.stamp for m in opened(str(root)).each()}
    assert [p for p in before if before[p] != after[p]] == ["00/m0000.safetensors"]
    (root / "00" / "config.json").write_text("{ }")
    last = {m.path: m.stamp for m in opened(str(root)).each()}
    assert all(last[p] != after[p] for p in last)


def test_a_list_has_addresses_comments_and_places(make: Make, tmp_path: Path) -> None:
    root = make(2)
    lines = ["# what is served", "", f"{root}/00/m0000.safetensors", f"  {root}/00/", f"{root}/00",
             "s3://bucket/a.pth#ema"]  # fmt: skip
    (tmp_path / "list.txt").write_text("\n".join(lines))
    store = opened(str(tmp_path / "list.txt"))
    assert sorted(store.models) == sorted(
        [f"{root}/00/m0000.safetensors", f"{root}/00", "s3://bucket/a.pth#ema"]
    )
    assert store.root == "" and store.remote
    assert store.files["s3://bucket/a.pth#ema"].stamp == "", "a look at it tells"
    assert store.address("s3://bucket/a.pth#ema") == "s3://bucket/a.pth#ema"


@pytest.mark.parametrize(
    ("addresses", "root", "paths"),
    [
        (["s3://b/a/x.pth", "s3://b/a/c/y.pth"], "s3://b/a", ["x.pth", "c/y.pth"]),
        (["s3://b/a-b/x.pth", "s3://b/a/x.pth"], "s3://b", ["a-b/x.pth", "a/x.pth"]),
        (["s3://b/x.pth", "s3://c/x.pth"], "", ["s3://b/x.pth", "s3://c/x.pth"]),
        (["s3://b/x.pth", "/c/x.pth"], "", ["s3://b/x.pth", "/c/x.pth"]),
        (["x.pth", "a/y.pth"], "", ["x.pth", "a/y.pth"]),
        (["/a/x.pth", "/a/b/y.pth"], "/a", ["x.pth", "b/y.pth"]),
    ],
)
def test_the_paths_of_a_list_count_from_the_folder_that_all_are_in(
    addresses: list[str], root: str, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(addresses)))
    store = opened("-")
    assert store.root == root and list(store.models) == paths
    assert [store.address(p) for p in paths] == addresses


@pytest.mark.parametrize("given", ["none", "file", "empty", "http://127.0.0.1:9/models"])
def test_what_is_no_store_is_refused_in_one_line(given: str, tmp_path: Path, interop) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_bytes(safetensors())
    (tmp_path / "empty").mkdir()
    place = given if "://" in given else tmp_path / given
    line = refused(interop("inspect", "--all", place, "--out", tmp_path / "out.jsonl"))
    said = {"none": "is no folder", "file": "is no folder", "empty": "holds no model files"}
    assert said.get(given, "a web server lists no files") in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file"], "nothing is written"


def test_which_arguments_are_stores(make: Make) -> None:
    root = make(1)
    assert is_store("-") and is_store("models.txt") and is_store(str(root))
    assert not is_store(str(root / "00" / "m0000.safetensors"))
    assert not is_store("https://example.invalid/a.pth")


def test_a_folder_of_very_many_files_is_grouped_in_little_time() -> None:
    names = [f"m{n:06}.onnx" for n in range(20_000)] + ["config.json", "m000001.onnx.data"]
    models = grouped(names)
    assert len(models) == 20_000
    assert models["m000001.onnx"] == ["m000001.onnx", "config.json", "m000001.onnx.data"]


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may list every folder")
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(ConfigError, match="cannot be listed"):
        opened(str(tmp_path / "shut"))


def test_a_store_stands_for_its_models_and_a_model_for_itself(
    make: Make, tmp_path: Path, digits: Path
) -> None:
    root = make(3)
    singles = [f"{root}/00/m000{n}.safetensors" for n in range(3)]
    assert expanded(str(root)) == singles
    (tmp_path / "list.txt").write_text(singles[1])
    assert expanded(str(tmp_path / "list.txt")) == [singles[1]]
    bundle = tmp_path / "bert"
    bundle.mkdir()
    for name in ("model.safetensors", "pytorch_model.bin", "config.json"):
        (bundle / name).write_bytes(safetensors())
    for one in (str(bundle), singles[0], "torchvision/resnet18", f"random:{singles[0]}"):
        assert expanded(one) == [one]
