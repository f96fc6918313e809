"""What every folder that shows a failure has: an account, a script, and nothing of anybody else."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from interop import __version__
from interop.errors import InteropError
from interop.facts import Json
from interop.files import Staging
from interop.proof.divergence import Departure
from interop.report.json import dump
from interop.runtimes.base import Array

ACCOUNT, SCRIPT, README = "departure.json", "reproduce.py", "README.txt"
_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnx-ir", "numpy")
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime")

# A function of the scripts, which import numpy and onnxruntime alone.
DIFFERENCE = '''def difference(a, b):
    """The largest difference as a share of the largest value."""
    if a.shape != b.shape:
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0)) if b.size else 0.0
'''


@contextmanager
def written(
    folder: Path, found: Departure, script: str, readme: str, more: Mapping[str, Json] = {}
) -> Iterator[tuple[Path, dict[str, int]]]:
    """A place to write the other files to, and a dict that has all files' sizes in the end.

    The folder appears whole or not at all; an older one of its kind is replaced, and anything else
    is not: InteropError. `more` goes into the account.
    """
    empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not empty and not ((folder / ACCOUNT).is_file() and (folder / SCRIPT).is_file()):
        what = "exists and is no reproduction of a failure"
        raise InteropError(what, where=str(folder), fix="move it away, or give another name")
    files: dict[str, int] = {}
    with Staging(folder, folder=True) as staging:
        yield staging.path, files
        account: dict[str, Json] = {**found.json(), **more, "environment": environment()}
        (staging.path / ACCOUNT).write_text(dump(account), "utf-8", newline="\n")
        (staging.path / SCRIPT).write_text(script, "utf-8", newline="\n")
        (staging.path / README).write_text(readme, "utf-8", newline="\n")
        there = (p for p in sorted(staging.path.rglob("*")) if p.is_file())
        files.update((p.name, p.stat().st_size) for p in there)
        staging.commit()


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by their names, as .npz, without pickles."""
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **{n: np.asarray(a) for n, a in arrays.items()})


def environment() -> dict[str, Json]:
    """The versions that figures depend on; nothing that tells whose machine it is."""
    environment: dict[str, Json] = {
        "interop": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    environment |= {name: _version(name) for name in _PACKAGES}
    environment["onnxruntime"] = next((v for v in map(_version, _RUNTIMES) if v), None)
    return environment


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
