"""New models and models that are gone -> which of the new is which of the gone under another name.

git itself goes by like bytes, and a model that was trained again has none in common with the one
before: here names decide too, and only where they leave one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import PurePosixPath

Ids = tuple[str, ...]


def renames(
    new: Mapping[str, Ids], gone: Mapping[str, Ids]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The path of a new model -> that of the one which it was; and of those for which this is not
    clear -> the paths that it may have had.

    Both map a path to what identifies the content (`Unit.identity`). Alike are, in this order: the
    same blobs; the same name but for its endings; the same folder and endings.
    """
    pairs: dict[str, str] = {}
    for alike in (_blobs, _stem, _place):
        after = _by(alike, {p: ids for p, ids in new.items() if p not in pairs})
        before = _by(alike, {p: ids for p, ids in gone.items() if p not in pairs.values()})
        for key, paths in after.items():
            if len(paths) == len(before.get(key, ())) == 1:
                pairs[paths[0]] = before[key][0]
    left = [p for p in gone if p not in pairs.values()]
    may = {
        path: sorted(p for p in left if _stem(p) == _stem(path) or _place(p) == _place(path))
        for path in new
        if path not in pairs
    }
    return pairs, {path: candidates for path, candidates in may.items() if candidates}


def _by(
    alike: Callable[[str, Ids], Hashable], models: Mapping[str, Ids]
) -> dict[Hashable, list[str]]:
    groups: dict[Hashable, list[str]] = {}
    for path, ids in models.items():
        if key := alike(path, ids):
            groups.setdefault(key, []).append(path)
    return groups


def _blobs(_path: str, ids: Ids) -> Hashable:
    """Git's ids of the files' content; none of what lies in no repository."""
    blobs = [one.rpartition(" ")[2] for one in ids]
    return tuple(sorted(blobs)) if blobs and all(len(b) >= 40 for b in blobs) else None


def _stem(path: str, _ids: Ids = ()) -> Hashable:
    return PurePosixPath(path).name.partition(".")[0]


def _place(path: str, _ids: Ids = ()) -> Hashable:
    pure = PurePosixPath(path)
    return str(pure.parent), "".join(pure.suffixes)
