"""The hostile corpus: each file is told of by the rule it is there for, soon, and in little memory.

By way of the command line, as a user or a CI job meets them. What is refused here must not be so
because everything is: the benign twins below differ from hostile files by the trick alone.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures import hostile
from fixtures.hostile import FOLDER, HOSTILE, PLAIN, RUNS, Hostile, Member, archive, checkpoint
from interop.check import check
from interop.check.options import CheckOptions
from interop.errors import ReadError
from interop.reading import read
from interop.reading.values.comparison import values
from tests.reading.conftest import tensors

SECONDS = 1.0
MEGABYTES = 200
BY_NAME = {one.name: one for one in HOSTILE}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What `interop inspect` makes of each file of the corpus."""
    paths = "".join(f"{FOLDER / one.name}\n" for one in HOSTILE)
    done = subprocess.run(
        [sys.executable, "-m", "tests.reading.hostile_child"],
        input=paths,
        capture_output=True,
        text=True,
        check=True,
        cwd=FOLDER.parents[2],
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(BY_NAME, lines, strict=True))


@pytest.mark.parametrize("name", BY_NAME)
def test_each_is_told_by_its_rule(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome, rule = outcomes[name], BY_NAME[name].rule
    if name.endswith(".keras"):
        pytest.importorskip("h5py")
    if rule == hostile.UNSAFE:
        assert outcome["code"] == 1, outcome["err"]
        assert rule in {f["rule"] for f in json.loads(outcome["out"])["findings"]}
    else:
        assert outcome["code"] == 2, outcome["err"] + outcome["out"][:500]
        lines = outcome["err"].splitlines()
        assert len(lines) == 1 and lines[0].endswith(f"[{rule}]"), lines
        assert outcome["out"] == ""
    assert outcome["seconds"] < SECONDS


def test_all_of_them_take_little_memory(outcomes: dict[str, dict[str, Any]]) -> None:
    assert max(one["peak"] for one in outcomes.values()) < MEGABYTES << 20


def test_what_a_refused_archive_would_run_is_said(outcomes: dict[str, dict[str, Any]]) -> None:
    hiding = [
        one
        for one in HOSTILE
        if one.rule not in (hostile.UNSAFE, hostile.LIMIT, hostile.FOREIGN, hostile.HEADER)
        and one.name.startswith(("zip-", "nested-"))
        and isinstance(one.content, bytes)
        and RUNS in one.content
        and not one.content.endswith(RUNS)  # behind the archive's end nobody looks for a pickle
    ]
    assert len(hiding) > 20
    silent = [one.name for one in hiding if "posix.system" not in outcomes[one.name]["err"]]
    assert silent == []


def test_the_corpus_is_as_its_script_makes_it(tmp_path: Path) -> None:
    hostile.write(tmp_path)
    assert _contents(tmp_path) == _contents(FOLDER)
    assert len(BY_NAME) == len(HOSTILE) >= 60
    assert len({one.kind for one in HOSTILE}) >= 25
    assert sum(map(len, _contents(FOLDER).values())) < 250_000


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------- twins that are as they should be


def _twins() -> dict[str, bytes | Mapping[str, bytes]]:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(PLAIN) + packer.flush()
    deflated = Member("a/data.pkl", packed, method=8, size=len(PLAIN), crc=zlib.crc32(PLAIN))
    late = {"crc": 0, "packed": 0, "size": 0}
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    tensor = hostile.safetensors({"w": one}, bytes(4))
    told = {"__metadata__": {"a": "\u00e9\U0001f600"}, "w": one}
    index = json.dumps({"weight_map": {"w": "model-1.safetensors"}}).encode()
    return {
        "a pickle": PLAIN,
        "pickles one behind the other": PLAIN * 3,
        "a checkpoint": checkpoint(),
        "a checkpoint without checksums": archive(
            Member("a/data.pkl", PLAIN, crc=0), Member("a/version", b"3\n", crc=0)
        ),
        "a deflated checkpoint": archive(deflated),
        "names in UTF-8": checkpoint(flags=0x0800),
        "sizes that follow": checkpoint(flags=8, local=late),
        "a comment": archive(Member("a/data.pkl", PLAIN), comment=b"saved by hand"),
        "two accounts of the directory": archive(Member("a/data.pkl", PLAIN), wide=1),
        "a name with dots": checkpoint(PLAIN, Member("a/v..2/.x", b"x")),
        "other things beside": checkpoint(PLAIN, Member("a/notes.txt", b"of no matter")),
        "a header": tensor,
        "metadata": hostile.safetensors(told, bytes(4)),
        "a tensor": hostile.weights(hostile.tensor()),
        "a tensor and its byte order": hostile.weights(
            hostile.tensor(), Member("a/byteorder", b"little")
        ),
        "what torch 0.3 set of a tensor": hostile.weights(hostile.tensor() + b"\x89\x88N\x87b"),
        "storages that no tensor refers to": hostile.weights(
            hostile.tensor(), Member("a/data/7", b"c\0\1\n\xff\n)R.(o"), Member("a/code/x", b"}.")
        ),
        "a pickle beside": {"model.safetensors": tensor, "optimizer.pt": checkpoint()},
        "external data": {"model.onnx": hostile.onnx("w.data"), "w.data": bytes(16)},
        **{
            f"external {place}": {"model.onnx": hostile.onnx("w.data", where=place)}
            | {"w.data": bytes(16), "model.safetensors": tensor}
            for place in ("tensors", "graphs", "training")
        },
        "a header after blanks": struct.pack("<Q", len(tensor) - 4 - 8 + 1) + b" " + tensor[8:],
        "external data below": {"model.onnx": hostile.onnx("./w.data"), "w.data": bytes(16)},
        "an index": {"model.safetensors.index.json": index, "model-1.safetensors": tensor},
    }  # fmt: skip


TWINS = _twins()


@pytest.mark.parametrize("name", TWINS)
def test_a_benign_twin_is_read(name: str, tmp_path: Path) -> None:
    content = TWINS[name]
    path = tmp_path / "model"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.mkdir()
        for file, data in content.items():
            (path / file).write_bytes(data)
    manifest = read(path)
    assert manifest.state_dicts or manifest.metadata == {"epoch": 3}
    assert {i.danger for i in manifest.imports} <= {"safe"}


def _read_values(path: Path) -> None:
    list(values(read(path).state_dicts[0].tensors))


@pytest.mark.needs_torch
@pytest.mark.parametrize("summed", [True, False])
def test_what_torch_writes_is_read_whatever_its_checksums(summed: bool, tmp_path: Path) -> None:
    import torch

    state = {"w": torch.randn(40), "b": torch.zeros(3)}
    default = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(summed)
    try:
        torch.save(state, tmp_path / "m.pth")
    finally:
        torch.serialization.set_crc32_options(default)
    assert set(tensors(read(tmp_path / "m.pth"))) == {"w", "b"}
    _read_values(tmp_path / "m.pth")


@pytest.mark.needs_torch
def test_a_storage_is_held_against_its_checksum_where_values_are_read(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "m.pth"
    torch.save({"w": torch.arange(40.0)}, path)
    data = bytearray(path.read_bytes())
    at = data.index(torch.arange(40.0).numpy().tobytes())
    data[at + 8] ^= 1
    path.write_bytes(data)
    read(path)  # structure alone: the storage is not looked at
    with pytest.raises(ReadError) as error:
        _read_values(path)
    assert error.value.rule == "zip-checksum-wrong" and "data/0" in error.value.what
    check(path, path)
    with pytest.raises(ReadError, match="checksum"):
        check(path, path, CheckOptions(values=True))


@pytest.mark.needs_torch
def test_the_sum_of_one_of_two_equal_storages_holds_for_both(tmp_path: Path) -> None:
    """Equal bytes need one sum; but not where the two files state two."""
    import torch

    for name in "ab":
        torch.save({"w": torch.arange(40.0), "v": torch.ones(40)}, tmp_path / "m.pth")
        shutil.move(tmp_path / "m.pth", tmp_path / f"{name}.pth")
    check(tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True))
    data = bytearray((tmp_path / "b.pth").read_bytes())
    crc = struct.pack("<I", zlib.crc32(torch.arange(40.0).numpy().tobytes()))
    assert data.count(crc) >= 2
    (tmp_path / "b.pth").write_bytes(data.replace(crc, b"\1\2\3\4"))
    with pytest.raises(ReadError, match="checksum"):
        check(tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True))


