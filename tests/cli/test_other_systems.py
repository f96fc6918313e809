"""What Windows and macOS lack: each is blocked here, or stood in for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from interop.gate import scratch
from interop.reading.formats import hdf5
from interop.runtimes import child

NAMES = ("层.weight", "头😀.bias", "é.weight")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "interop", *arguments],
        env={**os.environ, "PYTHONUTF8": "0", **environment}, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """Two files, of which the second lacks what the first has by names beyond Latin letters."""
    paths = []
    for i, names in enumerate((NAMES, ("a.weight",))):
        path = tmp_path / f"{i}.pth"
        torch.save({n: torch.zeros(2, 2) for n in names}, path)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "gbk"])
def test_a_standard_output_that_cannot_encode_a_name_escapes_it(
    encoding: str, pair: list[str]
) -> None:
    for form in ("text", "json", "sarif", "junit", "markdown", "github"):
        done = run("check", *pair, "--format", form, PYTHONIOENCODING=encoding)
        assert done.returncode == 1, done.stderr
        assert b"Traceback" not in done.stderr
        if form in ("json", "sarif"):
            json.loads(done.stdout.decode("ascii"))
        elif form == "junit":
            ElementTree.fromstring(done.stdout.decode("ascii"))
    report = json.loads(run("check", *pair, "--format", "json", PYTHONIOENCODING=encoding).stdout)
    assert NAMES[0] in json.dumps(report, ensure_ascii=False)
    whole = run("check", *pair, PYTHONIOENCODING="utf-8").stdout.decode()
    assert NAMES[0] in whole and "\\u5c42" not in whole


@pytest.mark.parametrize("module", ["resource", "fcntl"])
def test_what_is_unix_alone_is_done_without(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(Path, "exists", lambda self: False)  # no /proc either
    if module == "resource":
        assert child._peak_memory() is None
        hdf5._limit(1, 1)  # sets no limit on this process, or the test would end here
    else:
        assert scratch._locked(str(tmp_path)) is None


def test_texts_end_their_lines_alike_on_every_system() -> None:
    """A receipt holds the hashes of what was written: "\\r\\n" would be other bytes."""
    root = Path(child.__file__).parents[1]
    for path in root.rglob("*.py"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert "write_text(" not in line or "newline=" in line, f"{path}:{number}"
