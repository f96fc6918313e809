"""`make demo` tells the whole story, with the exit codes that each step should have."""

from __future__ import annotations

import pytest

from benchmarks import readme
from fixtures import demo
from fixtures.demo import ROOT, STEPS
from fixtures.make import derive

MEASURED = "--batch 1,8,32 --seconds 3"


def test_the_demo_runs_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each step is a process; less is measured, for a shorter time."""
    less = [(t, c.replace(MEASURED, "--batch 1 --seconds 0.1"), codes) for t, c, codes in STEPS]
    assert less != [*STEPS]
    monkeypatch.setattr(demo, "STEPS", less)
    monkeypatch.setattr(demo, "derive", lambda out: derive(out, trained=False))
    code = demo.main()
    told = capfd.readouterr()
    assert code == 0, told.err
    for title, command, _ in less:
        assert title in told.out and f"$ interop {command}" in told.out
    assert "torchvision/shufflenet_v2_x0_5" in told.out
    assert "PASS  replace holds" in told.out and "FAIL  label-order-changed" in told.out
    page = ROOT / "build" / "demo" / "bench.html"
    assert "<svg" in page.read_text("utf-8")


def test_it_fails_where_a_step_does_not_answer_as_it_should(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "STEPS", (("a step", "explain no-such-rule", (0,)),))
    monkeypatch.setattr(demo, "derive", lambda out: None)
    assert demo.main() == 1
    assert "exit code 2, expected 0" in capsys.readouterr().err


def test_the_readme_tells_the_same_story() -> None:
    def bare(command: str) -> list[str]:
        words = command.replace("build/demo/", "").split()
        # The demo spends less time on each batch size than a reader's own run would.
        return [w for w in words if w not in ("--seconds", "3")]

    told = [bare(c) for c, _ in readme.commands(readme.README.read_text("utf-8"))]
    for _, command, _ in STEPS:
        assert bare(command) in told, command
