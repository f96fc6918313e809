"""Where a bundle goes: what may be replaced there."""

from __future__ import annotations

from pathlib import Path

from interop.errors import InteropError

RECEIPT = "interop.json"


def check_target(target: Path, force: bool) -> None:
    """InteropError where something stands at `target` that must not be replaced.

    With `force` a bundle may be, and nothing else: a folder without a receipt is somebody's own.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / RECEIPT).is_file():
        what = "exists and is no bundle, and --force replaces nothing else"
        raise InteropError(what, where=str(target), fix="give another name with -o")
    if not force:
        fix = "replace it with --force, or give another name with -o"
        raise InteropError("a bundle is there already", where=str(target), fix=fix)
