"""Models on other machines: what is fetched of them, from real servers on loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import torch
from safetensors.torch import save_file

from fixtures.hostile import onnx
from interop.check import check
from interop.check.options import CheckOptions
from interop.errors import ExtraMissing, ReadError
from interop.facts import Answer
from interop.reading import read
from interop.reading.bytes import location, remote
from interop.reading.bytes.address import is_remote
from tests.conftest import Run
from tests.helpers.s3 import served
from tests.helpers.server import Files, Server

GB = 1 << 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.close()


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[Server]:
    """One that sends the whole file whatever part was asked for."""
    one = Server(tmp_path, ranges=False)
    yield one
    one.close()


def _state(tensors: int = 200) -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(0)
    return OrderedDict((f"layer{i}.weight", torch.randn(8, 4)) for i in range(tensors))


def _large_zip(path: Path) -> None:
    """A torch checkpoint of 1 GB, of which the tensors take no room on disk."""
    state = OrderedDict((f"layer{i}.weight", torch.empty(1 << 20)) for i in range(256))
    with torch.serialization.skip_data():
        torch.save(state, path)
    assert path.stat().st_size > GB


def _large_safetensors(path: Path) -> None:
    count, size = 256, 1 << 22
    header = json.dumps(
        {
            f"layer{i}.weight": {
                "dtype": "F32",
                "shape": [1 << 20],
                "data_offsets": [i * size, (i + 1) * size],
            }
            for i in range(count)
        }
    ).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + count * size)


@pytest.mark.parametrize("name", ["large.pth", "large.safetensors"])
def test_a_large_file_costs_four_requests_and_a_hundredth_of_its_bytes(
    server: Server, tmp_path: Path, name: str
) -> None:
    (_large_zip if name.endswith(".pth") else _large_safetensors)(tmp_path / name)
    report = check(f"{server.address}/{name}", f"{server.address}/{name}")
    assert report.outcome is Answer.YES
    requests, sent = server.of(name)
    assert requests <= 2 * 4 and sent < 2 * GB / 100
    here = read(tmp_path / name)
    there = read(f"{server.address}/{name}")
    assert [(t.name, t.shape, t.dtype) for t in there.state_dicts[0].tensors] == [
        (t.name, t.shape, t.dtype) for t in here.state_dicts[0].tensors
    ]
    assert there.header_sha256 == here.header_sha256


def test_what_is_read_from_afar_is_what_is_read_here(server: Server, tmp_path: Path) -> None:
    tied = _state()
    tied["tied"] = tied["layer0.weight"]
    torch.save({"state_dict": tied, "epoch": 3}, tmp_path / "a.pth")
    torch.save(tied, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(_state(), tmp_path / "a.safetensors", {"arch": "mine"})
    for name in ("a.pth", "old.pth", "a.safetensors"):
        here, there = read(tmp_path / name), read(f"{server.address}/{name}")
        assert there.metadata == here.metadata and there.imports == here.imports
        assert there.size == here.size and there.container == here.container
        for x, y in zip(here.state_dicts, there.state_dicts, strict=True):
            assert [(t.name, t.shape, t.dtype) for t in x.tensors] == [
                (t.name, t.shape, t.dtype) for t in y.tensors
            ]
            assert len({t.storage for t in y.tensors}) == len({t.storage for t in x.tensors})


def test_without_ranges_a_file_is_fetched_once_and_whole(
    plain_server: Server, tmp_path: Path
) -> None:
    torch.save(_state(), tmp_path / "a.pth")
    found = read(f"{plain_server.address}/a.pth")
    assert len(found.state_dicts[0].tensors) == 200
    assert plain_server.of("a.pth") == (1, (tmp_path / "a.pth").stat().st_size)


def test_values_are_compared_in_a_copy(server: Server, tmp_path: Path) -> None:
    state = _state()
    torch.save(state, tmp_path / "a.pth")
    state["layer7.weight"] += 1
    torch.save(state, tmp_path / "b.pth")
    addresses = [f"{server.address}/{name}.pth" for name in "ab"]
    report = check(*addresses, options=CheckOptions(values=True))
    assert [m.name for m in report.details.values.moved] == ["layer7.weight"]
    assert report.inputs[0].path == addresses[0]


def test_an_unsafe_file_is_told_of_before_it_is_fetched(server: Server, tmp_path: Path) -> None:
    program = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."
    (tmp_path / "evil.pkl").write_bytes(program)
    found = read(f"{server.address}/evil.pkl")
    assert [str(i) for i in found.imports if i.danger == "unsafe"] == ["posix.system"]


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_no_name_in_a_file_is_followed_to_an_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """From the model's own folder least of all: there, a name is the whole path."""
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    address = f"{server.address if scheme == 'http' else f'file://{tmp_path}'}/secret.bin"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx(address))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": address}}))
    monkeypatch.chdir(folder)
    for name in ("model.onnx", "model.safetensors.index.json"):
        for path in (name, f"./{name}", str(folder / name)):
            with pytest.raises(ReadError) as caught:
                read(path)
            assert caught.value.rule.endswith("escapes-folder")
    assert not server.asked
    assert not is_remote(location.joined("", address))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.pth", "there is no such file"),
        ("secret.pth", "refuses access"),
        ("page.pth", "this is a web page"),
        ("cut.safetensors", "cut off"),
        ("empty.pth", "empty"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    interop: Run, server: Server, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "secret.pth").write_bytes(b"x")
    (tmp_path / "page.pth").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    save_file(_state(), tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(
        (tmp_path / "whole.safetensors").read_bytes()[:20_000]
    )
    (tmp_path / "empty.pth").write_bytes(b"")
    done = interop("inspect", f"{server.address}/{name}")
    assert done.returncode == 2 and not done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and said in lines[0] and f"{server.address}/{name}" in lines[0]


def test_a_server_that_is_not_there_and_a_scheme_that_nobody_knows(interop: Run) -> None:
    done = interop("inspect", "http://127.0.0.1:9/a.pth")
    assert done.returncode == 2 and "cannot be fetched" in done.stderr
    done = interop("inspect", "gopher://x/a.pth")
    assert done.returncode == 2 and "'gopher' are not known" in done.stderr
    done = interop("inspect", "hf://x")
    assert done.returncode == 2 and "Repository id" in done.stderr


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    remote._filesystem.cache_clear()
    with pytest.raises(ExtraMissing, match=r"model-interop\[remote\]"):
        read("https://example.invalid/a.pth")


def test_an_index_of_shards_is_followed_on_its_server(server: Server, tmp_path: Path) -> None:
    state = _state(4)
    names = list(state)
    for shard, part in enumerate((names[:2], names[2:])):
        save_file({n: state[n] for n in part}, tmp_path / f"part-{shard}.safetensors")
    index = {"weight_map": {n: f"part-{i // 2}.safetensors" for i, n in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    address = f"{server.address}/model.safetensors.index.json"
    assert [t.name for t in read(address).state_dicts[0].tensors] == names
    index["weight_map"][names[0]] = "../part-0.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ReadError) as error:
        read(address)
    assert error.value.rule == "index-escapes-folder"


# ---------------------------------------------------------------- the Hub


class Hub(Files):
    """As much of the Hub's interface as its own client asks for, over one repository, org/tiny."""

    repo = "/org/tiny"

    def do_GET(self) -> None:
        if self.path.startswith(f"/api/models{self.repo}/tree/"):
            return self.answer([self.entry(p.name) for p in self.files()])
        if self.path.startswith(f"/api/models{self.repo}"):
            return self.answer({"id": self.repo[1:], "sha": "0" * 40, "siblings": []})
        self.resolve()
        return super().do_GET()

    def do_HEAD(self) -> None:
        self.resolve()
        super().do_HEAD()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        there = {p.name for p in self.files()}
        asked = json.loads(body)["paths"] if body[:1] == "{" else parse_qs(body)["paths"]
        self.answer([self.entry(name) for name in asked if name in there])

    def resolve(self) -> None:
        self.path = re.sub(f"^{self.repo}/resolve/[^/]+", "", self.path).partition("?")[0]

    def files(self) -> list[Path]:
        return sorted(Path(self.directory).iterdir())

    def entry(self, name: str) -> dict[str, object]:
        size = Path(self.directory, name).stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": "1" * 40}

    def answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_a_repository_of_the_hub_by_its_own_client(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    one = Server(tmp_path, kind=Hub)
    environment = {**os.environ, "HF_ENDPOINT": one.address, "HF_HUB_DISABLE_TELEMETRY": "1"}
    for asked in ("hf://org/tiny", "hf://org/tiny/model.safetensors"):
        done = subprocess.run(
            [sys.executable, "-m", "interop", "inspect", asked],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "6,400 in 200 tensors" in done.stdout
        assert ("cat, dog" in done.stdout) == (asked == "hf://org/tiny")
    one.close()


# ---------------------------------------------------------------- S3


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server on loopback."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with served("models") as address:
        yield address


def test_files_and_folders_of_an_s3_server(bucket: str, tmp_path: Path) -> None:
    import s3fs

    store = s3fs.S3FileSystem(use_listings_cache=False)
    torch.save(_state(), tmp_path / "a.pth")
    save_file(_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["Mine"]}')
    store.put_file(str(tmp_path / "a.pth"), "models/a.pth")
    for name in ("model.safetensors", "config.json"):
        store.put_file(str(tmp_path / name), f"models/mine/{name}")
    report = check(f"{bucket}/a.pth", f"{bucket}/mine")
    assert next(v for v in report.verdicts if v.intent == "transfer").answer != Answer.NO
    found = read(f"{bucket}/mine")
    assert found.metadata["config.json"] == {"architectures": ["Mine"]}
    assert found.path == f"{bucket}/mine" and found.file == f"{bucket}/mine/model.safetensors"
    with pytest.raises(ReadError, match="no such file"):
        read(f"{bucket}/other.pth")


def test_a_large_file_on_s3_is_read_in_parts(bucket: str, tmp_path: Path) -> None:
    import s3fs

    torch.save({f"w{i}": torch.zeros(1 << 18) for i in range(32)}, tmp_path / "a.pth")
    store = s3fs.S3FileSystem(use_listings_cache=False)
    store.put_file(str(tmp_path / "a.pth"), "models/large.pth")
    parts = remote.FetchedParts(f"{bucket}/large.pth")
    assert parts.size > 1 << 25 and parts[:4] == b"PK\x03\x04"
    assert len(read(f"{bucket}/large.pth").state_dicts[0].tensors) == 32
    assert parts.requests == 1 and parts.fetched <= 1 << 18


def test_what_opens_an_address_stands_in_no_report(server: Server, tmp_path: Path) -> None:
    torch.save(_state(2), tmp_path / "a.pth")
    host = server.address.removeprefix("http://")
    signed = f"http://{host}/a.pth?X-Signature=SECRET"
    for values in (False, True):
        report = check(signed, signed, CheckOptions(values=values))
        assert report.inputs[0].path == f"http://{host}/a.pth"
        assert "SECRET" not in str(report)
    with pytest.raises(ReadError) as error:
        read(f"http://somebody:SECRET@{host}/none.pth?X-Signature=SECRET")
    assert "SECRET" not in str(error.value) and "none.pth" in str(error.value)
    with pytest.raises(ReadError) as error:
        read(f"http://{host}/broken/a.pth?X-Signature=SECRET")
    assert "SECRET" not in str(error.value) and "500" in str(error.value)


def test_a_store_whose_library_is_missing_is_told_by_its_name(interop: Run) -> None:
    done = interop("inspect", "gs://bucket/a.pth")
    assert done.returncode == 2 and "gcsfs" in done.stderr
    assert len(done.stderr.splitlines()) == 1
