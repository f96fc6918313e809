"""The benign corpus -> real files of each format, to be mutated where they lie beside their own.

A new reader needs no entry here: it has seeds as soon as the corpus has a file of its format.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

from interop.errors import InteropError
from interop.reading import read

CORPUS = Path(__file__).resolve().parents[2] / "fixtures" / "files" / "benign"


class Seed(NamedTuple):
    """A file, and the folder or the files without which it is not whole."""

    path: Path
    beside: tuple[Path, ...]

    def lay(self, folder: Path) -> Path:
        """Copy what lies beside the file into a folder; gives where the file itself belongs."""
        for path in self.beside:
            target = folder / path.relative_to(self.path.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return folder / self.path.name


@cache
def seeds() -> dict[str, list[Seed]]:
    """Files by the container that they are read as; "index" for indexes of shards."""
    found: dict[str, list[Seed]] = {}
    for path in sorted(CORPUS.rglob("*")):
        try:
            container = read(path).container if path.is_file() else ""
        except InteropError:  # no model by itself, or its reader needs what is not installed
            continue
        if container:
            container = "index" if path.suffix == ".json" else container
            found.setdefault(container, []).append(Seed(path, _beside(path)))
    return found


def _beside(path: Path) -> tuple[Path, ...]:
    whole = path.parent != CORPUS
    others = path.parent.rglob("*") if whole else path.parent.glob(f"{path.name}.*")
    return tuple(other for other in sorted(others) if other.is_file() and other != path)
