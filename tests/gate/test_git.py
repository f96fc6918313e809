"""git:REF:path: what a branch has, through Git LFS too; a ref or path that is not there is said."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from interop.errors import ConfigError
from interop.gate.repository.discover import in_repository, in_store
from interop.gate.repository.git import GitPath, Repository, is_pointer, parse
from interop.reading.grouping import grouped
from interop.sweep.store import opened
from tests.helpers.git import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """main: models/a.pth, models/b/ (a folder of two files), and one path with odd letters."""
    root = tmp_path / "repository"
    (root / "models" / "b").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "models" / "a.pth").write_bytes(b"first" * 1000)
    (root / "models" / "b" / "config.json").write_text("{}")
    (root / "models" / "b" / "model.safetensors").write_bytes(b"weights")
    (root / "models" / "ö *.pth").write_bytes(b"odd")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "models")
    return root


def pointer(data: bytes) -> bytes:
    lines = ("version https://git-lfs.github.com/spec/v1",
             f"oid sha256:{sha256(data).hexdigest()}", f"size {len(data)}", "")  # fmt: skip
    return "\n".join(lines).encode()


def test_what_is_a_git_address() -> None:
    assert parse("git:main:models/a.pth") == GitPath("main", "models/a.pth")
    assert parse("git:v1.2:") == GitPath("v1.2", "")
    assert parse("models/a.pth") is None and parse("https://example.org/a:b") is None
    for half in ("git:main", "git::a.pth", "git:--help:a.pth"):
        with pytest.raises(ConfigError, match="is no git:REF:path"):
            parse(half)


def test_a_file_and_a_folder_of_a_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "models" / "a.pth").write_bytes(b"second")
    there = Repository(repository / "models")
    file = there.fetch(GitPath("main", "models/a.pth"), tmp_path / "one")
    assert file.name == "a.pth" and file.read_bytes() == b"first" * 1000
    folder = there.fetch(GitPath("HEAD", "models/b/"), tmp_path / "two")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    odd = there.fetch(GitPath("main", "models/ö *.pth"), tmp_path / "three")
    assert odd.read_bytes() == b"odd"
    assert git(repository, "status", "--porcelain").split() == ["M", "models/a.pth"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (GitPath("main", "models/c.pth"), "did you mean git:main:models/a.pth?"),
        (GitPath("main", "zzz"), "counts from the root of the repository"),
        (
            GitPath("mian", "models/a.pth"),
            "no such commit, branch or tag here; git fetch origin mian",
        ),
    ],
)
def test_what_is_not_there_is_said(
    repository: Path, tmp_path: Path, spec: GitPath, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Repository(repository).fetch(spec, tmp_path / "out")
    assert said in str(caught.value)


def test_no_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is in no git repository"):
        Repository(tmp_path)


def test_a_pointer_is_resolved_from_the_repositorys_own_objects(
    repository: Path, tmp_path: Path
) -> None:
    data = b"large" * 1000
    oid = sha256(data).hexdigest()
    (repository / "models" / "large.pth").write_bytes(pointer(data))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "large")
    kept = repository / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data)
    there = Repository(repository)
    file = there.fetch(GitPath("main", "models/large.pth"), tmp_path / "out")
    assert file.read_bytes() == data
    # The candidate may be a pointer too, where CI did not pull.
    here = repository / "models" / "large.pth"
    assert is_pointer(here) and there.pointed(here, tmp_path / "c").read_bytes() == data
    plain = repository / "models" / "a.pth"
    assert not is_pointer(plain) and there.pointed(plain, tmp_path / "c") == plain
    # A store that is cut off is no source.
    kept.write_bytes(data[:-1])
    with pytest.raises(ConfigError, match="lies in Git LFS and its 5,000 bytes are not here"):
        there.fetch(GitPath("main", "models/large.pth"), tmp_path / "again")
    assert not [p for p in (tmp_path / "again").rglob("*") if p.is_file()], (
        "nothing half-written is left"
    )


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_git_lfs_itself_fetches_what_is_not_here(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    data = b"large" * 1000
    git(repository, "lfs", "install", "--local")
    git(repository, "lfs", "track", "*.pt")
    (repository / "large.pt").write_bytes(data)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "large")
    git(tmp_path, "clone", "-q", "--bare", str(repository), "remote.git")
    remote = tmp_path / "remote.git"
    git(repository, "remote", "add", "origin", f"file://{remote}")
    git(repository, "lfs", "push", "--all", "origin")
    oid = sha256(data).hexdigest()
    there = Repository(repository)
    assert there.files("main")["large.pt"].size < 1024, "the commit holds a pointer"
    (there.objects / oid[:2] / oid[2:4] / oid).unlink()
    file = there.fetch(GitPath("main", "large.pt"), tmp_path / "out")
    assert file.read_bytes() == data


def test_the_models_of_a_tree() -> None:
    found = grouped([
        "a.pth", "notes.txt", "b/config.json", "b/model.safetensors", "b/checkpoint/x.pt",
        "c/interop.json", "c/model.onnx", "d/x.bin", "d/optimizer.pt", "d/rng_state_0.pth",
        "e/.metadata", "e/__0_0.distcp", "f/config.json", "f/other.txt",
    ])  # fmt: skip
    assert sorted(found) == ["a.pth", "b", "c", "d/x.bin", "e"]
    assert "b/checkpoint/x.pt" in found["b"]


def test_unchanged_is_what_git_calls_so_and_ignored_files_are_left_out(repository: Path) -> None:
    before = {u.path: u for u in in_repository(Repository(repository))}
    assert sorted(before) == ["models/a.pth", "models/b", "models/ö *.pth"]
    assert all(u.clean for u in before.values())
    (repository / ".gitignore").write_text("scratch.pth\n")
    (repository / "scratch.pth").write_bytes(b"x")
    (repository / "new.pth").write_bytes(b"x")
    (repository / "models" / "b" / "config.json").write_text("{ }")
    (repository / "models" / "ö *.pth").unlink()
    after = {u.path: u for u in in_repository(Repository(repository))}
    assert sorted(after) == ["models/a.pth", "models/b", "new.pth"]
    assert after["models/a.pth"] == before["models/a.pth"]
    assert not after["models/b"].clean and not after["new.pth"].clean
    assert [u.path for u in in_repository(Repository(repository), "models/b")] == ["models/b"]


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_to_overlook_is_looked_at(repository: Path, flag: str) -> None:
    git(repository, "update-index", flag, "models/a.pth")
    (repository / "models" / "a.pth").write_bytes(b"swapped")
    assert git(repository, "status", "--porcelain") == ""
    units = {u.path: u for u in in_repository(Repository(repository))}
    assert not units["models/a.pth"].clean and units["models/b"].clean
    (repository / "models" / "a.pth").unlink()  # as a sparse checkout leaves it out
    assert "models/a.pth" not in {u.path for u in in_repository(Repository(repository))}


def test_outside_of_git_size_and_time_tell(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.pth").write_bytes(b"x")
    (tmp_path / "a.pth").write_bytes(b"x")
    (unit,) = in_store(opened(str(tmp_path)))
    assert unit.path == "a.pth" and not unit.clean
    os.utime(tmp_path / "a.pth", ns=(1, 1))
    assert in_store(opened(str(tmp_path)))[0].identity != unit.identity


# ---------------------------------------------------------------- files beside it


def stored(root: Path, data: bytes) -> Path:
    """Where the repository keeps an object of Git LFS, put there."""
    oid = sha256(data).hexdigest()
    kept = root / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return kept


@pytest.fixture
def several(repository: Path) -> Path:
    """graphs/: a graph with its weights in two files, one in Git LFS, and a third that is not its
    own; shards/: an index with its shards; hub/: a folder with weights in two formats, in LFS."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graphs = repository / "graphs"
    graphs.mkdir()
    node = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in "xy"]
    held = [numpy_helper.from_array(np.ones((4, 4), "float32"), "w"),
            numpy_helper.from_array(np.ones(4, "float32"), "b")]  # fmt: skip
    for tensor, file in zip(held, ("w.bin", "bias.dat"), strict=True):
        onnx.external_data_helper.set_external_data(tensor, location=file)
        (graphs / file).write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    graph = helper.make_graph(node, "g", ports[:1], ports[1:], held)
    onnx.save(helper.make_model(graph), graphs / "net.onnx")
    stored(repository, (graphs / "w.bin").read_bytes())
    (graphs / "w.bin").write_bytes(pointer((graphs / "w.bin").read_bytes()))
    (graphs / "other.bin").write_bytes(pointer(b"nowhere"))
    (graphs / "config.json").write_text("{}")
    shards = repository / "shards"
    shards.mkdir()
    names = ("a-00001-of-00002.safetensors", "elsewhere.safetensors")
    for name in names:
        (shards / name).write_bytes(b"x")
    listed = dict(zip("pqr", (*names, "../models/a.pth"), strict=True))
    (shards / "a.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    hub = repository / "hub"
    hub.mkdir()
    (hub / "config.json").write_text("{}")
    (hub / "model.safetensors").write_bytes(pointer(b"weights"))
    stored(repository, b"weights")
    (hub / "tf_model.h5").write_bytes(pointer(b"not here"))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "several")
    return repository


