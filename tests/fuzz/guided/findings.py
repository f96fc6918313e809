"""A run of one input -> nothing, or a file of its own in the folder of findings."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.guided.target import Finding, Target

SEPARATOR = "@"


def failure(run: Callable[[bytes], None], data: bytes) -> tuple[str, str] | None:
    """A short sign of what is wrong, and all about it; None where nothing is."""
    try:
        run(data)
    except Finding as finding:
        return finding.sign, str(finding)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/interop/" in f.filename] or frames
        place = f"{Path(own[-1].filename).stem}-{own[-1].name}-{own[-1].lineno}"
        return f"{type(error).__name__}-{place}", "".join(traceback.format_exception(error))
    return None


def path_of(folder: Path, target: Target, sign: str) -> Path:
    """Where the input is kept that shows this failure of the target."""
    return folder / f"{target.name}{SEPARATOR}{re.sub(r'[^A-Za-z0-9_.-]+', '-', sign)[:100]}"


def keep(folder: Path, target: Target, sign: str, data: bytes) -> bool:
    """Write the input down, the smallest of those that fail alike. True for a new failure."""
    path = path_of(folder, target, sign)
    new = not path.exists()
    if new or path.stat().st_size > len(data):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return new


def replay_line(path: Path) -> str:
    """The command that runs a kept input again."""
    return f"python -m tests.fuzz.guided --replay {path}"
