"""The targets of the guided fuzzing, a few hundred runs of each: `make fuzz` goes on from there."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.guided import programs
from tests.fuzz.guided.findings import failure, keep, path_of
from tests.fuzz.guided.mutators import plain_mutation
from tests.fuzz.guided.target import Finding, Target
from tests.fuzz.guided.targets import TARGETS, possible
from tests.fuzz.guided.watch import bounded, watched
from tests.helpers.commands import ROOT

MOST = 1 << 20


def inputs(target: Target) -> list[bytes]:
    """Some seeds, and what mutations make of them and of one another: the same ones each time."""
    rng = random.Random(target.name)
    base = plain_mutation(rng)
    seeds = list(target.seeds())
    made = rng.sample(seeds, min(len(seeds), target.runs // 3 + 1))
    for _ in range(target.runs):
        data = rng.choice(made)
        made.append(target.mutate(data, rng, base, MOST) if target.mutate else base(data, MOST))
    return made


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing_in_a_few_runs(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    if not possible(target):
        pytest.skip(f"needs {', '.join(target.needs)}")
    run = target.make(tmp_path)
    for data in inputs(target):
        wrong = failure(run, data)
        assert wrong is None, (wrong, data[:2000])


def test_a_call_that_is_not_told_of_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TARGETS["pickle"].make(tmp_path)
    call = b"\x80\x04cprobe\nhit\n)R."
    assert failure(run, call) is None
    monkeypatch.setattr(programs, "_said", lambda program: (None, ""))
    wrong = failure(run, call)
    assert wrong is not None and wrong[0] == "not-told-nothing"


@pytest.mark.parametrize(
    ("sign", "work"),
    [
        ("executed-open", lambda: (ROOT / "Makefile").read_bytes()),
        ("executed-subprocess.Popen", lambda: subprocess.run(["true"], check=True)),
        ("executed-compile", lambda: compile("1 + 1", "", "eval")),
        ("executed-import", lambda: __import__("no_such_module_of_a_file")),
        ("slow", lambda: sum(range(60_000_000))),
        ("memory", lambda: len(b"x" * (300 << 20))),
    ],
)
def test_what_no_reader_does_is_found(
    sign: str, work: Callable[[], object], tmp_path: Path
) -> None:
    def run(data: bytes) -> None:
        # A slow machine must not call the other cases slow.
        seconds = 0.5 if sign == "slow" else 60.0
        with watched(tmp_path), bounded(seconds), suppress(ImportError):
            work()

    wrong = failure(run, b"")
    assert wrong is not None and wrong[0] == sign


def test_a_failure_is_kept_and_can_be_run_again(tmp_path: Path) -> None:
    target = TARGETS["policy"]
    assert keep(tmp_path, target, "a/b c", b"intent = 3")
    assert not keep(tmp_path, target, "a/b c", b"intent")  # the smaller one is kept
    path = path_of(tmp_path, target, "a/b c")
    assert path.read_bytes() == b"intent" and path.parent == tmp_path
    command = [sys.executable, "-m", "tests.fuzz.guided", "--replay", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{path}: nothing is wrong\n")


def test_an_error_that_is_none_of_interops_is_a_failure() -> None:
    def run(data: bytes) -> None:
        raise KeyError("x")

    wrong = failure(run, b"")
    assert wrong is not None and wrong[0].startswith("KeyError-") and "Traceback" in wrong[1]
    assert str(Finding("sign", "text")) == "sign: text"
