"""What each format makes of each stored report, and the words that all of them begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.report import FORMATS
from interop.report.wording import headline

from . import golden


def first_line(name: str, form: str) -> str:
    """The first line that a person sees."""
    text = golden.made(name, form)
    if form == "html":
        text = text[text.index('<p class="lead">') :]
    if form == "junit":
        text = text[text.index("message=") :] if "message=" in text else text
    return text.splitlines()[0]


@pytest.mark.parametrize(("name", "form"), golden.cases())
def test_a_format_says_what_it_said(name: str, form: str) -> None:
    # make golden accepts a change; read its diff.
    assert golden.made(name, form).encode() == golden.file(name, form).read_bytes()


def test_every_format_has_its_files_and_no_file_is_left_over() -> None:
    assert {p.name for p in golden.FOLDER.iterdir()} == {f"{n}.{f}" for n, f in golden.cases()}
    assert {form for _, form in golden.cases()} == set(FORMATS)


def test_a_changed_format_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    golden.write()
    test_a_format_says_what_it_said("gate-fails", "github")
    file = golden.file("gate-fails", "github")
    file.write_text(file.read_text().replace("FAIL", "PASS"))
    with pytest.raises(AssertionError):
        test_a_format_says_what_it_said("gate-fails", "github")


@pytest.mark.parametrize("form", ["text", "markdown", "github", "html", "junit"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gate-fails", ("FAIL", "label-count-mismatch: 10 outputs became 7")),
        ("gate-passes", ("PASS", "replace holds, within the budgets of the policy")),
        ("gate-inconclusive", ("INCONCLUSIVE", "evidence-missing: bench")),
    ],
)
def test_the_first_line_says_the_verdict_in_the_same_words(
    name: str, words: tuple[str, str], form: str
) -> None:
    assert headline(golden.REPORTS[name]).split("  ")[0] == words[0]
    if form == "junit":
        assert "  ".join(words) in golden.made(name, form)
    else:
        assert all(word in first_line(name, form) for word in words)
