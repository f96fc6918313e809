"""Tests that install packages run where they are asked for: `make test-install`."""

from __future__ import annotations

import os


def asked_for() -> bool:
    return os.environ.get("INTEROP_INSTALL") == "1"
