"""What was judged before -> its Report, as long as neither file, policy nor tool has changed.

One small file an entry, written beside and renamed into place: a run that is killed leaves none
half-written, and two at once overwrite one another with the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

import interop
from interop import __version__
from interop.errors import ConfigError
from interop.facts import Json
from interop.files import write_whole
from interop.reading.bytes import json_text

PACKAGE = Path(interop.__file__).parent
_JUDGING = (
    "facts", "errors.py", "reading", "identity", "check", "rules", "policy", "gate",
)  # fmt: skip


def default_folder() -> Path:
    """$XDG_CACHE_HOME/interop, or ~/.cache/interop."""
    given = os.environ.get("XDG_CACHE_HOME")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
    return base / "interop"


class Cache:
    """Entries below a folder. With `must`, one that cannot be written is an error (ConfigError);
    else the cache is left alone from then on, and `fault` says why."""

    def __init__(self, folder: Path, *, must: bool = False) -> None:
        self.folder = folder / "gate"
        self.must = must
        self.fault = ""

    def get(self, key: str) -> dict[str, Json] | None:
        """What was stored; None where nothing was, or it cannot be read."""
        try:
            document = json_text.loads(self._path(key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def put(self, key: str, value: Mapping[str, Json]) -> None:
        """Store a JSON value, whole or not at all."""
        if self.fault:
            return
        try:
            write_whole(self._path(key), json.dumps(value))
        except ConfigError as error:
            self.fault = f"{self.folder}: {error.what}"
            if self.must:
                fix = "give another --cache, or --no-cache"
                raise ConfigError(error.what, where=str(self.folder), fix=fix) from None

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def key(*parts: object) -> str:
    """One name for all that an answer depends on; the tool's own code is always in it."""
    return sha256(repr((__version__, _code(PACKAGE), *parts)).encode()).hexdigest()


@cache
def _code(package: Path) -> str:
    """A hash of what the parts that judge lie in, by size and time of change: an install that is
    edited in place keeps its version."""
    stamps = []
    for name in _JUDGING:
        part = package / name
        files = part.rglob("*") if part.is_dir() else (part,)
        for file in files:
            if "__pycache__" not in file.parts and file.is_file():
                state = file.stat()
                place = file.relative_to(package).as_posix()
                stamps.append((place, state.st_size, state.st_mtime_ns))
    return sha256(repr(sorted(stamps)).encode()).hexdigest()
