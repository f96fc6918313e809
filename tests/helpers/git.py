"""A git repository as somebody works in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

WHO = ("-c", "user.name=test", "-c", "user.email=test@example.invalid",
       "-c", "commit.gpgsign=false")  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(
        ["git", *WHO, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout
