"""A store becomes one table: what rows hold, what becomes of bad files and of killed runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from interop.errors import ConfigError, ExtraMissing
from interop.facts import Report
from interop.report import FORMATS, render
from interop.report.json import from_json, to_json
from interop.sweep import SweepOptions, rows, sweep
from interop.sweep.journal import Journal
from interop.sweep.rows import COLUMNS
from tests.helpers.commands import ROOT, refused
from tests.sweep.conftest import Make, safetensors


def swept(root: Path, out: Path, **how: Any) -> tuple[Report, list[dict[str, Any]]]:
    report = sweep(str(root), None, SweepOptions(out=out, **{"jobs": 1, **how}))
    return report, [json.loads(line) for line in out.read_text().splitlines()]


def test_a_row_says_what_inspect_says(digits: Path, tmp_path: Path) -> None:
    report, found = swept(digits, tmp_path / "out.jsonl")
    assert report.exit_code == 0 and report.summary == "4 models: 4 ok"
    assert [row["address"] for row in found] == sorted(str(p) for p in digits.glob("*.pth"))
    assert all(list(row) == list(COLUMNS) for row in found)
    row = next(r for r in found if r["address"].endswith("shufflenet.pth"))
    assert row["outcome"] == "ok" and row["container"] == "torch-zip"
    assert row["architecture"] == "torchvision/shufflenet_v2_x0_5"
    assert row["head"] == "head fc 1024 -> 10" and row["outputs"] == row["labels"] == 10
    assert row["parameters"] == 359_994 and row["tensors"] == 338 and row["dtypes"] == ["float32"]
    assert row["bytes"] == (digits / "shufflenet.pth").stat().st_size
    assert len(row["header_sha256"]) == 64 and row["error"] is None
    assert not list(tmp_path.glob("*.journal*")), "the journal goes when the table is there"


@pytest.mark.parametrize("jobs", [1, 2])
def test_parquet_and_lines_hold_the_same_rows(make: Make, tmp_path: Path, jobs: int) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    root = make(90)
    (root / "00" / "broken.safetensors").write_bytes(b"\xff" * 64)
    _, found = swept(root, tmp_path / "out.jsonl", jobs=jobs)
    sweep(str(root), None, SweepOptions(out=tmp_path / "out.parquet", jobs=jobs))
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == found
    assert [r["address"] for r in found] == sorted(r["address"] for r in found)


def test_what_cannot_be_read_is_a_row_and_ends_nothing(make: Make, tmp_path: Path) -> None:
    root = make(40)
    (root / "a.pth").write_bytes(b"")
    (root / "evil.pkl").write_bytes(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.")
    (root / "page.safetensors").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    (root / "table.npz").write_text("no model at all")
    (root / "gone.pth").symlink_to(tmp_path / "nowhere.pth")
    report, found = swept(root, tmp_path / "out.jsonl")
    odd = {Path(r["address"]).name: r for r in found if r["outcome"] != "ok"}
    assert {name: r["outcome"] for name, r in odd.items()} == {
        "a.pth": "unreadable", "evil.pkl": "faulty", "page.safetensors": "unreadable",
        "table.npz": "no model", "gone.pth": "unreadable",
    }  # fmt: skip
    assert "the file is empty" in odd["a.pth"]["error"]
    assert odd["a.pth"]["error_rule"] == "file-truncated"
    (finding,) = [f for f in odd["evil.pkl"]["findings"] if f["level"] == "error"]
    assert finding["rule"] == "pickle-unsafe-global"
    assert report.exit_code == 1
    assert report.summary == "45 models: 40 ok, 1 faulty, 3 unreadable, 1 no model"
    assert [f.place for f in report.findings] == [
        str(root / n) for n in ("evil.pkl", "a.pth", "gone.pth", "page.safetensors")
    ]


def test_a_fault_of_ours_is_a_row(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(rows, "identify", fails)
    report, found = swept(make(3), tmp_path / "out.jsonl")
    assert {r["error"] for r in found} == {"a fault of interop's own: KeyError: 'x'"}
    assert report.exit_code == 1


def test_every_format_shows_a_sweep(make: Make, tmp_path: Path) -> None:
    root = make(30)
    for n in range(80):
        (root / f"bad{n}.pth").write_bytes(b"")
    report, _ = swept(root, tmp_path / "out.jsonl")
    assert from_json(to_json(report)).details == report.details
    assert report.details.unlisted == 30 and len(report.findings) == 50
    texts = {form: render(report, form) for form in FORMATS}
    assert all("bad0.pth" in text for text in texts.values())
    assert all(len(line) <= 80 for line in texts["text"].splitlines() if str(tmp_path) not in line)
    assert "30 more models with a fault" in " ".join(texts["text"].split())
    assert "| unreadable | 80 |" in texts["markdown"]


# ---------------------------------------------------------------- interrupted runs

KILLED = """
import os, signal, sys
from pathlib import Path
from interop.sweep import SweepOptions, sweep

def say(line):
    if line.startswith("64 of"):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    out = Path(sys.argv[2])
    sweep(sys.argv[1], None, SweepOptions(out=out, jobs=1), progress=say)
"""


def kill_one(root: Path, out: Path) -> None:
    """Have a sweep killed for real when two batches are done."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(root), str(out)], check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not out.exists() and out.with_name(f"{out.name}.journal").exists()


