"""Pieces of work: the same results wherever they are done, and none done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from interop.assess import parallel, probes
from interop.errors import ConfigError, ExtraMissing
from tests.assess import cases
from tests.assess.test_probes import made


def pieces(count=4):
    x, y = made()
    group = np.arange(len(y))
    folds = [(np.setdiff1d(group, group[i::count]), group[i::count]) for i in range(count)]
    given = [(x, y, 3, group, train, test, 0) for train, test in folds]
    return [parallel.Piece(probes.probe, g, parallel.key(*g)) for g in given]


def answers(pool, folder=None, said=None):
    found = parallel.done(
        pieces(), pool, folder, "probes", (lambda _: None) if said is None else said.append
    )
    return [r["sure"] for r in found]


@pytest.fixture(scope="module")
def here():
    return answers(parallel.Pool())


def same(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


def test_processes_and_threads_give_the_same(here):
    assert same(here, answers(parallel.Pool("loky", 2)))
    assert same(here, answers(parallel.Pool("threading", 2)))


def test_a_dask_cluster_of_processes_gives_the_same(here):
    assert same(here, answers(parallel.Pool("dask", 2)))


def test_a_scheduler_that_runs_already_is_used(here):
    with cases.cluster(processes=False, protocol="tcp") as address:
        assert same(here, answers(parallel.Pool("dask", 2, address)))


def test_a_backend_that_gives_all_results_at_once_gives_the_same(here, monkeypatch, tmp_path):
    """Ray's is one, and joblib refuses to ask it for results as they come."""
    import joblib
    from joblib._parallel_backends import ThreadingBackend

    class AtOnce(ThreadingBackend):
        supports_return_generator = False

    monkeypatch.setattr(parallel, "_ray", lambda: joblib.register_parallel_backend("ray", AtOnce))
    monkeypatch.setattr(joblib.parallel, "BACKENDS", dict(joblib.parallel.BACKENDS))
    with joblib.parallel_config(backend=AtOnce()), pytest.raises(ValueError, match="return_as"):
        joblib.Parallel(return_as="generator_unordered")
    said = []
    assert same(here, answers(parallel.Pool("ray", 2), tmp_path, said))
    assert said[-1] == "probes: 4 of 4" and len(list(tmp_path.iterdir())) == 4


def test_what_was_done_is_not_done_again(tmp_path, here):
    said = []
    assert same(here, answers(parallel.Pool(), tmp_path, said)) and said
    said.clear()
    assert same(here, answers(parallel.Pool(), tmp_path, said)) and not said
    kept = sorted(tmp_path.iterdir())
    kept[0].write_bytes(b"damaged")
    assert same(here, answers(parallel.Pool(), tmp_path, said)) and said[0] == "probes: 3 of 4"


def test_a_key_knows_numbers_names_and_arrays():
    x = np.arange(4.0)
    assert parallel.key(x, 1) == parallel.key(x.copy(), 1)
    different = {
        parallel.key(x, 1),
        parallel.key(x, 2),
        parallel.key(x + 1, 1),
        parallel.key(x.reshape(2, 2), 1),
    }
    assert len(different | {parallel.key(x.astype(np.float32), 1)}) == 5


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from interop.assess import parallel as work
        from tests.assess.test_parallel import pieces

        def say(line):
            if line == "probes: 2 of 4":
                os.kill(os.getpid(), signal.SIGKILL)

        work.done(pieces(), work.Pool(), Path(sys.argv[1]), "probes", say)
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    said = []
    found = answers(parallel.Pool(), tmp_path, said)
    assert said[0] == "probes: 2 of 4" and same(found, answers(parallel.Pool()))


def test_what_cannot_be_had_is_said(monkeypatch):
    with pytest.raises(ConfigError, match="no backend"):
        answers(parallel.Pool("slurm"))
    monkeypatch.setitem(sys.modules, "ray.util.joblib", None)
    with pytest.raises(ExtraMissing, match="model-interop"):
        answers(parallel.Pool("ray"))
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(ExtraMissing, match=r"model-interop\[dask\]"):
        answers(parallel.Pool("dask"))
