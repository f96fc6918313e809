"""Five changes to a model in a real git repository, and what the gate says of each in each format.

The model lies in the repository; a branch swaps it; the gate holds the branch's file against
`git:main:`, as the Action does, with the team's own policy.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from tests.helpers.commands import here
from tests.helpers.git import git

POLICY = """\
intent = "replace"

[budgets]
accuracy-drop = 5.0
negative-flips = 2.0

[evidence]
data = "heldout"
"""
FORMATS = ("text", "json", "junit", "sarif", "github", "markdown", "html")


@dataclass(frozen=True)
class Change:
    """A pull request: how the model becomes the candidate, and what the gate must say."""

    make: Callable[[Path, Path, Path], None]
    code: int
    word: str
    says: str


def copied(name: str) -> Callable[[Path, Path, Path], None]:
    return lambda out, digits, derived: shutil.copy(derived / name, out) and None


def other_head(out: Path, digits: Path, derived: Path) -> None:
    shutil.copy(digits / "base.pth", out)  # five classes, before it was fine-tuned


def worse(out: Path, digits: Path, derived: Path) -> None:
    """A retrain that went wrong: the same shapes and labels, and a shaken backbone."""
    stored = torch.load(digits / "shufflenet.pth", weights_only=True)
    draw = torch.Generator().manual_seed(0)
    for name, t in stored["state_dict"].items():
        if name.startswith("conv5") and t.ndim == 4:
            t += torch.randn(t.shape, generator=draw) * t.std() * 12
    torch.save(stored, out)


def halved(out: Path, digits: Path, derived: Path) -> None:
    """float16, after so coarse a rounding that answers flip."""
    stored = torch.load(digits / "shufflenet.pth", weights_only=True)
    state = stored["state_dict"]
    for name, t in state.items():
        if t.is_floating_point():
            step = t.abs().max() / 4.2 if t.ndim > 1 else 0
            coarse = (t / step).round() * step if t.ndim > 1 else t
            state[name] = coarse.half()
    torch.save(stored, out)


CHANGES = {
    "good retrain": Change(copied("retrained.pth"), 0, "PASS", "replace"),
    "other head": Change(other_head, 1, "FAIL", "10 outputs became 5"),
    "permuted labels": Change(copied("relabelled.pth"), 1, "FAIL", "label"),
    "accuracy drop": Change(worse, 1, "FAIL", "top-1 fell by"),
    "float16 with flips": Change(halved, 1, "FAIL", "were right and are wrong"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, digits: Path, derived: Path) -> Path:
    """main holds the model and the policy, and each change is a branch of its own."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "models").mkdir()
    shutil.copy(digits / "shufflenet.pth", folder / "models" / "digits.pth")
    (folder / "interop.toml").write_text(POLICY)
    shutil.copytree(digits / "heldout", folder / "heldout")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "the model that is served")
    for name, change in CHANGES.items():
        git(folder, "switch", "-qc", name.replace(" ", "-"), "main")
        change.make(folder / "models" / "digits.pth", digits, derived)
        git(folder, "commit", "-qam", name)
    return folder


@pytest.fixture(scope="module")
def told(repository: Path) -> Callable[[str], tuple[int, str, dict[str, str]]]:
    """The gate's exit code on a branch, its line on stderr, and its report in each format."""
    seen: dict[str, tuple[int, str, dict[str, str]]] = {}

    def run(name: str) -> tuple[int, str, dict[str, str]]:
        if name not in seen:
            git(repository, "switch", "-q", name.replace(" ", "-"))
            out = repository.parent / f"reports-{name.replace(' ', '-')}"
            out.mkdir()
            more = [w for f in FORMATS[1:] for w in ("--report", f"{f}:{out / f}")]
            given = ("models/digits.pth", "--baseline", "git:main:models/digits.pth", *more)
            done = here("gate", *given, cwd=repository)
            forms = {"text": done.stdout} | {f: (out / f).read_text() for f in FORMATS[1:]}
            seen[name] = done.returncode, done.stderr, forms
        return seen[name]

    return run


class Lead(HTMLParser):
    """The words of the page's first paragraph."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.within = "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.within = self.within or ("class", "lead") in attrs

    def handle_endtag(self, tag: str) -> None:
        self.within = self.within and tag != "p"

    def handle_data(self, data: str) -> None:
        self.words += data if self.within else ""


def first_lines(forms: dict[str, str]) -> dict[str, str]:
    """What a reader of each format reads first."""
    report, run = json.loads(forms["json"]), json.loads(forms["sarif"])["runs"][0]
    case = ElementTree.fromstring(forms["junit"]).find(".//testcase")
    assert case is not None
    outcome = {"yes": "PASS", "no": "FAIL", "unknown": "INCONCLUSIVE"}[report["outcome"]]
    problem = next((c for c in case if c.tag in ("failure", "error")), None)
    return {
        "text": forms["text"].splitlines()[0],
        "json": f"{outcome} {report['summary']}",
        "junit": "PASS replace" if problem is None else f"FAIL {problem.get('message')}",
        "sarif": json.dumps(run["invocations"][0]) + json.dumps(run.get("results")),
        "github": forms["github"].splitlines()[0],
        "markdown": forms["markdown"].splitlines()[0],
        "html": Lead(forms["html"]).words,
    }


@pytest.mark.parametrize("name", CHANGES)
def test_the_gate_says_the_right_thing_in_each_format(name: str, told: Callable) -> None:
    change = CHANGES[name]
    code, line, forms = told(name)
    assert code == change.code, (line, forms["text"])
    for form, words in first_lines(forms).items():
        if form == "sarif":
            assert ('"exitCode": 0' in words) == (code == 0)
            assert ('"level": "error"' in words) == (code == 1)
        else:
            assert change.word in words, (form, words)
        if code:
            assert change.says in words, (form, words)
    assert f"interop gate: {'yes' if code == 0 else 'no'};" in line


def test_the_model_that_is_served_passes_against_itself(repository: Path, told: Callable) -> None:
    told("good retrain")
    git(repository, "switch", "-q", "main")
    done = subprocess.run(
        [sys.executable, "-m", "interop", "gate", "models/digits.pth", "--baseline", "git:main:"],
        cwd=repository, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
