"""A package's name -> a folder with it in `node_modules`, installed once and kept.

Nothing is installed but where it is asked for: `make test-install`, or INTEROP_INSTALL=1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.helpers.installing import asked_for


def installed(package: str, version: str) -> Path:
    """The folder; the test is skipped where the package is not here and none is to be installed,
    or where npm is not here or reaches nothing."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed here")
    name = package.replace("/", "-").lstrip("@")
    folder = Path(tempfile.gettempdir()) / f"interop-{os.getuid()}-{name}"
    if folder.exists():
        return folder
    if not asked_for():
        pytest.skip(f"{package} is not installed here: make test-install")
    with tempfile.TemporaryDirectory(prefix=f"interop-{name}-") as place:
        made = Path(place) / "made"
        made.mkdir()
        (made / "package.json").write_text('{"private": true}')
        # Their scripts would fetch what no test needs (CUDA libraries).
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            ["npm", "install", *quiet, f"{package}@{version}"],
            cwd=made,
            capture_output=True,
            text=True,
            check=False,
        )
        if any(sign in done.stderr for sign in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED")):
            pytest.skip("npm reaches no registry from here")
        assert not done.returncode, done.stderr
        with contextlib.suppress(OSError):  # another process was there first
            made.rename(folder)
    return folder
