"""Two folders' parts -> what differs in them, file by file and field by field.

Bytes first, by hash; only where they differ is the content read, as data: JSON by its fields, a
tokenizer by what it does to a text, weights by their tensors. The rules say what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interop.check import tokenizers
from interop.check.json_fields import MOST_TEXT, brief, differences
from interop.errors import InteropError
from interop.facts import Json, Manifest, Part, PartChange, PartKind, Parts, Side
from interop.reading import parts as reading
from interop.reading.bytes.source import Source

MOST_CHANGES = 1000
_AS_JSON = frozenset(PartKind) - {PartKind.COPY, PartKind.CODE}
_TEXT = (PartKind.TOKENIZER, PartKind.CHAT_TEMPLATE)


def compare(a: Manifest, b: Manifest) -> Parts:
    """How B's parts differ from A's; nothing where neither has any."""
    if not a.parts and not b.parts:
        return Parts()
    changes = tuple(_limited(_changes(a, b)))
    both = {p.kind for p in a.parts} & {p.kind for p in b.parts}
    return Parts(changes, frozenset(both - {c.kind for c in changes}))


def _limited(changes: Iterator[PartChange]) -> Iterator[PartChange]:
    for n, change in enumerate(changes):
        if n == MOST_CHANGES:
            why = f"more than {MOST_CHANGES:,} differences"
            yield PartChange("…", PartKind.UNKNOWN, why=why)
            return
        yield change


def _changes(a: Manifest, b: Manifest) -> Iterator[PartChange]:
    old, new = ({p.path: p for p in m.parts} for m in (a, b))
    for path in dict.fromkeys((*old, *new)):
        one, two = old.get(path), new.get(path)
        kind = (one or two).kind  # type: ignore[union-attr]
        if kind in _TEXT:
            continue
        if one is None or two is None:
            yield PartChange(path, kind, side=Side.A if two is None else Side.B)
        elif not reading.same_bytes(one, two):
            yield from _guarded(one, two, a, b)
    for folder in dict.fromkeys(p.path.rpartition("/")[0] for p in (*a.parts, *b.parts)):
        was, now = ({n: p for n, p in s.items() if _is_text(p, folder)} for s in (old, new))
        yield from tokenizers.changes(was, now)


def _is_text(part: Part, folder: str) -> bool:
    return part.kind in _TEXT and part.path.rpartition("/")[0] == folder


def _guarded(one: Part, two: Part, a: Manifest, b: Manifest) -> Iterator[PartChange]:
    """How two files differ; that they do, where the content cannot be compared."""
    try:
        yield from list(_different(one, two, a, b))
    except (InteropError, ValueError, TypeError, KeyError, AttributeError, RecursionError,
            MemoryError) as error:  # fmt: skip
        why = error.what if isinstance(error, InteropError) else "its content is not understood"
        yield PartChange(one.path, one.kind, why=why[:MOST_TEXT])


def _different(one: Part, two: Part, a: Manifest, b: Manifest) -> Iterator[PartChange]:
    weights = one.path.endswith(reading.WEIGHTS)
    if one.kind is PartKind.COPY:
        if not _vouched(two, b):
            yield PartChange(one.path, one.kind, why=one.fault or two.fault)
    elif weights and one.kind in (PartKind.MODULE, PartKind.ADAPTER):
        yield from _weights(one, two, a, b)
    elif one.kind is PartKind.RECEIPT:
        was, now = (_promised(reading.loads(p)) for p in (one, two))
        for name, side, old, new in differences(was, now):
            yield PartChange(one.path, one.kind, name, side, brief(old), brief(new))
    elif one.kind in _AS_JSON and one.path.endswith(".json"):
        was, now = (reading.loads(p) for p in (one, two))
        for name, side, old, new in differences(was, now):
            yield PartChange(one.path, one.kind, name, side, brief(old), brief(new))
    elif reading.content(one).split() != reading.content(two).split() or _spaced(one):
        yield PartChange(one.path, one.kind)


def _promised(receipt: Json) -> dict[str, Json]:
    """What a receipt says to whoever runs the bundle; how it came about differs with every
    export."""
    kept = {k: receipt.get(k) for k in ("inputs", "outputs", "signature", "domain")}
    return {**kept, "proofs": {p["name"]: p["holds"] for p in receipt.get("proofs") or ()}}


def _spaced(part: Part) -> bool:
    """Whether white space within a file has a meaning: anywhere but in the labels' own lines."""
    return part.kind is not PartKind.LABELS


def _vouched(part: Part, of: Manifest) -> bool:
    """Whether a bundle's receipt names the very bytes of a file beside the weights."""
    receipt = next((p for p in of.parts if p.path == reading.RECEIPT), None)
    if receipt is None:
        return False
    document = reading.loads(receipt)
    files = document.get("files") if isinstance(document, Mapping) else None
    stated = files.get(part.path) if isinstance(files, Mapping) else None
    return stated is not None and reading.hashed(part).sha256 == stated


def _weights(one: Part, two: Part, a: Manifest, b: Manifest) -> Iterator[PartChange]:
    """How the weights of a module or adapter differ: other tensors, or other values."""
    from interop.reading import read

    was, now = (
        {t.name: f"{t.dtype} {t.shape}" for s in read(p.file).state_dicts for t in s.tensors}
        for p in (one, two)
    )
    if was != now:
        for name in [n for n in {**was, **now} if was.get(n) != now.get(n)]:
            side = Side.B if name not in was else Side.A if name not in now else Side.BOTH
            field = f"tensors.{name}"
            yield PartChange(one.path, one.kind, field, side, was.get(name), now.get(name))
        return
    # A module that was trained with the whole model differs as the model itself does.
    why = "" if _same_model(a, b) else "the model's own weights differ too"
    yield PartChange(one.path, one.kind, "values", why=why)


def _same_model(a: Manifest, b: Manifest) -> bool:
    """Whether the files that the models themselves lie in have the same bytes."""
    if a.size != b.size or a.header_sha256 != b.header_sha256:
        return False
    if a.content_sha256 is not None and b.content_sha256 is not None:
        return a.content_sha256 == b.content_sha256
    return _hashes(a) == _hashes(b)


def _hashes(manifest: Manifest) -> list[str]:
    files = {t.storage.file for s in manifest.state_dicts for t in s.tensors if t.storage}
    hashes = []
    for file in sorted(files or {manifest.file}):
        with Source(file) as source:
            hashes.append(source.sha256())
    return hashes
