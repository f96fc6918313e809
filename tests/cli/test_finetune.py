"""`interop finetune` as a person types it, and as a machine kills it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from interop.report.json import SCHEMA_FILE
from tests.conftest import ROOT
from tests.helpers.digits import for_training

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training digits of each of two classes."""
    return for_training(tmp_path_factory.mktemp("digits"), 20, classes=2)


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The command in this process, which has its libraries already: code, stdout, stderr."""
    from interop.cli import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    return int(str(ended.value.code)), told.out, told.err


def test_a_killed_run_gives_the_same_bytes(
    digits: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "m.pth"
    given = ["finetune", str(digits / "base.pth"), "--data", str(pictures), "-o", str(out),
             "--epochs", "4", "--rate", "1e-3", "--batch", "8", "--mode", "full",
             "--report", f"json:{out}.json", "--report", f"html:{out}.html"]  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # other threads add up in another order
    try:
        code, told, _ = run(given, capsys)
        assert code == 0 and max(map(len, told.splitlines())) <= 80
        assert "written" in told and "chance" in told
        expected = out.read_bytes()
        out.unlink()

        state = tmp_path / "m.pth.training" / "state.pth"
        running = subprocess.Popen(
            [sys.executable, "-m", "interop", *given], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not state.exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL and not out.exists()
        assert 0 < torch.load(state, weights_only=True)["epoch"] < 4

        code, _, line = run([*given, "--seed", "1"], capsys)
        assert code == 2 and "seed was 0 and is 1" in line
        code, told, _ = run(given, capsys)
    finally:
        torch.set_num_threads(before)
    assert code == 0 and "went on where" in told
    assert out.read_bytes() == expected
    assert not state.exists()
    document = json.loads((tmp_path / "m.pth.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    assert [row["epoch"] for row in document["details"]["curves"]] == [1, 2, 3, 4]
    page = (tmp_path / "m.pth.html").read_text()
    assert "full: loss" in page and page.count("<svg") >= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere"], "no such file or folder"),
        (["--data", "{pictures}", "--warmup", "2"], "--warmup: cannot be 2.0"),
        (["--data", "{pictures}", "--weights", "x.pth"], "--weights is for a library's name"),
        (["--data", "{pictures}", "--task", "text-generation"], "is not learned here"),
        (["--data", "{pictures}", "-o", "{pictures}"], "is no name of a checkpoint"),
        (["--data", "{pictures}", "--labels", "zero,two"], "class folders do not match"),
    ],
)
def test_bad_input_ends_in_one_line(
    options: list[str], said: str, digits: Path, pictures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = [o.format(pictures=pictures) for o in options]
    code, told, line = run(["finetune", str(digits / "base.pth"), *given], capsys)
    assert code == 2 and not told
    assert said in line and len(line.splitlines()) == 1


def test_weights_that_are_not_there_are_refused(
    digits: Path, pictures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = torch.load(digits / "base.pth", weights_only=True)
    del broken["state_dict"]["conv5.0.weight"]
    torch.save(broken, tmp_path / "broken.pth")
    code, told, _ = run(
        ["finetune", "torchvision/shufflenet_v2_x0_5", "--weights", str(tmp_path / "broken.pth"),
         "--data", str(pictures), "-o", str(tmp_path / "m.pth")], capsys,
    )  # fmt: skip
    assert code == 1 and not (tmp_path / "m.pth").exists()
    assert "loaded-fraction-low" in told and "nothing was written" in told
