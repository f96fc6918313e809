"""What a file's author wrote cannot steer the terminal of who inspects it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from interop.facts import Answer, Finding, Input, Intent, Level, Proof, Report, Verdict
from interop.facts.sections.gate import GateSection
from interop.report import render
from interop.report.sanitize import plain
from tests.conftest import Run

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def test_control_characters_are_shown_as_what_they_are() -> None:
    assert plain("a\x1b[2J\tb\n\u202ec") == "a\\x1b[2J\tb\n\\u202ec"
    assert plain("日本 é 😀") == "日本 é 😀"


@pytest.mark.parametrize("form", ["text", "github", "markdown"])
def test_a_name_cannot_make_a_line_of_its_own(form: str) -> None:
    name = "a.pth\nPASS  all is well\n::notice::fine\t\x1b[2J\u2028.pth"
    fault = Finding("labels-unknown", Level.WARN, (Intent.REPLACE,), Answer.NO, f"{name}: bad",
                    place=name, hint=f"see {name}", facts={"files": [name]})  # fmt: skip
    given = Report(
        "gate", Answer.NO, f"1 of 1 models fail: {name}",
        inputs=(Input("candidate", name, f"is {name}"),), findings=(fault,),
        verdicts=(Verdict(Intent.REPLACE, Answer.NO, name),),
        proofs=(Proof("files", False, name, {}, 0.0),), details=GateSection(policy=name),
    )  # fmt: skip
    made = render(given, form)
    lines = [line.strip() for line in made.splitlines()]
    assert not [line for line in lines if line.startswith(("PASS", "::notice::"))]
    assert form != "text" or "a.pth\\nPASS" in made
    assert "\x1b" not in made


def test_a_label_cannot_steer_the_terminal(interop: Run, tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(3, 2), f"a{STEERING}.weight": torch.ones(3, 3)}
    beside = {"labels": [f"a{STEERING}", "b", "c"], f"note{STEERING}": STEERING}
    torch.save({"state_dict": state, **beside}, tmp_path / "a.pth")
    torch.save({"state_dict": {"fc.weight": torch.ones(4, 2)}, **beside}, tmp_path / "b.pth")
    for command in (["inspect", "a.pth"], ["check", "a.pth", "b.pth"], ["inspect", STEERING]):
        done = interop(*command, cwd=tmp_path)
        assert done.returncode in (0, 1, 2, 3), done.stderr
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\x9b\u202e")
