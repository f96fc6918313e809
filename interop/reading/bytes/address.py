"""Where a model lies, how that is shown, and the three ways in which what lies there is refused.

Every reader refuses in this one voice.
"""

from __future__ import annotations

from collections.abc import Callable

from interop.errors import ReadError
from interop.patterns import lazy


def unrecognised(path: str, what: str, fix: str) -> ReadError:
    """The file is no model, or none of a kind that is read."""
    return ReadError(what, where=path, fix=fix, rule="file-unrecognised")


def truncated(path: str, what: str, fix: str = "") -> ReadError:
    """The file promises bytes that it does not hold."""
    fix = fix or "fetch or save the file again and compare its size with the original's"
    return ReadError(what, where=path, fix=fix, rule="file-truncated")


def over_limit(path: str, what: str) -> ReadError:
    """The file asks for more than any model of its size should."""
    fix = "do not load it unless you trust its author; ask for the weights alone, as safetensors"
    return ReadError(what, where=path, fix=fix, rule="pickle-over-limit")


# Told, in a line, how far a file that lies elsewhere is fetched; the command line shows it.
progress: Callable[[str], object] = str  # which does nothing with it


_ADDRESS = lazy(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_remote(path: str) -> bool:
    """Is it an address, to be fetched, and no path of this machine?"""
    return "://" in path and _ADDRESS.match(path) is not None


def shown(path: str) -> str:
    """A path or address as it may stand in a report: an address without its password and query,
    which are often the key to it."""
    if not is_remote(path):
        return path
    scheme, _, rest = path.partition("?")[0].partition("://")
    host, slash, file = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{file}"
