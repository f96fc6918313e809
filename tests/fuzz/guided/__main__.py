"""The command line: one target, all of them for a while, or one kept input again."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.guided.findings import SEPARATOR, failure, replay_line

MEGABYTES = 2048  # that a fuzzing process may hold
HANG = 25  # seconds for one input
MOST = 1 << 20  # bytes of an input
_SHARED = Path("/dev/shm")
_ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("target", nargs="?", help="one of --list; options of libFuzzer may follow")
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one kept input again")
    parser.add_argument("--all", action="store_true", help="fuzz every target in turn")
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), metavar="FOLDER")
    given, libfuzzer = parser.parse_known_args()
    if given.replay:
        return _replay(given.replay)
    from tests.fuzz.guided.targets import TARGETS, possible

    if given.list:
        print(*TARGETS, sep="\n")
        return 0
    if given.all:
        names = [name for name, one in TARGETS.items() if possible(one)]
        return _fuzz_all(names, given.seconds, given.jobs, given.findings.resolve())
    if given.target not in TARGETS:
        parser.error(f"choose a target: {', '.join(TARGETS)}")
    return _fuzz(given.target, given.findings.resolve(), libfuzzer)


def _replay(path: Path) -> int:
    from tests.fuzz.guided.targets import TARGETS

    name = path.name.partition(SEPARATOR)[0]
    if name not in TARGETS:
        print(f"{path}: the name does not begin with a target's and {SEPARATOR!r}")
        return 2
    with _workplace() as folder:
        wrong = failure(TARGETS[name].make(Path(folder)), path.read_bytes())
    print(wrong[1] if wrong else f"{path}: nothing is wrong")
    return 1 if wrong else 0


def _workplace() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where the machine has such."""
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir=_SHARED if _SHARED.is_dir() else None)


def _kept(findings: Path, target: str) -> set[str]:
    return {p.name for p in findings.glob(f"{target}{SEPARATOR}*")}


def _fuzz(target: str, findings: Path, libfuzzer: list[str]) -> int:
    findings.mkdir(parents=True, exist_ok=True)
    before = _kept(findings, target)
    with _workplace() as folder:
        status = _run(target, Path(folder), findings, libfuzzer).returncode
    new = sorted(_kept(findings, target) - before)
    for name in new:
        print(f"{target}: {name.partition(SEPARATOR)[2]}\n    {replay_line(findings / name)}")
    return 1 if new or status else 0


def _run(
    target: str, folder: Path, findings: Path, libfuzzer: list[str], log: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    (folder / "work").mkdir(exist_ok=True)
    (folder / "corpus").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided.child", target, str(folder), str(findings)]
    options = [
        f"-rss_limit_mb={MEGABYTES}",
        f"-timeout={HANG}",
        f"-max_len={MOST}",
        f"-artifact_prefix={findings}/{target}{SEPARATOR}",
        "-print_final_stats=1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (log or Path(os.devnull)).open("ab") as out:
        return subprocess.run(
            [*command, *options, *libfuzzer, str(folder / "corpus")], cwd=_ROOT, env=environment,
            **({"stdout": out, "stderr": subprocess.STDOUT} if log else {}), check=False,
        )  # fmt: skip


def _fuzz_all(names: list[str], seconds: float, jobs: int, findings: Path) -> int:
    from tests.fuzz.guided.targets import TARGETS

    findings.mkdir(parents=True, exist_ok=True)
    logs = findings / "logs"
    logs.mkdir(exist_ok=True)
    whole = sum(TARGETS[name].weight for name in names)
    known = {path.name for path in findings.iterdir()}
    said = set(known)
    lock = threading.Lock()

    def fuzz(name: str) -> None:
        share = seconds * jobs * TARGETS[name].weight / whole
        end = time.monotonic() + share
        log = logs / f"{name}.txt"
        broken = 0
        with _workplace() as folder:
            # A process that died of an input is followed by another one, with what it learned.
            (Path(folder) / "corpus").mkdir()
            while (left := end - time.monotonic()) > 1 and broken < 20:
                options = [f"-max_total_time={int(left)}"]
                broken += bool(_run(name, Path(folder), findings, options, log).returncode)
            count = len(list((Path(folder) / "corpus").iterdir()))
        with lock:
            print(f"{name}: {share:.0f} s, {count:,} inputs in the corpus", flush=True)
            for one in sorted(_kept(findings, name) - said):
                said.add(one)
                print(f"  {one}\n    {replay_line(findings / one)}", flush=True)

    # The longest first, so that no process ends on one of them alone.
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(fuzz, sorted(names, key=lambda n: -TARGETS[n].weight)))
    return 1 if said - known else 0


if __name__ == "__main__":
    sys.exit(main())
