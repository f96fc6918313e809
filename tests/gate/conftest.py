"""A change that passes, for the tests of what may be held against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.check import check
from interop.facts import Report


@pytest.fixture(scope="session")
def good(digits: Path, derived: Path) -> Report:
    """What `check` says of the served model and a retrained one."""
    return check(digits / "shufflenet.pth", derived / "retrained.pth", content_hash=True)
