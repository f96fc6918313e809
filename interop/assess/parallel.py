"""Many like pieces of work -> their results, here or on a cluster, each kept as it is done.

joblib hands them out: to this process, to processes of this machine, to Dask or to Ray. A piece
knows all it needs, so that its result is the same wherever it was computed; a run that was killed
finds what it had done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.cluster import DASK, JOBLIB, RAY, dask_client
from interop.errors import ConfigError, ExtraMissing
from interop.files import placed

Say = Callable[[str], None]
Result = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """`function(*arguments)`, which gives arrays by name; `key` names them on disk, "" where they
    are not kept."""

    function: Callable[..., Result]
    arguments: tuple[Any, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Where work is done: `backend` of joblib's, `jobs` at a time, on Dask's `scheduler`."""

    backend: str = "loky"
    jobs: int = 1
    scheduler: str | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Raises ConfigError for no such backend, ExtraMissing where its package is not there."""
        if self.backend not in JOBLIB:
            what = f"{self.backend!r} is no backend"
            raise ConfigError(what, fix=f"there is {', '.join(JOBLIB)}")
        import joblib  # type: ignore[import-untyped]

        with contextlib.ExitStack() as opened:
            if self.backend == DASK:
                opened.enter_context(dask_client(self.scheduler, self.jobs))
            if self.backend == RAY:
                _ray()
            opened.enter_context(joblib.parallel_config(self.backend, n_jobs=self.jobs))
            yield


def _ray() -> None:
    try:
        from ray.util.joblib import register_ray  # type: ignore[import-not-found]
    except ImportError:
        what = "--backend ray needs ray, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[ray]'") from None
    register_ray()


def done(
    pieces: Sequence[Piece], pool: Pool, folder: Path | None, what: str, say: Say
) -> list[Any]:
    """The result of each piece, in order. `folder` keeps those that have a key.

    Raises whatever a piece raises.
    """
    import joblib

    results: dict[int, Result] = {}
    for place, piece in enumerate(pieces):
        if folder is not None and piece.key and (kept := load(folder, piece.key)) is not None:
            results[place] = kept
    rest = [i for i in range(len(pieces)) if i not in results]
    if not rest:
        return [results[i] for i in range(len(pieces))]
    say(f"{what}: {len(results)} of {len(pieces)}")
    with pool.open():
        backend, _ = joblib.parallel.get_active_backend()
        # Ray's gives results all at once: what a piece keeps is on disk as it is done all the same.
        as_done = getattr(backend, "supports_return_generator", False)
        run = joblib.Parallel(return_as="generator_unordered" if as_done else "list")
        calls = (
            joblib.delayed(_kept)(i, pieces[i], None if folder is None else str(folder))
            for i in rest
        )
        for place, result in run(calls):
            results[place] = result
            say(f"{what}: {len(results)} of {len(pieces)}")
    return [results[i] for i in range(len(pieces))]


def _kept(place: int, piece: Piece, folder: str | None) -> tuple[int, Result]:
    result = piece.function(*piece.arguments)
    if folder is not None and piece.key:
        store(Path(folder), piece.key, result)
    return place, result


def key(*parts: Any) -> str:
    """One name for what a result depends on: numbers, texts and arrays."""
    hasher = sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            hasher.update(
                f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes()
            )
        else:
            hasher.update(repr(part).encode())
        hasher.update(b"\0")
    return hasher.hexdigest()


def load(folder: Path, name: str) -> Result | None:
    try:
        with np.load(folder / f"{name}.npz") as archive:
            return {n: archive[n] for n in archive.files}
    except (OSError, ValueError, KeyError):
        return None


def store(folder: Path, name: str, result: Result) -> None:
    """Whole or not at all; a cache that cannot be written is done without."""
    with contextlib.suppress(ConfigError), placed(folder / f"{name}.npz") as part:
        np.savez(part, **dict(result))  # type: ignore[arg-type]
