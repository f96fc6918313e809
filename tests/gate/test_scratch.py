"""The gate's scratch folders: gone at the end, and those of killed runs at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from interop.gate import scratch as module
from interop.gate.scratch import scratch, sweep
from tests.conftest import ROOT

HOLD = """
import sys
from interop.gate.scratch import scratch
with scratch() as folder:
    (folder / "copy").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def holder() -> tuple[subprocess.Popen[str], Path]:
    pipe = subprocess.PIPE
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=pipe, stdout=pipe, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert other.stdout is not None
    return other, Path(other.stdout.readline().strip())


def test_what_a_killed_process_left_goes_and_what_lives_stays(temporary: Path) -> None:
    killed, left = holder()
    alive, held = holder()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left / "copy").exists(), "a kill leaves it"
    somebodys = temporary / "interop-gate-results"
    somebodys.mkdir()
    with scratch() as own:
        sweep()
        assert own.is_dir() and held.is_dir() and somebodys.is_dir()
    assert not left.exists() and not own.exists()
    alive.communicate("")
    assert not held.exists()


def test_a_process_of_another_container_is_told_by_its_lock(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, held = holder()

    def gone(process: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    sweep()
    assert held.is_dir()
    alive.communicate("")


def test_what_is_another_persons_or_a_link_stays(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    precious = temporary / "precious"
    precious.mkdir()
    link = temporary / f"interop-gate-{dead.pid}-aaaaaaaa"
    link.symlink_to(precious)
    folder = temporary / f"interop-gate-{dead.pid}-bbbbbbbb"
    folder.mkdir()
    monkeypatch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
    sweep()
    assert folder.is_dir() and link.is_symlink()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    sweep()
    assert not folder.exists() and link.is_symlink() and precious.is_dir()