def under(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.needs_torch
def test_a_file_comes_with_those_that_it_needs(several: Path, tmp_path: Path) -> None:
    there = Repository(several)
    file = there.fetch(GitPath("main", "graphs/net.onnx"), tmp_path / "a")
    assert file == tmp_path / "a" / "graphs" / "net.onnx"
    own = ["bias.dat", "config.json", "net.onnx", "w.bin"]
    assert under(tmp_path / "a") == [f"graphs/{name}" for name in own]
    assert (file.parent / "w.bin").stat().st_size == 64
    there.fetch(GitPath("main", "shards/a.safetensors.index.json"), tmp_path / "b")
    assert len(under(tmp_path / "b")) == 3, "what leads out of the folder is left out"
    there.fetch(GitPath("main", "hub"), tmp_path / "c")
    assert under(tmp_path / "c") == ["hub/config.json", "hub/model.safetensors"]
    assert (tmp_path / "c" / "hub" / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.needs_torch
def test_a_candidate_with_pointers_among_its_files_is_had_whole(
    several: Path, tmp_path: Path
) -> None:
    there = Repository(several)
    for n, model in enumerate(("graphs/net.onnx", "hub")):
        made = there.pointed(several / model, tmp_path / str(n))
        assert made != several / model
        copied = [p for p in (tmp_path / str(n)).rglob("*") if p.is_file()]
        assert copied and not any(map(is_pointer, copied))
    assert "w.bin" in under(tmp_path / "0") and "other.bin" not in under(tmp_path / "0")
    assert is_pointer(several / "graphs" / "w.bin"), "the working tree stays as it is"
    # The graph itself in Git LFS too.
    graph = several / "graphs" / "net.onnx"
    stored(several, graph.read_bytes())
    graph.write_bytes(pointer(graph.read_bytes()))
    there.pointed(graph, tmp_path / "2")
    assert under(tmp_path / "2") == ["bias.dat", "config.json", "net.onnx", "w.bin"]
    assert (tmp_path / "2" / "w.bin").stat().st_size == 64
