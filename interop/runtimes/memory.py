"""Memory that was freed -> the system's again, where the C library would keep it."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def give_back() -> None:
    """glibc keeps what is freed, and one model's worth piles up on the next; elsewhere, nothing."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
