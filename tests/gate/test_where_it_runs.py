"""The Action's steps in a shell, and the hooks in pre-commit, each in a real git repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.git import git

ROOT = Path(__file__).resolve().parents[2]
POLICY = 'intent = "replace"\n'


@pytest.fixture
def team(tmp_path: Path, digits: Path) -> Path:
    """A repository with a model on main, and a change of it in the working tree's branch."""
    folder = tmp_path / "team"
    (folder / "models").mkdir(parents=True)
    shutil.copy(digits / "shufflenet.pth", folder / "models" / "digits.pth")
    (folder / "interop.toml").write_text(POLICY)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "served")
    git(folder, "switch", "-qc", "change")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `interop` and `python` are this very environment's."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    interop = bin_folder / "interop"
    interop.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m interop "$@"\n')
    interop.chmod(0o755)
    return os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]])


# ---------------------------------------------------------------- the Action


def action(team: Path, path: str, **inputs: str) -> tuple[int, str, dict[str, str], str]:
    """Runs the gate's step as a runner does: exit code, log, outputs, job summary."""
    described = yaml.safe_load((ROOT / "action.yml").read_text())
    given = {name: i.get("default", "") for name, i in described["inputs"].items()} | inputs
    (step,) = (s for s in described["runs"]["steps"] if s.get("id") == "gate")
    environment = {k: _filled(v, given) for k, v in step["env"].items()}
    place = team.parent / "runner"
    place.mkdir(exist_ok=True)
    summary, output = place / "summary.md", place / "output.txt"
    summary.write_text("")
    output.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=team, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **environment,
             "RUNNER_TEMP": str(place), "GITHUB_STEP_SUMMARY": str(summary),
             "GITHUB_OUTPUT": str(output)},
    )  # fmt: skip
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, outputs, summary.read_text()


def _filled(text: str, given: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], text)


def test_no_input_reaches_the_script_but_as_a_variable() -> None:
    described = yaml.safe_load((ROOT / "action.yml").read_text())
    for step in described["runs"]["steps"]:
        assert "${{" not in step["run"]
    ids = {s.get("id") for s in described["runs"]["steps"]}
    for output in described["outputs"].values():
        assert re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.[\w-]+ \}\}", output["value"])[1] in ids


def test_a_good_change_passes_and_sets_the_outputs(team: Path, path: str, derived: Path) -> None:
    shutil.copy(derived / "retrained.pth", team / "models" / "digits.pth")
    given = {"candidate": "models/digits.pth", "baseline": "git:main:models/digits.pth"}
    code, log, outputs, summary = action(team, path, **given)
    assert code == 0, log
    assert outputs["outcome"] == "pass" and outputs["exit-code"] == "0"
    assert json.loads(Path(outputs["report"]).read_text())["outcome"] == "yes"
    assert json.loads(Path(outputs["sarif"]).read_text())["version"] == "2.1.0"
    assert "PASS" in summary.splitlines()[0] and "::notice" in log


def test_a_bad_change_fails_with_an_annotation_and_a_summary(
    team: Path, path: str, derived: Path
) -> None:
    shutil.copy(derived / "relabelled.pth", team / "models" / "digits.pth")
    given = {"candidate": "models/digits.pth", "baseline": "git:main:"}
    code, log, outputs, summary = action(team, path, **given)
    assert code == 1 and outputs["outcome"] == "fail"
    assert "FAIL" in summary.splitlines()[0] and "label" in summary
    assert re.search(r"^::error .*file=models/digits\.pth", log, re.M)


def test_an_input_is_never_code(team: Path, path: str) -> None:
    given = {"candidate": "$(touch owned); touch owned", "baseline": "`touch owned`"}
    code, _, outputs, _ = action(team, path, **given)
    assert code == 2 and outputs["outcome"] == "error"
    assert not (team / "owned").exists()


@pytest.mark.parametrize("candidate", ["--help", "--show-config", "--all"])
def test_a_candidate_that_looks_like_an_option_is_a_file(
    team: Path, path: str, candidate: str
) -> None:
    code, log, outputs, _ = action(team, path, candidate=candidate, baseline="git:main:")
    assert code in (1, 2) and outputs["outcome"] in ("fail", "error"), log


def test_all_models_at_once(team: Path, path: str, derived: Path) -> None:
    shutil.copy(derived / "five-classes.pth", team / "models" / "digits.pth")
    code, log, outputs, summary = action(team, path, all="true", baseline="git:main:")
    assert code == 1 and outputs["outcome"] == "fail", log
    assert "digits.pth" in summary


# ---------------------------------------------------------------- pre-commit


@pytest.fixture
def hooked(team: Path, tmp_path: Path) -> Path:
    """The team's repository with our hooks, from a repository that offers them."""
    offers = tmp_path / "offers"
    offers.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", offers)
    git(offers, "init", "-q", "-b", "main")
    git(offers, "add", ".")
    git(offers, "commit", "-qm", "hooks")
    # The hooks install the light package into an environment of their own; here the command is on
    # the PATH, so that the test needs no network.
    hooks = [{"id": "interop-gate", "language": "system"}]
    config = {"repos": [{"repo": str(offers), "rev": "HEAD", "hooks": hooks}]}
    (team / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=offers, capture_output=True, text=True, check=True
    ).stdout.strip()
    config["repos"][0]["rev"] = revision
    (team / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    git(team, "add", ".pre-commit-config.yaml")
    git(team, "commit", "-qm", "hooks")
    return team


def commit(team: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--verbose"],
        cwd=team, capture_output=True, text=True, timeout=180, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT),
             "PRE_COMMIT_HOME": str(team.parent / "pre-commit"),
             "XDG_CACHE_HOME": str(team.parent / "cache")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "passes"),
    [("retrained.pth", True), ("five-classes.pth", False), ("hostile.pth", False)],
)
def test_pre_commit_for_real(hooked: Path, path: str, derived: Path, name: str, passes: bool):
    pytest.importorskip("pre_commit")
    shutil.copy(derived / name, hooked / "models" / "digits.pth")
    git(hooked, "add", ".")
    done = commit(hooked, path)
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    assert "interop gate (model files against HEAD)" in done.stdout


def test_pre_commit_lets_other_commits_pass(hooked: Path, path: str) -> None:
    pytest.importorskip("pre_commit")
    (hooked / "notes.md").write_text("words")
    git(hooked, "add", ".")
    done = commit(hooked, path)
    assert done.returncode == 0, done.stdout
