"""`interop inspect --all` over a store of many small checkpoints: models a second.

    python -m benchmarks.sweep [--files N] [--repeats N] [--whole N]

Whole processes, from the command to its exit code, to benchmarks/results/sweep.json: a folder by
one process and two; a prefix of an S3 server on loopback (moto, which is Python and bounds that
figure); 1, 2 and 4 workers of a Dask cluster on this machine, started before; then a folder of
`--whole` models in one go, with the peak memory of the process that sweeps. The models are the
committed checkpoints of 18 and 52 tensors, as hard links; a server gets copies.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import ROOT, cost, machine, store
from tests.helpers.s3 import served

SOURCES = [ROOT / "fixtures" / "digits" / f"{name}.pth" for name in ("autoencoder", "squeezenet")]
IN_A_FOLDER = 1000
MOST_BY_S3 = 400  # models: all of their bytes are in the server's memory
CLUSTER = """
import sys
from dask.distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=":0",
                      silence_logs=50) as made:
        print(made.scheduler_address, flush=True)
        sys.stdin.read()
"""


def make(root: Path, count: int) -> Path:
    """A folder of so many models, hard links to copies of the sources beside it."""
    kept = [Path(shutil.copy(source, root.parent)) for source in SOURCES]
    for n in range(count):
        folder = root / f"{n // IN_A_FOLDER:04}"
        if n % IN_A_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(kept[n % len(kept)], folder / f"model{n:06}.pth")
    return root


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """The address of a Dask scheduler with so many worker processes."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(workers)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(60)


def swept(given: str, count: int, repeats: int, *words: str) -> dict[str, Any]:
    """The samples of whole runs over a store of so many models."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.jsonl")
        command = [sys.executable, "-m", "interop", "inspect", "--all", given, "--out", out, *words]
        runs = [cost(command) for _ in range(repeats)]
        assert Path(out).read_bytes().count(b"\n") == count
    walls = [run[2] for run in runs]
    return {
        "models": count,
        "models_per_second": round(count / median(walls), 1),
        "samples": [round(count / wall, 1) for wall in walls],
        "wall_seconds": [round(wall, 2) for wall in walls],
        "peak_bytes": max(run[1] for run in runs),
    }


def by_s3(root: Path, count: int, repeats: int) -> dict[str, Any]:
    """The same of an S3 server on loopback."""
    import s3fs

    with served("sweep") as address:
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        files = sorted(root.rglob("*.pth"))[:count]
        for file in files:
            fs.put_file(str(file), f"sweep/{file.relative_to(root)}")
        return swept(address, len(files), repeats, "--jobs", "1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", type=int, default=100_000)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "few").mkdir()
        root = make(Path(folder) / "few" / "store", given.files)
        many = str(root), given.files, given.repeats
        for jobs in (1, 2):
            found[f"folder, {jobs} process{'es' * (jobs > 1)}"] = swept(*many, "--jobs", str(jobs))
        found["S3 on loopback, 1 process"] = by_s3(
            root, min(given.files, MOST_BY_S3), given.repeats
        )
        for workers in (1, 2, 4):
            with cluster(workers) as address:
                words = ("--backend", "dask", "--scheduler", address)
                found[f"folder, Dask, {workers} worker{'s' * (workers > 1)}"] = swept(*many, *words)
        if given.whole:
            (Path(folder) / "whole").mkdir()
            root = make(Path(folder) / "whole" / "store", given.whole)
            found["whole store, 2 processes"] = swept(str(root), given.whole, 1, "--jobs", "2")
    for name, one in found.items():
        print(f"{name:28} {one['models_per_second']:8,.0f} models a second, "
              f"{one['peak_bytes'] / 1e6:.0f} MB")  # fmt: skip
    measured = {"machine": machine("distributed", "s3fs", "moto"),
                "date": datetime.now(UTC).date().isoformat(), "runs": found}  # fmt: skip
    store("sweep", measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
