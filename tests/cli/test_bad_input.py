"""Bad input ends in one clear line on stderr, exit 2, nothing written, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Run
from tests.helpers.commands import refused

COMMANDS = (
    "inspect {f}",
    "check {good} {f}",
    "check {f} {good}",
    "export {f} -o out",
    "gate {good} --baseline {f}",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("empty.pth", "empty"),
        ("truncated.pth", "the end is missing"),
        ("text.pth", "text file"),
        ("nowhere.pth", "no such file"),
    ],
)
def test_unreadable_files(
    interop: Run, digits: Path, derived: Path, tmp_path: Path, command: str, file: str, said: str
) -> None:
    words = [w.format(f=derived / file, good=digits / "shufflenet.pth") for w in command.split()]
    line = refused(interop(*words, cwd=tmp_path))
    assert file in line and said in line
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_candidate_fails_the_gate(interop: Run, digits: Path, derived: Path) -> None:
    baseline = digits / "shufflenet.pth"
    done = interop("gate", derived / "truncated.pth", "--baseline", baseline)
    assert done.returncode == 1 and done.stdout.startswith("FAIL")
    assert "Traceback" not in done.stderr


def test_a_hostile_pickle_is_named_and_never_runs(
    interop: Run, interop_alone: Run, digits: Path, derived: Path, tmp_path: Path
) -> None:
    hostile, good = derived / "hostile.pth", digits / "shufflenet.pth"
    for run, arguments in (
        (interop_alone, ["inspect", hostile]),
        (interop, ["check", good, hostile]),
        (interop, ["gate", hostile, "--baseline", good]),
    ):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 1, arguments
        assert "pickle-unsafe-global" in done.stdout and "system" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs_torch
def test_an_unknown_architecture_is_not_exported(
    interop_alone: Run, digits: Path, tmp_path: Path
) -> None:
    line = refused(interop_alone("export", digits / "autoencoder.pth", cwd=tmp_path))
    assert "architecture is unknown" in line and "--model" in line
    assert list(tmp_path.iterdir()) == []


def test_a_head_of_several_layers_is_asked_for(interop: Run, derived: Path, tmp_path: Path) -> None:
    line = refused(interop("export", derived / "mlp-head.pth", cwd=tmp_path))
    assert "several layers" in line and "--head" in line
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_missing_or_does_not_match(
    interop: Run, interop_alone: Run, digits: Path, derived: Path, tmp_path: Path
) -> None:
    model = digits / "shufflenet.pth"
    line = refused(interop("bench", model, "--data", tmp_path / "nowhere"))
    assert "no such file or folder" in line
    (tmp_path / "zero").mkdir()
    (tmp_path / "wolf").mkdir()
    line = refused(interop("bench", model, "--data", tmp_path))
    assert "do not match the labels" in line and "'wolf'" in line
    line = refused(interop_alone("bench", derived / "plain.pth", "--data", digits / "heldout"))
    assert "--preprocess" in line and "preprocessing-unknown" in line


@pytest.mark.needs_torch
def test_cuda_asked_for_and_not_had_is_3(interop: Run, digits: Path) -> None:
    import torch

    if (
        torch.cuda.is_available()
    ):  # then the refusal cannot be seen, and bench's own tests run on it
        return
    data = digits / "heldout"
    line = refused(
        interop("bench", digits / "shufflenet.pth", "--data", data, "--device", "cuda"), 3
    )
    assert "CUDA" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekc"], "did you mean 'check'?"),
        (["check", "a.pth"], "Missing argument"),
        (["check", "a.pth", "b.pth", "--for", "reuse"], "'reuse' is not one of"),
        (["explain", "key-mising"], "did you mean key-missing?"),
        (["inspect", "a.pth"], "no such file"),
        (["bench", "a.pth", "--data", "x", "--seconds", "nan"], "must be positive"),
        (["bench", "a.pth", "--data", "x", "--batch", "one"], "is no list; write 1,8,32"),
        (["bench", "a.pth", "--data", "x", "--report", "pdf:x"], "is not FORMAT:PATH"),
        (["bench", "--data", "x"], "one model or two, not 0"),
        (["bench", "a.pth", "--column", "text"], "is not ROLE=NAME"),
        (["bench", "a.pth", "--column", "=sentence"], "is not ROLE=NAME"),
        pytest.param(
            ["bench", "--compare", "none.json", "none.json"],
            "no report",
            marks=pytest.mark.needs_torch,
        ),
        (["gate", "a.pth", "--baseline", "b.pth", "--policy", "none.toml"], "No such file"),
        (["gate", "a.pth", "--baseline", "b.pth", "--evidence", "none.json"], "no report"),
    ],
)
def test_bad_usage(interop: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(interop(*arguments, cwd=tmp_path))


def test_a_fault_of_our_own_is_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from interop import cli
    from interop.cli import group

    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("not a person's mistake")

    monkeypatch.setattr(group.interop, "main", broken)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 4
    assert "fault of interop's own" in capsys.readouterr().err
