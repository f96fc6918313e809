"""A checkpoint -> the same weights under another library's names, or another file's; proved.

Every tensor of the target is filled and every one of the source used, or nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.port.options import PortOptions

if TYPE_CHECKING:
    from interop.port.pipeline import port

__all__ = ["PortOptions", "port"]


def __getattr__(name: str) -> Any:
    """Options are had without torch; what runs is imported when it is asked for."""
    if name != "port":
        raise AttributeError(name)
    from interop.port.pipeline import port

    return port
