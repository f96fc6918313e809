"""A prefix of an S3 server, and a list of addresses on it, are swept as a folder is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.reading.bytes import remote
from interop.sweep import SweepOptions, sweep
from interop.sweep.store import opened
from tests.helpers.commands import refused
from tests.helpers.s3 import served
from tests.sweep.conftest import Make, safetensors

pytest.importorskip("moto")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with served("store") as address:
        yield address


@pytest.fixture
def filled(bucket: str, make: Make) -> Iterator[str]:
    """A prefix with 40 models, a bundle and a file that is none."""
    import s3fs

    fs = s3fs.S3FileSystem(use_listings_cache=False)
    root = make(40)
    for file in root.rglob("*.safetensors"):
        fs.pipe(f"store/models/{file.relative_to(root)}", file.read_bytes())
    fs.pipe("store/models/bert.v1/model.safetensors", safetensors())
    fs.pipe("store/models/bert.v1/config.json", b'{"architectures": ["Mine"]}')
    fs.pipe("store/models/bad.pth", b"<!DOCTYPE html><html></html>")
    yield f"{bucket}/models"
    fs.rm("store/models", recursive=True)


def table(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_prefix_has_the_rows_that_its_files_have_here(
    filled: str, tmp_path: Path, jobs: int
) -> None:
    report = sweep(filled, None, SweepOptions(out=tmp_path / "there.jsonl", jobs=jobs))
    assert report.summary == "42 models: 41 ok, 1 unreadable"
    here = sweep(str(tmp_path / "store"), None, SweepOptions(out=tmp_path / "o.jsonl", jobs=1))
    assert here.summary == "40 models: 40 ok"
    there = {r["address"].removeprefix(filled): r for r in table(tmp_path / "there.jsonl")}
    assert there["/bert.v1"]["container"] == "safetensors"
    for row in table(tmp_path / "o.jsonl"):
        twin = there[row["address"].removeprefix(str(tmp_path / "store"))]
        assert {k: v for k, v in twin.items() if k not in ("address", "stamp")} == {
            k: v for k, v in row.items() if k not in ("address", "stamp")
        }


def test_a_file_of_a_prefix_costs_one_request(
    filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fs, _ = remote._filesystem(f"{filled}/00/m0000.safetensors")
    real = type(fs)._call_s3

    async def noting(self: Any, method: str, *given: Any, **named: Any) -> Any:
        asked.append(f"{method} {named.get('Key', '')}")
        return await real(self, method, *given, **named)

    monkeypatch.setattr(type(fs), "_call_s3", noting)
    singles = [f"{filled}/00/m{n:04}.safetensors" for n in range(20)]
    listing = opened(filled)
    assert len(listing.models) == 42 and not [a for a in asked if a.startswith("head_object")]
    asked.clear()
    sweep(filled, None, SweepOptions(out=tmp_path / "o.jsonl", jobs=1))
    assert sorted(a for a in asked if "/00/" in a) == [
        f"get_object models/00/m{n:04}.safetensors" for n in range(40)
    ]
    asked.clear()
    (tmp_path / "list.txt").write_text("\n".join(singles))
    sweep(str(tmp_path / "list.txt"), None, SweepOptions(out=tmp_path / "o.jsonl", jobs=1))
    kinds = [a.partition(" ")[0] for a in asked]
    assert kinds.count("get_object") == kinds.count("head_object") == 20


def test_a_list_is_resumed_by_etag(filled: str, tmp_path: Path) -> None:
    """The rows that a killed run left hold as long as the server says that the file is the same."""
    import s3fs

    from interop.sweep.journal import Journal
    from interop.sweep.run import InspectOptions, _key

    names = [f"{filled}/00/m{n:04}.safetensors" for n in range(5)]
    given = tmp_path / "list.txt"
    given.write_text("\n".join(names))
    how = SweepOptions(out=tmp_path / "o.jsonl", jobs=1)
    assert sweep(str(given), None, how).details.kept == 0
    with Journal(how.out, str(given), _key(InspectOptions())) as journal:
        journal.add(table(how.out))
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    fs.pipe(names[2].removeprefix("s3://"), safetensors(60))
    again = sweep(str(given), None, how)
    assert again.details.kept == 4 and again.summary == "5 models: 5 ok"
    assert table(how.out)[2]["parameters"] == 60 * 9


def test_what_a_server_refuses_is_one_line(bucket: str, interop: Any, tmp_path: Path) -> None:
    for address, said in (
        ("s3://nobody-has-this/models", "bucket does not exist"),
        (f"{bucket}/nothing-here", "holds no model files"),
    ):
        done = interop("inspect", "--all", address, "--out", tmp_path / "o.jsonl")
        assert said in refused(done)
    assert not list(tmp_path.iterdir())