def read_paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are read from now on."""
    names: list[str] = []
    real = rows.read

    def noting(path: str) -> Any:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(rows, "read", noting)
    return names


def test_a_killed_sweep_reads_the_rest_and_what_has_changed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = make(200), tmp_path / "out.jsonl"
    kill_one(root, out)
    (root / "00" / "m0003.safetensors").write_bytes(safetensors(50))  # it changed meanwhile
    (root / "00" / "m0004.safetensors").unlink()
    names = read_paths(monkeypatch)
    report, found = swept(root, out)
    assert len(names) == 200 - 64 + 1 and "m0003.safetensors" in names
    assert report.details.kept == 62 and report.summary == "199 models: 199 ok"
    assert len(found) == 199 == len({r["address"] for r in found})
    changed = next(r for r in found if r["address"].endswith("m0003.safetensors"))
    assert changed["parameters"] == 50 * 9
    whole, again = swept(root, tmp_path / "again.jsonl")
    assert again == found and whole.details.kept == 0
    assert not list(tmp_path.glob("*.journal*"))


def test_a_journal_of_other_facts_is_begun_anew_and_one_of_another_store_is_refused(
    make: Make, tmp_path: Path, digits: Path
) -> None:
    from interop.check import InspectOptions

    root, out = make(200), tmp_path / "out.jsonl"
    kill_one(root, out)
    with pytest.raises(ConfigError, match=r"rows of another sweep, of .*store"):
        swept(digits, out)
    report = sweep(str(root), InspectOptions(arch="mine"), SweepOptions(out=out, jobs=1))
    assert report.details.kept == 0


def test_two_sweeps_do_not_write_one_journal(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with (
        Journal(out, str(make(1)), "key"),
        pytest.raises(ConfigError, match="another sweep writes it"),
    ):
        swept(tmp_path / "store", out)
    (tmp_path / "b.jsonl.journal").write_text("something else, and longer than a header of SQLite")
    with pytest.raises(ConfigError, match="not the journal of a sweep"):
        swept(tmp_path / "store", tmp_path / "b.jsonl")


def test_names_that_are_no_utf8_have_rows(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    name = os.fsdecode(b"\xff.safetensors")
    try:
        (root / name).write_bytes(safetensors())
    except OSError:
        pytest.skip("this file system takes no such name")
    report, (row,) = swept(root, tmp_path / "out.jsonl")
    assert row["address"] == str(root / name) and report.exit_code == 0
    parquet = pytest.importorskip("pyarrow.parquet")
    sweep(str(root), None, SweepOptions(out=tmp_path / "out.parquet", jobs=1))
    (row,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["address"].endswith("\\udcff.safetensors")


# ---------------------------------------------------------------- memory


def test_rows_are_not_held_in_memory(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is alive at the end of a sweep of 300 is a few batches of rows."""
    import gc
    import weakref

    class Row(dict):  # type: ignore[type-arg]
        pass

    seen: list[weakref.ref[Row]] = []
    most = 0
    real = rows.row

    def counted(*given: Any) -> Row:
        nonlocal most
        made = Row(real(*given) or {})
        seen.append(weakref.ref(made))
        most = max(most, sum(one() is not None for one in seen))
        return made

    monkeypatch.setattr(rows, "row", counted)
    swept(make(300), tmp_path / "out.jsonl")
    gc.collect()
    assert len(seen) == 300 and most <= 2 * 32


# ---------------------------------------------------------------- the command


def test_the_command_writes_a_table_and_says_what_is_in_it(
    interop: Any, make: Make, tmp_path: Path
) -> None:
    root = make(5)
    done = interop("inspect", "--all", root, "--out", tmp_path / "o.jsonl", "--jobs", 1)
    assert done.returncode == 0, done.stderr
    assert ["ok", "5"] in [line.split() for line in done.stdout.splitlines()]
    assert done.stderr == "interop inspect: yes; 5 models: 5 ok\n"
    (root / "bad.pth").write_bytes(b"")
    done = interop("inspect", "--all", root, "--out", tmp_path / "o.jsonl", "--format", "json")
    assert done.returncode == 1 and json.loads(done.stdout)["details"]["outcomes"] == {
        "ok": 5, "unreadable": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--all writes a table"),
        (["--out", "o.csv"], "neither .parquet nor .jsonl"),
        (["--out", "no/such/o.jsonl"], "no such folder"),
        (["--out", "o.jsonl", "--values"], "reads headers alone"),
        (["--out", "o.jsonl", "--tensors"], "reads headers alone"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    interop: Any, make: Make, tmp_path: Path, words: list[str], said: str
) -> None:
    line = refused(interop("inspect", "--all", make(1), *words, cwd=tmp_path))
    assert said in line


def test_options_of_many_are_refused_for_one(interop: Any, digits: Path, tmp_path: Path) -> None:
    line = refused(interop("inspect", digits / "base.pth", "--out", tmp_path / "o.jsonl"))
    assert "are for --all" in line


def test_without_pyarrow_parquet_is_one_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraMissing, match=r"model-interop\[tables\]"):
        sweep(str(make(1)), None, SweepOptions(out=tmp_path / "o.parquet"))
