"""The gate and the parts of a folder: from git and Git LFS, beside a file, and in evidence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer, Report
from interop.gate.candidate import ModelPath, judge
from interop.gate.evidence import is_of
from interop.gate.repository.git import GitPath, Repository
from interop.policy.policy import Policy
from tests.gate.test_git import pointer, stored
from tests.helpers.git import git


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    torch.manual_seed(0)
    weights = {"fc.weight": torch.randn(2, 4), "fc.bias": torch.randn(2)}
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text(json.dumps({"labels": ["a", "b"]}))
    tokenizer = {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}}}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "2_Dense").mkdir()
    save_file({"w": torch.ones(4)}, path / "2_Dense" / "model.safetensors")
    (path / "2_Dense" / "config.json").write_text("{}")
    return path


def gate(candidate: Path, baseline: Path, name: str = "") -> Report:
    return judge(ModelPath(str(candidate)), ModelPath(str(baseline), name), Policy())


@pytest.mark.parametrize("large", ["tokenizer.json", "2_Dense/model.safetensors"])
def test_parts_in_git_lfs_are_fetched_and_compared(large: str, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    model = folder(root / "m")
    raw = (model / large).read_bytes()
    git(root, "init", "-q", "-b", "main")
    (model / large).write_bytes(pointer(raw))
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "model")
    stored(root, raw)
    (model / large).write_bytes(raw)
    there = Repository(root).fetch(GitPath("main", "m"), tmp_path / "baseline")
    same = gate(model, there)
    assert same.outcome is Answer.YES and "unchanged" in same.summary
    (model / large).write_bytes(
        raw.replace(b'"b": 1', b'"c": 1')[:-1] + raw[-1:].replace(b"?", b"@")
    )
    assert gate(model, there).exit_code != 0
    # The candidate may be a pointer as well, where nothing was pulled.
    (model / large).write_bytes(pointer(raw))
    here = Repository(root).pointed(model, tmp_path / "candidate")
    assert sha256((here / large).read_bytes()).digest() == sha256(raw).digest()
    assert "unchanged" in gate(here, there).summary


def test_a_file_is_judged_with_the_tokenizer_beside_it(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b")
    name = "model.safetensors"
    assert "unchanged" in gate(b / name, a / name).summary
    (b / "tokenizer.json").write_text((a / "tokenizer.json").read_text().replace('"b"', '"c"'))
    report = gate(b / name, a / name)
    assert report.outcome is Answer.NO and report.summary.startswith("tokenizer-changed")
    # What a single file is served with is in no file.
    (b / "tokenizer.json").unlink()
    assert gate(b / name, a / name).exit_code == 3


def test_evidence_of_a_folder_is_of_its_parts_too(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b")
    before = check(a, b, CheckOptions(content_hash=True))
    bench = replace(before, command="bench")
    assert is_of(bench, before)
    (b / "tokenizer.json").write_text((a / "tokenizer.json").read_text().replace('"b"', '"c"'))
    after = check(a, b, CheckOptions(content_hash=True))
    assert not is_of(bench, after)
    shutil.copy(a / "tokenizer.json", b / "tokenizer.json")
    assert is_of(bench, check(a, b, CheckOptions(content_hash=True)))
    # A report of an earlier release does not tell, and counts by the weights.
    facts = [replace(i, facts={k: v for k, v in i.facts.items() if "parts" not in k})
             for i in bench.inputs]  # fmt: skip
    assert is_of(replace(bench, inputs=tuple(facts)), after)
