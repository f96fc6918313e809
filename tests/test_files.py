"""Whatever is written is there whole, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interop.errors import ConfigError
from interop.files import Staging, placed, write_whole


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_and_a_folder_come_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "ü\n")
    assert (tmp_path / "a.txt").read_bytes() == "ü\n".encode()
    for text in ("old", "new"):
        with placed(tmp_path / "deep" / "b", folder=True) as part:
            assert part.name == "b" and not (tmp_path / "deep" / "b" / text).exists()
            (part / text).write_text(text)
    assert names(tmp_path) == ["a.txt", "deep"] and names(tmp_path / "deep") == ["b"]
    assert names(tmp_path / "deep" / "b") == ["new"], "the older one is replaced, not added to"


def test_what_fails_or_is_not_committed_leaves_what_was_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), placed(tmp_path / "a") as part:
        part.write_text("half")
        _ = 1 / 0
    with Staging(tmp_path / "a") as staging:
        staging.path.write_text("not wanted")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_link_stays_a_link_and_a_device_is_written_to(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    (tmp_path / "link").symlink_to("a")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a").read_text() == "new"
    write_whole(Path(os.devnull), "nothing")
    assert not Path(os.devnull).is_file()
    with pytest.raises(ConfigError, match="No space left"):
        write_whole(Path("/dev/full"), "nothing")


def test_where_nothing_can_be_written_the_error_says_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match=r"cannot be written .*; give another -o"),
        placed(tmp_path / "file" / "out", "give another -o"),
    ):
        pass
    with pytest.raises(ConfigError, match="cannot be written"), placed(tmp_path / "out") as part:
        part.mkdir()
        part.write_text("a folder is no file")
    assert names(tmp_path) == ["file"]


def test_what_a_killed_run_left_is_removed_and_an_older_folder_returns(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f".interop-out.{gone.pid}"
    (left / "old").mkdir(parents=True)
    (left / "old" / "model").write_text("older")
    mine = tmp_path / f".interop-out.{os.getppid()}"
    mine.mkdir()
    others = tmp_path / f".interop-out.v2.{gone.pid}"
    (others / "old").mkdir(parents=True)
    with Staging(tmp_path / "out", folder=True):
        assert (tmp_path / "out" / "model").read_text() == "older"
    kept = sorted([mine.name, others.name, "out"])
    assert names(tmp_path) == kept, "what a living run has, or one to another target, is left alone"
