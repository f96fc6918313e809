"""The plugin as a team uses it: in a pytest of its own, found by its entry point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_the_same(interop):
    interop.assert_replaceable("{good}", "{good}")
    interop.assert_reloadable("{good}", "{good}")
    interop.assert_transferable("{good}", "{good}")

def test_another_head(interop):
    interop.assert_replaceable("{good}", "{other}")

def test_unknown(interop):
    interop.assert_replaceable("{plain}", "{plain}")

@pytest.mark.interop(
    labels=["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
    preprocess={{"resize": [64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}},
)
def test_stated(interop):
    interop.assert_replaceable("{plain}", "{plain}")

@pytest.mark.interop(lables=["a"])
def test_misspelt(interop):
    pass

def test_missing(interop):
    interop.assert_reloadable("{good}", "nowhere.pth")

def test_not_a_number(interop):
    interop.assert_replaceable("{good}", "{nan}")

def test_without():
    pass
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, digits: Path, derived: Path) -> str:
    folder = tmp_path_factory.mktemp("team")
    good, other, plain = digits / "shufflenet.pth", digits / "base.pth", derived / "plain.pth"
    (folder / "test_models.py").write_text(
        TESTS.format(good=good, other=other, plain=plain, nan=derived / "nan.pth")
    )
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "-m",
        "interop",
        "-p",
        "no:cacheprovider",
    ]
    # Where the package is not installed with its entry points, the plugin is named.
    command += ["-p", "interop.pytest_plugin"] if not _installed() else []
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    ).stdout


def _installed() -> bool:
    from importlib.metadata import entry_points

    return any(e.value == "interop.pytest_plugin" for e in entry_points(group="pytest11"))


def test_what_holds_passes_and_what_does_not_says_why(ran: str) -> None:
    assert "PASSED test_models.py::test_the_same" in ran
    assert "FAILED test_models.py::test_another_head" in ran
    assert "label-count-mismatch" in ran
    assert "Traceback" not in ran


def test_what_is_not_known_fails_until_the_marker_states_it(ran: str) -> None:
    assert "FAILED test_models.py::test_unknown" in ran
    assert "replace: unknown" in ran
    assert "PASSED test_models.py::test_stated" in ran


def test_values_are_read(ran: str) -> None:
    assert "FAILED test_models.py::test_not_a_number" in ran and "tensor-not-finite" in ran


def test_a_misspelt_fact_and_a_missing_file_are_said(ran: str) -> None:
    assert (
        "the interop marker takes arch, labels, preprocess, levels, values by name, not lables"
        in ran
    )
    assert "nowhere.pth" in ran and "FAILED test_models.py::test_missing" in ran


def test_the_marker_selects_what_takes_the_fixture(ran: str) -> None:
    assert "test_without" not in ran and "1 deselected" in ran
