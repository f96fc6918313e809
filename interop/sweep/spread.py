"""Batches of like work -> the result of each, from this process, a pool of processes or Dask.

A process may be killed in the middle (out of memory, a machine that goes): its batches are handed
out again, one piece at a time, so that at most the piece that kills every process stays undone.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from interop.cluster import DASK, dask_client
from interop.errors import ConfigError, first_line
from interop.sweep.options import SweepOptions

C = TypeVar("C")
T = TypeVar("T")
R = TypeVar("R")
Batch = Sequence[T]
Work = Callable[[C, Sequence[T]], R]
_AHEAD = 2  # batches a process that wait for it
_MOST_WAIT = 30  # seconds for a first worker of a cluster


def spread(
    work: Work[C, T, R],
    common: C,
    batches: Iterable[Batch[T]],
    how: SweepOptions,
    *,
    forks: bool = True,
) -> Iterator[tuple[Batch[T], R | None]]:
    """Yield each batch with `work(common, batch)`, in the order in which they are done.

    None is the result of a batch of one that killed every process which worked on it. With
    `forks` off, processes start afresh: a copy of one with threads may hang. Raises ConfigError if
    a cluster has no workers, or its scheduler goes, and whatever `work` raises.
    """
    if how.backend == DASK:
        yield from _on_dask(work, common, batches, how)
    elif how.processes < 2:
        for batch in batches:
            yield batch, work(common, batch)
    else:
        yield from _in_processes(work, common, iter(batches), how.processes, forks)


def batches_of(items: Sequence[T], size: int, workers: int) -> Iterator[Batch[T]]:
    """Cut work into batches of `size`, or of less if a worker had few of them."""
    size = max(1, min(size, len(items) // (4 * workers)))
    for start in range(0, len(items), size):
        yield items[start : start + size]


# ---------------------------------------------------------------- processes of this machine

_shared: tuple[Any, Any] | None = None


def _share(work: Any, common: Any) -> None:
    global _shared
    _shared = work, common
    gc.freeze()  # what is loaded stays, and need not be looked through for garbage


def _in_pool(batch: Any) -> Any:
    assert _shared is not None
    work, common = _shared
    return work(common, batch)


def _in_processes(
    work: Work[C, T, R], common: C, source: Iterator[Batch[T]], processes: int, forks: bool
) -> Iterator[tuple[Batch[T], R | None]]:
    from interop.identity.index import lookup

    lookup.load()  # once, before the processes part
    given = work, common, forks
    while lost := (yield from _until_killed(*given, source, processes, _AHEAD * processes)):
        ones: Iterator[Batch[T]] = iter([[one] for batch in lost for one in batch])
        while killers := (yield from _until_killed(*given, ones, 1, 1)):
            yield killers[0], None


def _until_killed(
    work: Work[C, T, R], common: C, forks: bool, source: Iterator[Batch[T]], processes: int,
    ahead: int,
) -> Generator[tuple[Batch[T], R], None, list[Batch[T]]]:  # fmt: skip
    """Yield results until a process is killed; return the batches that were out then."""
    lost: list[Batch[T]] = []
    out: dict[Future[R], Batch[T]] = {}
    pool = ProcessPoolExecutor(
        processes, None if forks else multiprocessing.get_context("spawn"), _share, (work, common)
    )

    def hand_out(most: int) -> None:
        for batch in islice(source, most if not lost else 0):
            try:
                out[pool.submit(_in_pool, batch)] = batch
            except BrokenProcessPool:
                lost.append(batch)

    try:
        hand_out(ahead)
        while out:
            for done in wait(out, return_when=FIRST_COMPLETED).done:
                batch = out.pop(done)
                if isinstance(done.exception(), BrokenProcessPool):
                    lost.append(batch)
                    continue
                yield batch, done.result()
                hand_out(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return lost


# ---------------------------------------------------------------- a cluster


def _on_dask(
    work: Work[C, T, R], common: C, batches: Iterable[Batch[T]], how: SweepOptions
) -> Iterator[tuple[Batch[T], R | None]]:
    with _quiet(), dask_client(how.scheduler, how.processes) as client:
        _has_workers(client, how.scheduler)
        source, out = iter(batches), {}

        def hand_out(more: Iterable[Batch[T]]) -> None:
            for batch in more:
                out[client.submit(work, common, batch, pure=False)] = batch

        hand_out(islice(source, _AHEAD * max(sum(client.nthreads().values()), 1)))
        while out:
            for done in _done(client, out, how.scheduler):
                batch = out.pop(done)
                if done.status == "finished":
                    yield batch, done.result()
                    hand_out(islice(source, 1))
                elif not _was_killed(done):
                    raise _unusable(done.exception(), how.scheduler)
                elif len(batch) > 1:
                    hand_out([one] for one in batch)
                else:
                    yield batch, None
                    hand_out(islice(source, 1))


def _has_workers(client: Any, scheduler: str | None) -> None:
    from dask.distributed import TimeoutError

    try:
        client.wait_for_workers(1, timeout=_MOST_WAIT)
    except TimeoutError:
        what = f"the Dask scheduler has no workers after {_MOST_WAIT} s"
        raise ConfigError(what, where=str(scheduler), fix="start some: dask worker …") from None


def _done(client: Any, out: dict[Any, Any], scheduler: str | None) -> list[Any]:
    """Wait for the next results. Raises ConfigError if the scheduler is gone."""
    from dask.distributed import CancelledError, TimeoutError
    from dask.distributed import wait as wait_for

    while True:
        try:
            wait_for(list(out), 5, "FIRST_COMPLETED")  # type: ignore[no-untyped-call]
        except TimeoutError:
            if client.status == "running":
                continue
        except (CancelledError, OSError):
            pass
        done = [future for future in out if future.status in ("finished", "error")]
        if done:
            return done
        if client.status != "running" or any(f.status in ("cancelled", "lost") for f in out):
            raise ConfigError(
                "the Dask scheduler is gone", where=str(scheduler or "Dask"),
                fix="start it and run the same command again: what was done is kept",
            )  # fmt: skip


def _was_killed(done: Any) -> bool:
    from dask.distributed import KilledWorker

    return isinstance(done.exception(), KilledWorker)


def _unusable(error: BaseException, scheduler: str | None) -> BaseException:
    if not isinstance(error, (ImportError, AttributeError)):
        return error
    what = f"the workers of the cluster cannot run interop ({first_line(error)})"
    fix = "install the same version of it there"
    return ConfigError(what, where=str(scheduler), fix=fix)


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask logs of workers that come and go is not for a person who waits for a report."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
