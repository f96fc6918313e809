"""`interop gate` as a person types it: the policy it finds, baselines, --all, full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interop.api import data_hash
from interop.facts import Answer, Report, TaskName
from interop.facts.sections.bench import BenchSection
from interop.policy.policy import Policy
from tests.conftest import ROOT, Run
from tests.helpers.commands import refused
from tests.helpers.git import git


@pytest.fixture
def repository(tmp_path: Path, digits: Path, derived: Path) -> Path:
    root = tmp_path / "repository"
    (root / "models").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    shutil.copy(digits / "shufflenet.pth", root / "models" / "prod.pth")
    (root / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.interop]\nvalues = false\n'
        "[tool.interop.budgets]\nsize-mb = 9\n"
    )
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "models")
    shutil.copy(derived / "relabelled.pth", root / "models" / "prod.pth")
    return root


def test_the_policy_is_found_upwards_and_told(interop: Run, repository: Path) -> None:
    done = interop("gate", "--show-config", cwd=repository / "models")
    assert done.returncode == 0, done.stderr
    lines = {line.split("  #")[0].strip(): line for line in done.stdout.splitlines()}
    assert lines["values = false"].endswith("pyproject.toml:5")
    assert lines["budgets.size-mb = 9"].endswith("pyproject.toml:7")
    assert lines['intent = "replace"'].endswith("# default")
    (repository / "interop.toml").write_text("[budgets]\nsize-mb = 8\n")
    done = interop("gate", "--show-config", cwd=repository / "models")
    assert "budgets.size-mb = 8" in done.stdout and "interop.toml:2" in done.stdout
    assert "values = true" in done.stdout, "the two files are not mixed"
    (repository / ".git").rename(repository / "git")
    done = interop("gate", "--show-config", cwd=repository / "models")
    assert "# policy: defaults" in done.stdout, "without a repository, this folder alone"


def test_show_config_of_one_model_has_its_sections(interop: Run, repository: Path) -> None:
    (repository / "interop.toml").write_text(
        '[[models]]\npath = "models/*"\n[models.budgets]\nsize-mb = 1\n'
    )
    done = interop("gate", "models/prod.pth", "--show-config", cwd=repository)
    assert "budgets.size-mb = 1 " in done.stdout and "interop.toml:4" in done.stdout
    done = interop("gate", "other.pth", "--show-config", cwd=repository)
    assert "budgets.size-mb = none" in done.stdout


def test_a_pull_request_is_held_against_main(interop: Run, repository: Path) -> None:
    for baseline in ("git:main:models/prod.pth", "git:main:"):
        done = interop("gate", "models/prod.pth", "--baseline", baseline, cwd=repository)
        assert done.returncode == 1, done.stderr
        assert "label-order-changed" in done.stdout and "git:main:models/prod.pth" in done.stdout
    git(repository, "checkout", "-q", "models/prod.pth")
    done = interop("gate", "models/prod.pth", "--baseline", "git:main:", cwd=repository)
    assert done.returncode == 0 and "unchanged" in done.stdout
    line = refused(interop("gate", "models/prod.pth", "--baseline", "git:x:", cwd=repository))
    assert "no such commit" in line and "git fetch" in line


def test_all_models_at_once(interop: Run, repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.json"
    arguments = ["gate", "--all", "--baseline", "git:main:", "--cache", tmp_path / "cache"]
    done = interop(*arguments, "--report", f"json:{out}", cwd=repository)
    assert done.returncode == 1 and "models/prod.pth" in done.stdout, done.stderr
    assert json.loads(out.read_text())["details"]["models"][0]["cached"] is False
    done = interop(*arguments, cwd=repository)
    assert done.returncode == 1 and "1 from the cache" in done.stdout
    done = interop(*arguments[:4], "--no-cache", cwd=repository)
    assert "0 from the cache" in done.stdout


def test_what_lies_at_a_ref_is_called_by_its_address(
    interop: Run, repository: Path, digits: Path, tmp_path: Path
) -> None:
    """Never by the place of the copy that was made of it."""
    models, out = repository / "models", tmp_path / "r.json"
    oid = "0" * 64
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5000\n"
    (models / "large.pth").write_text(text)
    (models / "broken.pth").write_bytes(b"no model")
    (models / "sharded").mkdir()
    listed = {"weight_map": {"w": "a.safetensors"}}
    (models / "sharded" / "model.safetensors.index.json").write_text(json.dumps(listed))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "more")
    for path, said in (
        ("large.pth", "git:main:models/large.pth: lies in Git LFS and its 5,000 bytes"),
        ("broken.pth", "git:main:models/broken.pth: "),
        ("sharded", "git:main:models/sharded: the shard 'a.safetensors' is missing"),
        ("sharded/model.safetensors.index.json", "git:main:models/sharded: the shard"),
    ):
        given = ("gate", "models/prod.pth", "--baseline", f"git:main:models/{path}")
        done = interop(*given, cwd=repository)
        assert said in refused(done) and "/tmp" not in done.stderr, done.stderr
    interop("gate", "models/prod.pth", "--baseline", "git:main:", "--report", f"json:{out}",
            cwd=repository)  # fmt: skip
    assert "interop-gate-" not in out.read_text()


def test_what_is_left_out_is_asked_for(interop: Run, repository: Path) -> None:
    assert "--baseline" in refused(interop("gate", "models/prod.pth", cwd=repository))
    assert "CANDIDATE" in refused(interop("gate", "--baseline", "git:main:", cwd=repository))


@pytest.mark.needs_torch
def test_data_of_any_kind_has_the_hash_that_bench_gives_it(tmp_path: Path, digits: Path) -> None:
    from interop.bench.accuracy import BATCH  # numpy is there
    from interop.data import open_data
    from interop.identity import identify_file
    from interop.identity.describe import dataset_hash

    assert BATCH
    model = identify_file(digits / "shufflenet.pth")
    table = tmp_path / "texts.csv"
    table.write_text("text,label\nfine,one\npoor,zero\n")
    for data, task in ((digits / "heldout", "image-classification"),
                       (table, "text-classification")):  # fmt: skip
        report = Report("bench", Answer.YES, "", details=BenchSection(task=TaskName(task)))
        opened = open_data(data, task, model.labels.names)
        wanted = dataset_hash(r.sha256 for r in opened.records())
        assert data_hash(Policy(data=data), report, model, model) == wanted
    table.write_text("text,label\nfine,zero\npoor,zero\nmore,one\n")
    data_hash.__globals__["_hash_of"].cache_clear()
    assert data_hash(Policy(data=table), report, model, model) != wanted


# ---------------------------------------------------------------- disks, kills, neighbours

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_a_full_disk_is_exit_2_with_the_cause(interop: Run, repository: Path) -> None:
    arguments = ["gate", "models/prod.pth", "--baseline", "git:main:"]
    done = interop(*arguments, "--report", f"json:{FULL}", cwd=repository)
    assert done.returncode == 2 and "No space left on device" in done.stderr
    for given in (arguments, ["gate", "--show-config"], ["gate", "--help"], ["--version"],
                  ["explain"], ["inspect", "models/prod.pth"]):  # fmt: skip
        with FULL.open("w") as full:
            told = subprocess.run(
                [sys.executable, "-m", "interop", *given],
                stdout=full, stderr=subprocess.PIPE, text=True, cwd=repository, check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        said = "interop: standard output: cannot be written (No space left on device); make room\n"
        assert (told.returncode, told.stderr) == (2, said), given


def test_a_reader_that_goes_away_is_no_fault(repository: Path) -> None:
    told = subprocess.run(
        f'"{sys.executable}" -m interop gate --show-config | true',
        shell=True, executable="/bin/bash", capture_output=True, text=True, cwd=repository,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert told.stderr == ""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A file system of 64 KiB; the test is skipped where none may be mounted."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield place  # type: ignore[misc]
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_temporary_folder_and_cache_are_told(
    interop_alone: Run, repository: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["gate", "--all", "--baseline", "git:main:"]
    (tiny / "fill").write_bytes(b"x" * 65536)
    done = interop_alone(*arguments, "--cache", tiny / "cache", cwd=repository)
    assert done.returncode == 2 and "No space left on device" in done.stderr
    assert not list(tiny.rglob(".interop-*"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny))
    done = interop_alone(*arguments, cwd=repository)
    assert done.returncode == 1, "a cache that nobody asked for is done without"
    assert "nothing is cached" in done.stderr
    (tiny / "fill").unlink()
    monkeypatch.setenv("TMPDIR", str(tiny))
    done = interop_alone(*arguments, "--no-cache", cwd=repository)
    assert done.returncode == 2 and "No space left" in done.stderr and "TMPDIR" in done.stderr
    assert [p.name for p in tiny.iterdir() if p.name.startswith("interop-gate")] == []


def test_a_read_only_folder_is_exit_2(interop: Run, repository: Path, tiny: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    done = interop(
        "gate", "models/prod.pth", "--baseline", "git:main:", "--report", f"json:{tiny}/r.json",
        cwd=repository,
    )  # fmt: skip
    assert done.returncode == 2 and "Read-only file system" in done.stderr


def test_two_at_once_and_a_killed_one_leave_whole_files(repository: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "out.json", tmp_path / "cache"
    command = [
        sys.executable, "-m", "interop", "gate", "--all", "--baseline", "git:main:",
        "--cache", str(cache), "--report", f"json:{out}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start() -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=repository, env=environment, stdout=quiet, stderr=quiet
        )

    both = [start(), start()]
    assert [p.wait() for p in both] == [1, 1]
    whole = json.loads(out.read_text())
    for wait in (0.1, 0.25, 0.4):
        shutil.rmtree(cache)
        killed = start()
        time.sleep(wait)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (
            json.loads(out.read_text())["summary"].partition("(")[0]
            == (whole["summary"].partition("(")[0])
        )
        for entry in cache.rglob("*.json"):
            json.loads(entry.read_text())
        cache.mkdir(exist_ok=True)
    again = start()
    assert again.wait() == 1


def test_what_a_killed_run_left_is_gone_after_the_next_and_nothing_is_said(
    interop_alone: Run, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"interop-gate-{dead.pid}-abcdefgh"
    left.mkdir()
    (left / "model.pth").write_bytes(b"x")
    done = interop_alone("gate", "models/prod.pth", "--baseline", "git:main:", cwd=repository)
    assert done.returncode == 1 and not list(tmp_path.glob("interop-gate-*"))
    assert "interop-gate-" not in done.stdout + done.stderr


def test_evidence_with_a_figure_that_is_no_number_is_exit_2(
    interop: Run, repository: Path, tmp_path: Path
) -> None:
    from interop.facts import Measurement
    from interop.report.json import render

    figure = Measurement("agreement", "share", 0.5)
    file = tmp_path / "bench.json"
    text = render(Report("bench", Answer.YES, "", measurements=(figure,)))
    arguments = ("gate", "models/prod.pth", "--baseline", "git:main:", "--evidence", str(file))
    file.write_text(text)
    assert interop(*arguments, cwd=repository).returncode == 1, "it is read, and the files judged"
    file.write_text(text.replace("0.5", '"half"'))
    said = refused(interop(*arguments, cwd=repository))
    assert str(file) in said and "value is 'half', no number" in said and "--report json" in said
