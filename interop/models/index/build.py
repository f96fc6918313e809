"""The models of the installed libraries -> the index by which `identity` knows a bare state dict.

Each model is built without its weights' memory; of those whose backbones look the same, each is run
to see which compute the same. All of it takes some ten minutes.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from interop.errors import ModelError
from interop.facts import Json
from interop.identity.index.build import alike, document
from interop.models import catalog
from interop.models.index.equivalence import twins

Progress = Callable[[str], object]


def build_index(
    names: Iterable[str] | None = None, *, progress: Progress | None = None
) -> dict[str, Json]:
    """The index document for models by name ("library/name"; by default all that there are).

    `progress` is told in a line what is being done. Raises ModelError for a name that its library
    does not have, ExtraMissing where a library is not installed.
    """
    say = progress or (lambda line: None)
    chosen = list(names) if names is not None else select()
    entries = []
    for place, name in enumerate(chosen, 1):
        say(f"{place}/{len(chosen)} {name}")
        entries += catalog.entries(name)
    groups = alike(entries)
    done = iter(range(1, len(groups) + 1))
    compared = twins(groups, lambda line: say(f"twins {next(done)}/{len(groups)} {line}"))
    used = tuple(dict.fromkeys(name.partition("/")[0] for name in chosen))
    return document(entries, compared, catalog.built_from(used))


def select(
    patterns: Iterable[str] = (), libraries: Iterable[str] = tuple(catalog.LIBRARIES)
) -> list[str]:
    """The names of some libraries that fit any of some patterns ("timm/vit_*"); all without one.

    Raises ModelError for a pattern that fits no name, ExtraMissing for a library that is missing.
    """
    known = [name for library in libraries for name in catalog.names(library)]
    wanted = list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in known):
            what = f"no model's name fits {pattern!r}"
            raise ModelError(what, fix="write library/name, with * for any part")
    if not wanted:
        return known
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in wanted)]


def write(made: Mapping[str, Json], path: Path) -> int:
    """Stores an index, compressed where the name ends in .gz, and gives its size in bytes.

    It is put into place whole; the same index gives the same bytes.
    """
    text = json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()
    data = gzip.compress(text, mtime=0) if path.suffix == ".gz" else text + b"\n"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return len(data)


def state_dict_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a torchvision model's state dict, in definition order."""
    return dict(catalog.entry(f"torchvision/{name}").shapes)
