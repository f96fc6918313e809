"""What the tests share: the committed checkpoints, the derived fixtures, and the command line."""

from __future__ import annotations

import gc
import tarfile
from pathlib import Path

import pytest

from tests.helpers import commands, installing, light
from tests.helpers.commands import ROOT, Run

DIGITS = ROOT / "fixtures" / "digits"


# Fixtures that torch makes: what takes one is left out where torch is not installed.
MADE_BY_TORCH = {"derived", "kinds"}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """A test module that imports what is not installed, or a room whose conftest does; in the full
    environment there is none."""
    file = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if file.suffix == ".py" and file.is_file() and light.missing(file):
        return True
    return None


def pytest_collection_finish() -> None:
    """What the imports made stays: looking through it for garbage again and again takes a tenth of
    the time of tests that make many small objects, as exports do."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The whole ways through, which take longest, come first: no worker ends on one of them alone.
    items.sort(key=lambda item: item.path.parent != ROOT / "tests")
    left_out = [item for item in items if _left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _left_out(item: pytest.Item) -> bool:
    if item.get_closest_marker("installs"):
        return not installing.asked_for()
    takes = set(getattr(item, "fixturenames", ()))
    needs_torch = item.get_closest_marker("needs_torch") or takes & MADE_BY_TORCH
    return bool(needs_torch) and not light.full()


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


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole modules that older libraries pickled (fixtures/older.py)."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(DIGITS.parent / "older.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder
