"""A change that passes, for the tests of what may be held against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.check import CheckOptions, check
from interop.facts import Report


@pytest.fixture(scope="session")
def good(digits: Path, derived: Path) -> Report:
    """What `check` says of the served model and a retrained one."""
    options = CheckOptions(content_hash=True)
    return check(digits / "shufflenet.pth", derived / "retrained.pth", options)
