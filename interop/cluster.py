"""Where work on many models is done: the names of the backends, and a client of a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interop.errors import ConfigError, ExtraMissing

LOCAL, DASK, RAY = "local", "dask", "ray"
MANY = (LOCAL, DASK)  # of inspect --all and gate --all
JOBLIB = ("loky", "threading", DASK, RAY)  # of assess
SCHEDULER = "Address of a Dask scheduler; without it a cluster is started here."


def cpus() -> int:
    """Return how many processors this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


@contextmanager
def dask_client(scheduler: str | None, jobs: int) -> Iterator[Any]:
    """Give a client of the scheduler, or of a cluster of `jobs` processes that is started here.

    Raises ExtraMissing if Dask is not installed, ConfigError if no scheduler answers.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        what = "--backend dask needs dask.distributed, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[dask]'") from None
    given = {"address": scheduler} if scheduler else {
        "n_workers": max(jobs, 1), "threads_per_worker": 1, "processes": True,
        "dashboard_address": ":0",  # any free port
    }  # fmt: skip
    try:
        client: Any = Client(**given)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # ValueError: an address of no known kind
        raise ConfigError(
            f"no Dask scheduler answers ({error})", where=str(scheduler),
            fix="start one with dask scheduler, or leave --scheduler away",
        ) from None  # fmt: skip
    with client:
        yield client
