"""A folder made in a hidden sibling and renamed into place: the bundle is whole, or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from interop.errors import InteropError

RECEIPT = "interop.json"
_MARK = ".interop-"


def check_target(target: Path, force: bool) -> None:
    """InteropError where something stands at `target` that must not be replaced.

    With `force` a bundle may be, and nothing else: a folder without a receipt is somebody's own.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / RECEIPT).is_file():
        raise InteropError(
            "exists and is no bundle, and --force replaces nothing else",
            where=str(target),
            fix="give another name with -o",
        )
    if not force:
        raise InteropError(
            "a bundle is there already",
            where=str(target),
            fix="replace it with --force, or give another name with -o",
        )


class Staging:
    """A folder next to `target` that becomes it with `commit`, and else vanishes.

    Killed runs cannot clean up; what they left is removed by the next export to the same name.
    """

    def __init__(self, target: Path, force: bool) -> None:
        self.target, self.force = target, force
        self.folder = self._beside("new")

    def __enter__(self) -> Self:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self.folder.mkdir()
        except OSError as error:
            raise InteropError(
                f"cannot be written ({error.strerror})",
                where=str(self.target.parent),
                fix="give another place with -o",
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def commit(self) -> None:
        """Puts the folder in the target's place; an older bundle goes only once it is there."""
        check_target(self.target, self.force)
        old = self._beside("old")
        replaced = self.target.exists()
        if replaced:
            self.target.rename(old)
        try:
            self.folder.rename(self.target)
        except OSError:
            if replaced:
                old.rename(self.target)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _beside(self, what: str, process: int | None = None) -> Path:
        name = f"{_MARK}{self.target.name}.{process or os.getpid()}.{what}"
        return self.target.parent / name

    def _sweep(self) -> None:
        for left in self.target.parent.glob(f"{_MARK}{self.target.name}.*.*"):
            *_, process, what = left.name.rsplit(".", 2)
            if not process.isdecimal() or _alive(int(process)):
                continue
            if what == "old" and not self.target.exists():
                left.rename(self.target)  # killed between the two renames: the older one returns
            else:
                shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    if process == os.getpid() or sys.platform == "win32":
        return process != os.getpid()
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
