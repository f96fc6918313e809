"""`interop inspect` on each file of a list, in one process -> a line of JSON for each.

Run by test_hostile.py, apart from the tests: the memory that it reports is that of reading alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path

from interop.cli import main


def inspect(path: str) -> dict[str, object]:
    """The exit code, seconds of its own and output of inspecting one file."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["inspect", path, "--format", "json"])
        except SystemExit as ended:
            code = ended.code
    seconds = time.process_time() - start
    return {"code": code, "seconds": seconds, "out": out.getvalue(), "err": err.getvalue()}


def peak() -> int:
    """The most bytes of memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux counts the parent in
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import h5py  # noqa: F401 - what it takes to load is no hostile file's doing
    for line in sys.stdin:
        found = inspect(line.rstrip("\n"))
        found["peak"] = peak()
        print(json.dumps(found), flush=True)
