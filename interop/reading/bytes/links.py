"""A file's name inside another file -> may it be followed: does it stay in the model's folder?

Judged twice: by its text, for every system alike, since a file is written on one and read on the
next; and by where links really lead.
"""

from __future__ import annotations

from pathlib import Path

from interop.reading.bytes.address import is_remote


def climbs(location: str) -> bool:
    """Is it no plain way downwards: empty, absolute, an address, a drive, "..", a zero byte?"""
    if is_remote(location) or "\0" in location:
        return True
    parts = location.replace("\\", "/").split("/")
    return not parts[0] or parts[0][1:2] == ":" or ".." in parts


def leads_out(path: Path, beside: Path) -> bool:
    """Does a path lie outside of the folder of the file `beside`, all links resolved?

    Where that file is itself a link, its true neighbours count too: the cache of the Hub keeps all
    of a model's files as links into one folder.
    """
    try:
        real = path.resolve()
        homes = beside.parent.resolve(), beside.resolve().parent
    except (ValueError, OSError, RuntimeError):  # a zero byte, a loop of links
        return True
    return homes[0] not in real.parents and homes[1] != real.parent
