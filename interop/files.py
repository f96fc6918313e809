"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from interop.errors import ConfigError


def write_whole(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a temporary sibling, then renamed into place."""
    path = path.resolve()  # a link stays a link
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_text(text, "utf-8", newline="\n")
            return
        part.write_text(text, "utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # a read-only folder refuses this too
            part.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot be written ({error.strerror})", where=str(path), fix="choose another place"
        ) from None
