"""The README says what is true: each command in it runs and prints what stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import readme
from fixtures import make
from tests.helpers.commands import here

TEXT = readme.README.read_text("utf-8")
COMMANDS = list(readme.commands(TEXT))
# What these print is the same on every machine; of the others, the figures differ.
EXACT = ("inspect", "check", "explain")
# But for how long mobilenet.pth was trained, which here is on fewer pictures.
COUNTED = re.compile(r"(?<=only )\d+(?= batches were tracked)")
# What a command writes, and which: a later one reads it, perhaps in another worker of the tests.
WRITTEN = {m[1]: c for c, _ in reversed(COMMANDS) if (m := re.search(r" -o (\S+)", c))}


# A benchmark's tables are the same however long it measures.
LESS = ("--seconds", "0.1")


@pytest.fixture(scope="module")
def folder(derived: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all derived files, of which mobilenet.pth is trained on fewer pictures."""
    made, whole = (tmp_path_factory.mktemp(name) for name in ("readme", "derived-whole"))
    for file in derived.iterdir():
        (whole / file.name).symlink_to(file)
    make.derive_mobilenet(whole, 512)
    readme.scratch(made, whole)
    return made


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a reader would, in this process."""
    words = command.split()
    timed = words[0] == "bench" and words[words.index("--batch") + 1] != "none"
    return here(*words, *LESS * timed, cwd=folder)


# A figure, and the unit that it is told in: another machine's figure may reach the next unit.
INT8_ROW = re.compile(r"  int8-static  ")
FIGURE = re.compile(r"[-+]?\d[\d.]*(e[-+]\d+)?(\s+(B|kB|MB|GB|ns|us|µs|ms|s)\b)?")


def masked(output: str) -> list[str]:
    """The words of an output: figures with their units, and the columns they stretch, left out.

    What int8 costs is left out as a whole: without VNNI, ONNX Runtime's sums saturate.
    """
    lines = [line for line in output.splitlines() if not INT8_ROW.search(line)]
    return FIGURE.sub("0", "\n".join(lines)).split()


def test_a_figure_of_another_unit_is_a_figure_still() -> None:
    assert masked("peak memory  1.02 GB  998 MB") == masked("peak memory  998.4 MB   1 GB")
    assert masked("later 1.9 ms,") == masked("later 900 us,")
    assert masked("0.5 MB of model") != masked("0.5 MB of data")


@pytest.mark.parametrize(("command", "output"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_command_prints_what_the_readme_says(command: str, output: str, folder: Path) -> None:
    for word in command.split():
        if word in WRITTEN and WRITTEN[word] != command and not (folder / word).exists():
            run(WRITTEN[word], folder)
    done = run(command, folder)
    assert "Traceback" not in done.stderr, done.stderr
    name = command.split()[0]
    if name in EXACT:
        assert COUNTED.sub("", done.stdout) == COUNTED.sub("", output)
    elif name == "bench":
        # A noisy host adds a finding; the tables above it are the same.
        assert done.returncode in (0, 3)
        kept = output.partition("\nlevel ")[0]
        assert masked(done.stdout.partition("\nlevel ")[0]) == masked(kept)
    else:
        assert masked(done.stdout) == masked(output)


def test_every_command_has_its_block_and_the_story_its_order() -> None:
    names = [c.split()[0] for c, _ in COMMANDS]
    assert names == [
        "export", "inspect", "check", "check", "check", "check", "export", "bench", "gate", "gate",
        "explain", "inspect", "inspect", "check", "inspect", "inspect", "port", "port", "verify",
        "verify", "export", "bench",
    ]  # fmt: skip
    for line in re.findall(r"^\$ interop (.*)$", TEXT, re.M):
        assert line in {c for c, _ in COMMANDS}


def test_the_tables_of_identity_and_ports_are_those_of_the_stored_studies() -> None:
    for pattern, rows in ((readme.IDENTITY, readme.identity()), (readme.PORTS, readme.ports())):
        block = pattern.search(TEXT)
        assert block is not None
        assert [x for x in block.group(0).splitlines() if x.startswith("|")] == rows
    wrong = [row.split("|")[-2].strip() for row in readme.identity()[2:]]
    assert len(wrong) == 21 and set(wrong) == {"0"}


def test_the_table_of_coverage_is_that_of_the_stored_study() -> None:
    block = readme.COVERAGE.search(TEXT)
    assert block is not None
    rows = [row for row in readme.coverage() if row]
    assert [x for x in block.group(0).splitlines() if x.startswith("|")] == rows
    assert len(rows) > 20


def test_the_first_tries_are_those_of_the_stored_study_and_its_goal_is_met() -> None:
    block = readme.FIRST.search(TEXT)
    assert block is not None
    assert block.group(0).strip().splitlines()[2:-2] == readme.first_try()
    counts = readme._result("first_try")["counts"]
    assert counts["exported of those possible"] >= 0.95 and counts["right"] == counts["exported"]


def test_the_assessment_is_the_one_that_the_tests_hold() -> None:
    block = readme.ASSESSED.search(TEXT)
    assert block is not None
    assert block.group(0).strip().splitlines()[2:-2] == readme.assessed()


def test_the_formats_are_those_that_are_read() -> None:
    block = readme.FORMATS.search(TEXT)
    assert block is not None
    assert [x for x in block.group(0).splitlines() if x.startswith("|")] == readme.formats()


def test_the_figures_are_those_of_the_stored_results() -> None:
    block = readme.FIGURES.search(TEXT)
    assert block is not None
    assert [x for x in block.group(0).splitlines() if x.startswith("|")] == readme.figures()


def test_the_python_example_runs(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(from interop import api\n.*?)```", TEXT, re.S)
    assert code is not None
    text = code.group(1).replace("prod.pth", str(digits / "shufflenet.pth"))
    exec(text.replace("candidate.pth", str(digits / "squeezenet.pth")), {})
    assert capsys.readouterr().out.startswith("replace: yes")
