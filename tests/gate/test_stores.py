"""All models of a folder, a prefix of an S3 server or a list, held against the same paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.errors import ConfigError
from interop.facts import Report
from interop.gate.repository import run as many
from interop.gate.repository.cache import Cache
from interop.gate.repository.run import gate_all
from interop.policy.policy import Policy
from interop.sweep import SweepOptions
from tests.helpers.s3 import served

pytest.importorskip("moto")
pytest.importorskip("s3fs")
POLICY = Policy(values=False)


@pytest.fixture(scope="module")
def bucket(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two prefixes of four models, of which one has changed; `new` has one more."""
    import s3fs

    with served("gate") as address:
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        for side in ("old", "new"):
            for name in ("a", "b", "c", "d"):
                changed = side == "new" and name == "b"
                source = digits / ("squeezenet.pth" if changed else "shufflenet.pth")
                fs.put_file(str(source), f"gate/{side}/{name}.pth")
        fs.put_file(str(digits / "base.pth"), "gate/new/more.pth")
        yield address


def states(report: Report) -> dict[str, tuple[str, str]]:
    return {m.path: (m.state, m.outcome) for m in report.details.models}


EXPECTED = {
    **{f"{n}.pth": ("unchanged", "yes") for n in "acd"},
    "b.pth": ("changed", "yes"),
    "more.pth": ("new", "yes"),
}


def run(given: str, baseline: str, **more: Any) -> Report:
    return gate_all(given, POLICY, baseline, how=SweepOptions(jobs=1), **more)


def test_equal_etags_are_unchanged_and_the_rest_is_judged(bucket: str) -> None:
    assert states(run(f"{bucket}/new", f"{bucket}/old")) == EXPECTED


def test_a_list_is_held_against_a_prefix_and_a_prefix_against_a_folder(
    bucket: str, tmp_path: Path, digits: Path
) -> None:
    names = [f"{bucket}/new/{n}" for n in EXPECTED]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert states(run(str(tmp_path / "list.txt"), f"{bucket}/old")) == EXPECTED
    here = tmp_path / "old"
    here.mkdir()
    for name in "abcd":
        (here / f"{name}.pth").symlink_to(digits / "shufflenet.pth")
    found = states(run(f"{bucket}/new", str(here)))
    assert {path: answer for path, (_, answer) in found.items()} == dict.fromkeys(EXPECTED, "yes")
    assert found["a.pth"][0] == "changed", "no ETag tells that a file here is the same"


def test_what_was_judged_is_not_judged_again(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    first = run(f"{bucket}/new", f"{bucket}/old", cache=cache)

    def never(*_: object, **__: object) -> Report:
        raise AssertionError("judged again")

    monkeypatch.setattr(many, "judge", never)
    assert states(run(f"{bucket}/new", f"{bucket}/old", cache=cache)) == states(first)


def test_a_table_has_a_row_a_model(bucket: str, tmp_path: Path, interop: Any) -> None:
    (tmp_path / "p.toml").write_text("values = false\n")
    done = interop(
        "gate", "--all", f"{bucket}/new", "--baseline", f"{bucket}/old", "--no-cache", "--jobs", 1,
        "--policy", tmp_path / "p.toml", "--out", tmp_path / "o.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert {r["path"]: (r["state"], r["outcome"]) for r in rows} == EXPECTED


def test_a_cluster_comes_to_the_same(bucket: str) -> None:
    pytest.importorskip("distributed")
    how = SweepOptions(backend="dask", jobs=1)
    report = gate_all(f"{bucket}/new", POLICY, f"{bucket}/old", how=how)
    assert states(report) == EXPECTED


def test_what_cannot_be_a_baseline_is_one_line(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{bucket}/old/a.pth")
    for baseline in (str(tmp_path / "list.txt"), "https://example.invalid/models"):
        with pytest.raises(ConfigError, match="no folder to hold many models against"):
            run(f"{bucket}/new", baseline)
    with pytest.raises(ConfigError, match="in no git repository"):
        run(f"{bucket}/new", "git:main:")
