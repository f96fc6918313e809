"""Work on many models where processes are killed: nothing is lost, and nothing waits for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.errors import ConfigError, ExtraMissing
from interop.sweep import SweepOptions, rows, sweep
from interop.sweep.rows import Item, Reading, Row
from interop.sweep.spread import batches_of, spread
from tests.helpers.commands import ROOT, refused
from tests.sweep.conftest import Make


def double(common: int, batch: list[int]) -> list[int]:
    return [common * n for n in batch]


def fragile(marks: str, batch: list[int]) -> list[int]:
    """Kills its process at 7 always, and at 3 once."""
    for n in batch:
        once = Path(marks) / str(n)
        if n == 7 or (n == 3 and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return batch


def killing(reading: Reading, items: list[Item]) -> list[Row | None]:
    """`rows`, of which one model kills every process that reads it."""
    if any(item.model.path.endswith("m0005.safetensors") for item in items):
        os.kill(os.getpid(), signal.SIGKILL)
    return rows.rows(reading, items)


SCHEDULER = """
import sys
from dask.distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as made:
        print(made.scheduler_address, flush=True)
        sys.stdin.read()
"""


def started(workers: int) -> tuple[subprocess.Popen[str], str]:
    """A real cluster of worker processes in a process of its own, and its scheduler's address."""
    pytest.importorskip("distributed")
    process = subprocess.Popen(
        [sys.executable, "-c", SCHEDULER, str(workers)], stdin=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    process, address = started(2)
    yield address
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def on(cluster: str) -> SweepOptions:
    return SweepOptions(backend="dask", scheduler=cluster, jobs=2)


def test_batches_are_smaller_if_there_is_little_work() -> None:
    assert [len(b) for b in batches_of(range(100), 32, 1)] == [25] * 4
    assert [len(b) for b in batches_of(range(1000), 32, 2)][:2] == [32, 32]
    assert list(batches_of([], 32, 2)) == []


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_with_their_batches(jobs: int, forks: bool) -> None:
    batches = list(batches_of(range(50), 5, jobs))
    found = {
        tuple(b): r for b, r in spread(double, 3, batches, SweepOptions(jobs=jobs), forks=forks)
    }
    assert found == {tuple(b): [3 * n for n in b] for b in batches}


def test_a_killed_process_loses_the_piece_alone_that_kills_every_one(tmp_path: Path) -> None:
    batches = list(batches_of(range(40), 4, 2))
    found = list(spread(fragile, str(tmp_path), batches, SweepOptions(jobs=2)))
    done = [n for batch, result in found if result is not None for n in batch]
    assert sorted(done) == [n for n in range(40) if n != 7]
    assert [batch for batch, result in found if result is None] == [[7]]


def test_a_worker_of_a_cluster_that_is_killed_loses_nothing_either(
    cluster: str, tmp_path: Path
) -> None:
    batches = list(batches_of(range(40), 4, 2))
    found = list(spread(fragile, str(tmp_path), batches, on(cluster)))
    done = [n for batch, result in found if result is not None for n in batch]
    assert sorted(done) == [n for n in range(40) if n != 7]
    assert [batch for batch, result in found if result is None] == [[7]]


def test_a_sweep_goes_on_when_a_worker_is_killed_in_the_middle(
    cluster: str, make: Make, tmp_path: Path
) -> None:
    from dask.distributed import Client

    root, out = make(600), tmp_path / "out.jsonl"
    with Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
    killed: list[int] = []

    def say(line: str) -> None:
        if not killed and int(line.split()[0]) >= 64:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

    report = sweep(str(root), None, SweepOptions(out=out, backend="dask", scheduler=cluster),
                   progress=say)  # fmt: skip
    assert killed and report.summary == "600 models: 600 ok"
    addresses = [json.loads(line)["address"] for line in out.read_text().splitlines()]
    assert addresses == sorted(str(p) for p in root.rglob("*.safetensors"))


def test_a_model_that_kills_its_process_is_a_row(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interop.sweep.run.rows", killing)
    out = tmp_path / "out.jsonl"
    report = sweep(str(make(60)), None, SweepOptions(out=out, jobs=2))
    assert report.summary == "60 models: 59 ok, 1 unreadable" and report.exit_code == 1
    found = [json.loads(line) for line in out.read_text().splitlines()]
    (bad,) = [row for row in found if row["outcome"] == "unreadable"]
    assert "m0005" in bad["address"] and "is killed, possibly out of memory" in bad["error"]


def test_the_backends_come_to_the_same_table(cluster: str, make: Make, tmp_path: Path) -> None:
    root = make(70)
    hows = [{"jobs": 1}, {"jobs": 2}, {"backend": "dask", "scheduler": cluster}]
    for n, how in enumerate(hows):
        sweep(str(root), None, SweepOptions(out=tmp_path / f"{n}.jsonl", **how))
    assert len({(tmp_path / f"{n}.jsonl").read_bytes() for n in range(3)}) == 1


def test_a_cluster_is_started_here_if_none_is_named(
    interop: Any, make: Make, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    words = ["--out", tmp_path / "o.jsonl", "--backend", "dask", "--jobs", 1]
    done = interop("inspect", "--all", make(40), *words)
    assert done.returncode == 0 and done.stderr == "interop inspect: yes; 40 models: 40 ok\n"


def test_a_scheduler_that_goes_is_one_line_and_the_rows_are_kept(
    make: Make, tmp_path: Path
) -> None:
    process, address = started(1)
    root, out = make(400), tmp_path / "out.jsonl"

    def say(line: str) -> None:
        if int(line.split()[0]) >= 64:
            process.kill()

    with pytest.raises(ConfigError, match=r"the Dask scheduler is gone; start it .* is kept"):
        sweep(str(root), None, SweepOptions(out=out, backend="dask", scheduler=address),
              progress=say)  # fmt: skip
    process.wait(10)
    assert not out.exists()
    report = sweep(str(root), None, SweepOptions(out=out, jobs=1))
    assert report.details.kept >= 64 and report.summary == "400 models: 400 ok"


def test_what_cannot_be_had_is_one_line(
    interop: Any, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["inspect", "--all", make(1), "--out", tmp_path / "o.jsonl", "--backend", "dask"]
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
        line = refused(interop(*words, "--scheduler", address))
        assert "no Dask scheduler answers" in line and address in line
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    assert "model-interop[dask]" in refused(interop(*words))
    with pytest.raises(ExtraMissing):
        list(spread(double, 1, [[1]], SweepOptions(backend="dask")))
