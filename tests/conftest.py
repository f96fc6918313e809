"""What the tests share: the committed checkpoints, the derived fixtures, and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import commands
from tests.helpers.commands import ROOT, Run

DIGITS = ROOT / "fixtures" / "digits"


@pytest.fixture(scope="session")
def digits() -> Path:
    """The committed checkpoints and held-back pictures."""
    return DIGITS


@pytest.fixture(scope="session")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make fixtures` derives, made anew, but for mobilenet.pth, which no test needs."""
    from fixtures.make import derive

    out = tmp_path_factory.mktemp("derived")
    derive(out, trained=False)
    return out


@pytest.fixture(scope="session")
def interop() -> Run:
    """Runs `interop` with arguments: exit code, stdout and stderr as a user gets them."""
    return commands.here


@pytest.fixture(scope="session")
def interop_alone() -> Run:
    """The same in a process of its own, for what a process that has just begun would say."""
    return commands.alone
