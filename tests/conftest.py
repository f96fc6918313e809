"""What the tests share: the derived fixtures, and the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "fixtures" / "digits"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def digits() -> Path:
    """The committed checkpoints and held-back pictures."""
    return DIGITS


@pytest.fixture(scope="session")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make fixtures` derives, made anew."""
    from fixtures.make import derive

    out = tmp_path_factory.mktemp("derived")
    derive(out)
    return out


@pytest.fixture(scope="session")
def interop() -> Run:
    """Runs `interop` with arguments: exit code, stdout and stderr as a user gets them."""

    def run(*args: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        return subprocess.run(
            [sys.executable, "-m", "interop", *map(str, args)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
            check=False,
        )

    return run
