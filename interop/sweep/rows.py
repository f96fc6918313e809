"""Models of a store -> a flat row each: what `interop inspect` says of a file, by its header.

Whatever is wrong with a file is in its row; no file ends a sweep.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from interop import __version__
from interop.check import found_in
from interop.errors import InteropError
from interop.facts import Identity, Json, Level, Manifest, SweptAs
from interop.identity import identify, places_of, split_place
from interop.identity.describe import dtypes, head_line, weights
from interop.identity.user_facts import UserFacts
from interop.reading import read
from interop.reading.bytes.address import is_remote, shown
from interop.records import dataclass, field
from interop.report.sanitize import brief
from interop.sweep.store import Model, at

Row = dict[str, Json]
# What a row holds, in its order; the words are those of `interop.sweep.table`.
COLUMNS = {
    "address": "text", "outcome": "text", "bytes": "number", "container": "text",
    "architecture": "text", "architectures": "texts", "head": "text", "outputs": "number",
    "labels": "number", "state_dicts": "number", "tensors": "number", "parameters": "number",
    "dtypes": "texts", "header_sha256": "text", "findings": "findings", "error": "text",
    "error_rule": "text", "stamp": "text", "interop": "text",
}  # fmt: skip
LISTS = ("texts", "findings")
MOST_TEXT = 300  # characters of a finding or an error
_AT_ONCE = 16  # files of a server that are read at a time: most of it is waiting


class Item(NamedTuple):
    """A model to be read; `before` is the stamp of the row that there is already, if any."""

    model: Model
    before: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What all items have in common: their root as rows have it, the same as it is opened, and
    what a person says of files that do not say it."""

    root: str
    opened: str
    facts: UserFacts = field(default_factory=UserFacts)


def rows(reading: Reading, items: Sequence[Item]) -> list[Row | None]:
    """Return the row of each item; None if its row of before still holds."""
    if any(is_remote(at(reading.opened, item.model.path)) for item in items):
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            found = list(threads.map(lambda item: row(reading, item), items))
    else:
        found = [row(reading, item) for item in items]
    # The command line all but switches the collector off, for the sake of one large file.
    gc.collect(1)
    return found


def row(reading: Reading, item: Item) -> Row | None:
    """Return the row of one model; None if its row of before still holds."""
    model, place = item.model, at(reading.opened, item.model.path)
    try:
        if not model.stamp and is_remote(place):
            model = _looked_at(place, model)
            if item.before and item.before == model.stamp:
                return None
        known = _read(place, model, reading.facts)
    except Exception as error:
        known = _unreadable(error, model)
    return _whole(reading, model, known)


def killed(reading: Reading, item: Item) -> Row:
    """Return the row of a model of which every process was killed that read it."""
    what = "the process that reads it is killed, possibly out of memory"
    return _whole(reading, item.model, {"outcome": str(SweptAs.UNREADABLE), "error": what})


def _whole(reading: Reading, model: Model, known: Row) -> Row:
    """A row of all columns, in their order."""
    known = {
        "address": shown(at(reading.root, model.path)), "bytes": model.size,
        "stamp": model.stamp, "interop": __version__, **known,
    }  # fmt: skip
    empty: Row = {name: [] if kind in LISTS else None for name, kind in COLUMNS.items()}
    return {name: known.get(name, nothing) for name, nothing in empty.items()}


def _looked_at(place: str, model: Model) -> Model:
    """A model of a list, with what its server says of it."""
    from interop.reading.bytes import remote

    size, stamp = remote.file(split_place(place)[0])
    return model._replace(size=size, stamp=f"{size} {stamp}" if size else "")


def _read(place: str, model: Model, facts: UserFacts) -> Row:
    path, inner = split_place(place)
    with _sized(path, model):
        manifest = read(path)
    places = [inner] if inner is not None else places_of(manifest)
    seen = [
        identify(
            manifest, place=p, arch=facts.arch, labels=facts.labels, preprocessing=facts.stated
        )
        for p in places
    ]
    return _facts(manifest, seen)


@contextmanager
def _sized(path: str, model: Model) -> Iterator[None]:
    """A single file of a server is not asked for its size, which the listing has."""
    if not is_remote(path) or model.folder:
        yield
        return
    from interop.reading.bytes import remote

    with remote.listed(path, model.size):
        yield


def _facts(manifest: Manifest, seen: Sequence[Identity]) -> Row:
    first = seen[0]
    findings, _ = found_in(seen)
    faulty = any(f.level is Level.ERROR for f in findings)
    names = first.labels.names
    return {
        "outcome": str(SweptAs.FAULTY if faulty else SweptAs.OK),
        "bytes": manifest.size,
        "container": manifest.container,
        "architecture": first.architecture,
        "architectures": [a.name for a in first.architectures],
        "head": None if first.head is None else head_line(first.head),
        "outputs": None if first.head is None else first.head.outputs or None,
        "labels": None if names is None else len(names),
        "state_dicts": len(manifest.state_dicts),
        "tensors": len(first.tensors),
        "parameters": weights(first),
        "dtypes": dtypes(first),
        "header_sha256": manifest.header_sha256,
        "findings": [
            {"level": str(f.level), "rule": f.rule, "what": brief(f.what, MOST_TEXT)}
            for f in findings
        ],
    }


def _unreadable(error: Exception, model: Model) -> Row:
    if not isinstance(error, InteropError):
        what = f"a fault of interop's own: {type(error).__name__}: {error}"
        return {"outcome": str(SweptAs.UNREADABLE), "error": brief(what, MOST_TEXT)}
    other = model.perhaps and error.rule == "file-unrecognised"
    return {
        "outcome": str(SweptAs.NO_MODEL if other else SweptAs.UNREADABLE),
        "error": brief(error.what, MOST_TEXT),
        "error_rule": error.rule or None,
    }
