"""Two JSON values -> the fields in which they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from interop.facts import Json, Side

MOST_TEXT = 200  # characters of a value that a finding shows


def differences(a: Json, b: Json, front: str = "") -> Iterator[tuple[str, Side, Json, Json]]:
    """The fields in which two JSON values differ, nested ones by dots; lists count as a whole."""
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        if not alike(a, b):
            yield front or "content", Side.BOTH, a, b
        return
    for key in dict.fromkeys((*a, *b)):
        name = f"{front}.{key}" if front else key
        if key not in b:
            yield name, Side.A, a[key], None
        elif key not in a:
            yield name, Side.B, None, b[key]
        else:
            yield from differences(a[key], b[key], name)


def alike(a: Json, b: Json) -> bool:
    """Whether two JSON values are the same; true is not 1, and 1 is 1.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


def brief(value: Json) -> Json:
    """A value as a report holds it: a long one as the beginning of its JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"
