"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from interop.errors import ConfigError

_MARK = ".interop-"


class Staging:
    """A place in a hidden folder beside `target` that becomes it with `commit`, and else vanishes.

    It has the target's own name, which torch writes into its files. Killed runs cannot clean up;
    what they left is removed by the next run to the same target. Raises ConfigError, with `fix`,
    where nothing can be written.
    """

    def __init__(self, target: Path, fix: str = "choose another place", *, folder: bool = False):
        self.target = target.resolve()  # a link stays a link
        self._fix, self._is_folder = fix, folder
        self._beside = self.target.with_name(f"{_MARK}{self.target.name}.{os.getpid()}")
        self.path = self._beside / self.target.name

    def __enter__(self) -> Self:
        with self.refusals():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._beside.mkdir()
            if self._is_folder:
                self.path.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._beside, ignore_errors=True)
        if isinstance(error, OSError):
            raise self._refused(error) from None

    def commit(self) -> None:
        """Puts it in the target's place; an older folder goes only once the new one is there."""
        with self.refusals():
            if not self.target.is_dir():
                self.path.replace(self.target)
                return
            old = self._beside / "old"
            self.target.rename(old)
            try:
                self.path.rename(self.target)
            except OSError:
                old.rename(self.target)
                raise

    def _sweep(self) -> None:
        for left in self.target.parent.glob(f"{_MARK}*"):
            name, _, process = left.name.removeprefix(_MARK).rpartition(".")
            if name != self.target.name or not process.isdecimal() or _alive(int(process)):
                continue
            if (left / "old").exists() and not self.target.exists():
                (left / "old").rename(self.target)  # killed between the two renames
            shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def refusals(self) -> Iterator[None]:
        """What the system refuses, as a ConfigError."""
        try:
            yield
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> ConfigError:
        what = f"cannot be written ({error.strerror})"
        return ConfigError(what, where=str(self.target), fix=self._fix)


@contextlib.contextmanager
def placed(
    target: Path, fix: str = "choose another place", *, folder: bool = False
) -> Iterator[Path]:
    """Where to write what is `target` at the end of the block; nothing where the block fails."""
    with Staging(target, fix, folder=folder) as staging:
        yield staging.path
        staging.commit()


def write_whole(path: Path, text: str) -> None:
    """Write a whole text or nothing. Raises ConfigError."""
    staging = Staging(path)
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        with staging.refusals():
            path.write_text(text, "utf-8", newline="\n")
        return
    with staging:
        staging.path.write_text(text, "utf-8", newline="\n")
        staging.commit()


def _alive(process: int) -> bool:
    if process == os.getpid() or sys.platform == "win32":
        return process != os.getpid()
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
