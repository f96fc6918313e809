"""`make demo` tells the whole story, with the exit codes that each step should have."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import readme
from fixtures.demo import ROOT, STEPS


def test_the_demo_runs_from_end_to_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fixtures.demo"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title, command, _ in STEPS:
        assert title in done.stdout and f"$ interop {command}" in done.stdout
    assert "torchvision/shufflenet_v2_x0_5" in done.stdout
    assert "PASS  replace holds" in done.stdout and "FAIL  label-order-changed" in done.stdout
    page = ROOT / "build" / "demo" / "bench.html"
    assert "<svg" in page.read_text("utf-8")


def test_it_fails_where_a_step_does_not_answer_as_it_should(
    monkeypatch: object, capsys: object
) -> None:
    from fixtures import demo

    monkeypatch.setattr(demo, "STEPS", (("a step", "explain no-such-rule", (0,)),))  # type: ignore[attr-defined]
    monkeypatch.setattr(demo, "derive", lambda out: None)  # type: ignore[attr-defined]
    assert demo.main() == 1
    assert "exit code 2, expected 0" in capsys.readouterr().err  # type: ignore[attr-defined]


def test_the_readme_tells_the_same_story() -> None:
    def bare(command: str) -> list[str]:
        words = command.replace("build/demo/", "").split()
        # The demo spends less time on each batch size than a reader's own run would.
        return [w for w in words if w not in ("--seconds", "3")]

    told = [bare(c) for c, _ in readme.commands(readme.README.read_text("utf-8"))]
    for _, command, _ in STEPS:
        assert bare(command) in told, command
