"""--policy git:REF:PATH: a pull request is judged by the policy of the branch that it goes to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.commands import here
from tests.helpers.git import git

STRICT = """\
[evidence]
data = "heldout"

[[models]]
path = "models/*.pth"
budgets = { size-mb = 0.5 }
"""
LAX = """\
[rules]
size-over-budget = "off"
label-order-changed = "off"

[[waivers]]
rule = "size-over-budget"
reason = "please"
expires = 2999-01-01
"""


@pytest.fixture
def pull_request(tmp_path: Path, digits: Path) -> Path:
    """A branch that swaps nothing but the policy: main's allows half a megabyte."""
    root = tmp_path / "team"
    (root / "models").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    shutil.copy(digits / "shufflenet.pth", root / "models" / "a.pth")
    (root / "interop.toml").write_text(STRICT)
    (root / "pyproject.toml").write_text("[tool.interop]\nintent = 'reload'\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "model and policy")
    git(root, "checkout", "-q", "-b", "change")
    (root / "interop.toml").write_text(LAX)
    git(root, "commit", "-q", "-a", "-m", "a kinder policy")
    return root


def gated(root: Path, *more: str) -> tuple[int, str, str]:
    words = ("gate", "models/a.pth", "--baseline", "git:main:", *more)
    done = here(*words, cwd=root)
    return done.returncode, done.stdout, done.stderr


def test_the_policy_of_the_target_branch_decides(pull_request: Path) -> None:
    assert gated(pull_request)[0] == 0
    code, out, _ = gated(pull_request, "--policy", "git:main:interop.toml", "--format", "json")
    report = json.loads(out)
    assert code == 1 and report["details"]["policy"] == "git:main:interop.toml"
    # Its paths count from where it is in the working tree.
    assert "size-over-budget" in {f["rule"] for f in report["findings"]}
    one = gated(pull_request / "models", "--policy", "git:main:interop.toml")
    assert one[0] == 2  # the candidate, not the policy, counts from the working directory
    all_of = here("gate", "--all", "--baseline", "git:main:", "--policy", "git:main:interop.toml",
                  cwd=pull_request)  # fmt: skip
    assert all_of.returncode == 1, all_of.stdout
    assert not git(pull_request, "status", "--porcelain")


def test_what_it_asks_for_is_shown_with_its_place(pull_request: Path) -> None:
    done = here("gate", "--show-config", "--policy", "git:main:interop.toml", "models/a.pth",
                cwd=pull_request)  # fmt: skip
    assert done.stdout.startswith("# policy: git:main:interop.toml\n")
    assert "git:main:interop.toml:6" in done.stdout
    shared = here("gate", "--show-config", "--policy", "git:main:pyproject.toml", cwd=pull_request)
    assert 'intent = "reload"' in shared.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("git:main:", "git:main:interop.toml"),
        ("git:main:interop.tom", "did you mean git:main:interop.toml"),
        ("git:main:models", "is a folder"),
        ("git:nowhere:interop.toml", "no such commit"),
        ("git:main", "is no git:REF:path"),
        ("git:main:models/a.pth", "is not TOML"),
    ],
)
def test_what_is_no_policy_is_said(pull_request: Path, given: str, said: str) -> None:
    code, out, err = gated(pull_request, "--policy", given)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1, err
