"""A folder for copies of models while they are judged; those that killed runs left are removed.

Named with the process that made it, and locked while that lives: the name tells of a process here,
the lock of one in another container with the same /tmp.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_NAME = re.compile(r"interop-gate-([0-9]{1,10})-[a-z0-9_]{8}")


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, gone at the end."""
    with TemporaryDirectory(prefix=f"interop-gate-{os.getpid()}-") as folder:
        lock = _locked(folder)
        try:
            yield Path(folder)
        finally:
            if lock is not None:
                os.close(lock)


def sweep() -> None:
    """Remove this person's folders of processes that are gone; whatever stands in the way stays."""
    if os.name != "posix":  # a signal 0 is no question elsewhere
        return
    with suppress(OSError), os.scandir(gettempdir()) as there:
        for entry in there:
            name = _NAME.fullmatch(entry.name)
            if name and _left(entry, int(name[1])) and (lock := _locked(entry.path)) is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(lock)


def _left(entry: os.DirEntry[str], process: int) -> bool:
    try:
        own = entry.is_dir(follow_symlinks=False)
        if not own or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            return False
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is somebody else's, and lives; or the folder has gone meanwhile
        return False
    return False


def _locked(folder: str) -> int | None:
    """The folder, open and locked until it is closed; None where another has it, or none can."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