class _Pipe:
    """A target that cannot go back, so that zipfile writes sizes and checksums behind the data."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None: ...


@pytest.mark.needs_torch
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("piped", [True, False])
def test_what_zipfile_writes_is_read(method: int, wide: bool, piped: bool, tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.randn(40)}, tmp_path / "plain.pth")
    target: Any = _Pipe() if piped else tmp_path / "again.pth"
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as old,
        zipfile.ZipFile(target, "w", method) as new,
    ):
        for name in old.namelist():
            with new.open(name, "w", force_zip64=wide) as entry:
                entry.write(old.read(name))
    if piped:
        (tmp_path / "again.pth").write_bytes(target.data)
    assert list(tensors(read(tmp_path / "again.pth"))) == ["w"]
    _read_values(tmp_path / "again.pth")


# ---------------------------------------------------------------- links


def _refused(path: Path, rule: str) -> str:
    with pytest.raises(ReadError) as error:
        read(path)
    assert error.value.rule == rule, str(error.value)
    return error.value.what


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").write_bytes(hostile.onnx("w.data"))
    (model / "w.data").symlink_to(tmp_path / "secret")
    _refused(model / "model.onnx", "external-data-escapes-folder")
    (model / "w.data").unlink()
    (model / "w.data").symlink_to("w.data")
    _refused(model / "model.onnx", "external-data-escapes-folder")
    (model / "below").symlink_to(tmp_path)
    (model / "model.onnx").write_bytes(hostile.onnx("below/secret"))
    _refused(model / "model.onnx", "external-data-escapes-folder")


def test_shards_that_are_links_out_or_folders_are_refused(tmp_path: Path) -> None:
    whole = TWINS["a header"]
    assert isinstance(whole, bytes)
    (tmp_path / "elsewhere").write_bytes(whole)
    model = tmp_path / "model"
    model.mkdir()
    shutil.copyfile(FOLDER / "index-missing" / "pytorch_model.bin.index.json",
                    model / "pytorch_model.bin.index.json")  # fmt: skip
    shard = model / "model-1.safetensors"
    shard.symlink_to(tmp_path / "elsewhere")
    _refused(model, "index-escapes-folder")
    shard.unlink()
    shard.symlink_to(model)
    _refused(model, "index-escapes-folder")
    shard.unlink()
    shard.mkdir()
    assert "folder as a shard" in _refused(model, "file-unrecognised")


def test_the_links_of_a_hub_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1f"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    files = {**TWINS["external data"], **TWINS["an index"]}  # type: ignore[dict-item]
    for number, (name, data) in enumerate(files.items()):
        (blobs / str(number)).write_bytes(data)
        (snapshot / name).symlink_to(os.path.relpath(blobs / str(number), snapshot))
    assert read(snapshot / "model.onnx").state_dicts
    assert read(snapshot / "model.safetensors.index.json").state_dicts


def test_a_trick_is_seen_in_any_entry(write_zip: Callable[..., Path]) -> None:
    """Not in the one that is read alone: another reader may read another one."""
    path = write_zip({"a/data.pkl": PLAIN, "a/other": b"x"})
    data = path.read_bytes()
    at = data.index(b"a/other")
    path.write_bytes(data[:at] + b"a/mother"[1:] + data[at + 7 :])
    assert "another account" in _refused(path, "zip-headers-disagree")


def test_the_table_names_advisories_as_they_are_written() -> None:
    named: list[Hostile] = [one for one in HOSTILE if one.advisory]
    assert len(named) >= 15
    for one in named:
        kind, year, number = one.advisory.split("-")
        assert kind == "CVE" and year.isdecimal() and number.isdecimal()
