"""`interop` with arguments, in this process or in one of its own: what a person would get."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]


def here(*args: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """In this process, which has its libraries already; what a command may set is set back."""
    from interop.cli import main

    words = list(map(str, args))
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    code: object = 0
    with _kept(), chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        os.environ["COLUMNS"] = "80"
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code
    said = [_written(stream) for stream in (out, err)]
    return subprocess.CompletedProcess(["interop", *words], int(str(code)), *said)


def alone(*args: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: for what is about processes, imports, or streams."""
    return subprocess.run(
        [sys.executable, "-m", "interop", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line of an error: nothing on stdout, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("interop: ")
    return lines[0]


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


@contextmanager
def _kept() -> Iterator[None]:
    """What a command sets for its whole process: collection of garbage, environment, threads."""
    thresholds, environment = gc.get_threshold(), dict(os.environ)
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    try:
        with warnings.catch_warnings():
            yield
    finally:
        gc.set_threshold(*thresholds)
        os.environ.clear()
        os.environ.update(environment)
        if torch and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
