"""The tokenizer files of two folders -> what differs in what they do to a text.

Read as data: no tokenizer library is asked, so that an answer does not depend on what is installed.
A file rewritten in another order of keys, or with other white space, is the same tokenizer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from interop.check.json_fields import brief, differences
from interop.errors import InteropError
from interop.facts import Json, Part, PartChange, PartKind, Side
from interop.reading import parts as reading
from interop.reading.bytes.protobuf import BYTES, NARROW, VARINT, Malformed, fields

FAST = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
_MAP = "special_tokens_map.json"
_ADDED = "added_tokens.json"
_LINES = ("vocab.txt", "merges.txt", "vocab.bpe", "dict.txt")
_VOCABULARIES = ("vocab.json", "encoder.json", _ADDED)
# What the fast tokenizer's one file holds too: a library reads these only where that is absent.
_WITHIN_FAST = ("vocab.txt", "vocab.json", "merges.txt", "vocab.bpe", "encoder.json")
_PIECES = (".model", ".spm")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_FLAGS = ("single_word", "lstrip", "rstrip")
_MOST_PIECES = 1 << 21


def changes(a: Mapping[str, Part], b: Mapping[str, Part]) -> Iterator[PartChange]:
    """How B's tokenizer differs from A's; `a` and `b` are the text parts of one folder, by path."""
    if not any(_is_tokenizer(p) for p in a.values()) or not any(map(_is_tokenizer, b.values())):
        yield from _alone(a, b)  # one side alone has a tokenizer, or a template: told once
        return
    for path in dict.fromkeys((*a, *b)):
        one, two = a.get(path), b.get(path)
        if one is not None and two is not None:
            if not reading.same_bytes(one, two) and _name(path) not in _TEMPLATES:
                yield from _guarded(one, two, a, b)
        elif _name(path) not in _TEMPLATES:
            yield from _one_sided(path, a, b)
    yield from _template(a, b)


def _is_tokenizer(part: Part) -> bool:
    return part.kind is PartKind.TOKENIZER


def _alone(a: Mapping[str, Part], b: Mapping[str, Part]) -> Iterator[PartChange]:
    for kind in (PartKind.TOKENIZER, PartKind.CHAT_TEMPLATE):
        old, new = ([n for n, p in side.items() if p.kind is kind] for side in (a, b))
        if old and not new:
            yield PartChange(old[0], kind, side=Side.A)
        elif new and not old:
            yield PartChange(new[0], kind, side=Side.B)
        elif old != new or not all(_same_text(a[n], b[n]) for n in old):
            yield PartChange((old or new)[0], kind, "chat template")


def _same_text(one: Part, two: Part) -> bool:
    try:
        return reading.content(one) == reading.content(two)
    except InteropError:
        return False


def _guarded(
    one: Part, two: Part, a: Mapping[str, Part], b: Mapping[str, Part]
) -> Iterator[PartChange]:
    try:
        yield from list(_different(one, two, a, b))
    except (InteropError, ValueError, TypeError, AttributeError, KeyError, Malformed,
            RecursionError, MemoryError) as error:  # fmt: skip
        why = error.what if isinstance(error, InteropError) else "its content is not understood"
        yield PartChange(one.path, one.kind, why=why)


def _different(
    one: Part, two: Part, a: Mapping[str, Part], b: Mapping[str, Part]
) -> Iterator[PartChange]:
    name = _name(one.path)
    if one.kind is PartKind.CHAT_TEMPLATE:
        yield PartChange(one.path, one.kind, "chat template")
    elif name == FAST:
        yield from _fast(one, _json(one), _json(two))
    elif name == SETTINGS:
        stated = [_slim(_settings(_json(p)), p, side) for p, side in ((one, a), (two, b))]
        yield from _fields(one, stated[0], stated[1])
    elif name == _MAP:
        yield from _fields(one, _settings(_json(one)), _settings(_json(two)))
    elif name in _VOCABULARIES:
        field = "added tokens" if name == _ADDED else "vocabulary"
        yield from _vocabulary(one, _json(one), _json(two), field)
    elif name in _LINES:
        was, now = _lines(one), _lines(two)
        if "vocab.txt" in name or name == "dict.txt":
            yield from _vocabulary(one, _numbered(was), _numbered(now))
        elif was != now:
            yield _merges(one, was, now)
    elif name.endswith(_PIECES):
        yield from _sentencepiece(one, two)
    elif name.endswith(".json"):
        yield from _fields(one, _json(one), _json(two))
    else:
        yield PartChange(one.path, one.kind)


# ---------------------------------------------------------------- tokenizer.json


def _fast(part: Part, a: Json, b: Json) -> Iterator[PartChange]:
    was, now = (dict(v["model"]) for v in (a, b))
    old, new = (v.pop("vocab", None) for v in (was, now))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _vocabulary(part, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _scored(part, old, new)
    elif old != new:
        yield PartChange(part.path, part.kind, "vocabulary")
    joins = [[_pair(m) for m in v.pop("merges", None) or ()] for v in (was, now)]
    if joins[0] != joins[1]:
        yield _merges(part, *joins)
    yield from _fields(part, _filled(was), _filled(now), "model")
    tokens = [{str(t["content"]): t for t in v.get("added_tokens") or ()} for v in (a, b)]
    if tokens[0] != tokens[1]:
        name = next(n for n in {**tokens[0], **tokens[1]} if tokens[0].get(n) != tokens[1].get(n))
        yield _change(part, "added_tokens", *(f"{name}: {_token(t.get(name))}" for t in tokens))
    rest = ("model", "added_tokens", "version")
    was, now = ({k: v for k, v in x.items() if k not in rest and v is not None} for x in (a, b))
    yield from _fields(part, was, now, whole=True)


def _pair(merge: Json) -> tuple[str, ...]:
    """A merge as its two halves, in both forms in which the library has written them."""
    return tuple(merge.split(" ", 1) if isinstance(merge, str) else merge)


# What the library takes where a field is null or absent, whatever the type of model.
_DEFAULTS = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}  # fmt: skip


def _filled(model: Mapping[str, Json]) -> dict[str, Json]:
    return {**(_DEFAULTS if model.get("type") == "BPE" else {}), **model}


def _scored(part: Part, old: Sequence[Json], new: Sequence[Json]) -> Iterator[PartChange]:
    """Unigram's vocabulary: tokens in the order of their ids, each with a score."""
    was, now = ({str(t[0]): n for n, t in enumerate(v)} for v in (old, new))
    changes = list(_vocabulary(part, was, now))
    yield from changes
    if not changes and list(old) != list(new):
        name = next(str(x[0]) for x, y in zip(old, new, strict=True) if x != y)
        scores = (f"{name!r} scores {v[was[name]][1]}" for v in (old, new))
        yield _change(part, "scores", *scores)


# ---------------------------------------------------------------- vocabularies


def _vocabulary(
    part: Part, was: Mapping[str, Json], now: Mapping[str, Json], field: str = "vocabulary"
) -> Iterator[PartChange]:
    """One change for a vocabulary: "new tokens" where every token of A keeps its id."""
    if was == now:
        return
    if (moved := next((t for t in was if now.get(t) != was[t]), None)) is None:
        token = next(t for t in now if t not in was)
        more = f"{len(now):,} tokens, {token!r} is new"
        yield _change(part, "new tokens", f"{len(was):,} tokens", more)
        return
    yield _change(part, field, *(f"{len(v):,} tokens, {_id(v, moved)}" for v in (was, now)))


def _id(vocabulary: Mapping[str, Json], token: str) -> str:
    short = repr(token[:40])
    return f"{short} is {vocabulary[token]}" if token in vocabulary else f"without {short}"


def _numbered(lines: Sequence[str]) -> dict[str, int]:
    return {line: n for n, line in enumerate(lines)}


def _lines(part: Part) -> list[str]:
    text = reading.content(part).decode("utf-8")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines[1:] if lines and lines[0].startswith("#version") else lines


def _merges(part: Part, was: Sequence[object], now: Sequence[object]) -> PartChange:
    at = next((n for n, (x, y) in enumerate(zip(was, now, strict=False)) if x != y), None)
    at = min(len(was), len(now)) if at is None else at
    shown = (f"{len(v):,} merges, number {at} {_merge(v[at]) if at < len(v) else 'absent'}"
             for v in (was, now))  # fmt: skip
    return _change(part, "merges", *shown)


def _merge(merge: object) -> str:
    text = " ".join(map(str, merge)) if isinstance(merge, tuple) else str(merge)
    return repr(text[:40])


# ---------------------------------------------------------------- settings


def _settings(value: Mapping[str, Json]) -> dict[str, Json]:
    """Settings with each special token in one form; the template is compared by itself."""
    return {k: _token(v) for k, v in value.items() if k != "chat_template"}


def _slim(settings: dict[str, Json], part: Part, files: Mapping[str, Part]) -> dict[str, Json]:
    """Settings without the table of added tokens where tokenizer.json has the same: releases
    differ in whether they write it twice."""
    fast = files.get(part.path[: len(part.path) - len(SETTINGS)] + FAST)
    stated = settings.get("added_tokens_decoder")
    if fast is None or not isinstance(stated, Mapping):
        return settings
    known = {str(t.get("id")): t for t in _json(fast).get("added_tokens") or ()}
    same = all(
        all(known.get(n, {}).get(k) == v for k, v in token.items()) for n, token in stated.items()
    )
    return {k: v for k, v in settings.items() if not same or k != "added_tokens_decoder"}


def _token(value: Json) -> Json:
    """A token's text; as an object only where its flags are not the usual ones."""
    if not isinstance(value, Mapping) or "content" not in value:
        return value
    flags = {k: value[k] for k in _FLAGS if value.get(k)}
    kept = {k: value[k] for k in ("id", "special") if k in value}
    return {"content": value["content"], **flags, **kept} if flags or kept else value["content"]


def _fields(
    part: Part, a: Json, b: Json, front: str = "", *, whole: bool = False
) -> Iterator[PartChange]:
    """The fields that differ; `whole` keeps the first level's names alone."""
    names: set[str] = set()
    for name, side, old, new in differences(a, b, front):
        field = name.split(".", 1)[0] if whole else name
        if field not in names:
            names.add(field)
            detail = (old, new) if field == name else (f"{name} {old}", f"{name} {new}")
            yield PartChange(part.path, part.kind, field, side, *(brief(v) for v in detail))


def _change(part: Part, field: str, a: Json, b: Json) -> PartChange:
    return PartChange(part.path, part.kind, field, Side.BOTH, a, b)


def _json(part: Part) -> Mapping[str, Json]:
    document = reading.loads(part)
    if not isinstance(document, Mapping):
        raise ValueError("is not an object")
    return document


def _name(path: str) -> str:
    return path.rpartition("/")[2].lower()


# ---------------------------------------------------------------- files that one side alone has


def _one_sided(path: str, a: Mapping[str, Part], b: Mapping[str, Part]) -> Iterator[PartChange]:
    """A file of one side alone: nothing where what it says is in the other's files too."""
    side, own, other = (Side.A, a, b) if path in a else (Side.B, b, a)
    folder, name = path[: len(path) - len(_name(path))], _name(path)
    fast = all(f"{folder}{FAST}" in s for s in (a, b))
    if fast and side is Side.A and name.endswith(_PIECES):
        return  # the other form of what both have in tokenizer.json
    try:
        if fast and name in _WITHIN_FAST and _within(own[path], _json(own[f"{folder}{FAST}"])):
            return
        if name == _MAP and _says(_settings(_json(own[path])), _all_settings(folder, other)):
            return
        if name == _ADDED and _says(_json(own[path]), _added_ids(folder, other)):
            return
    except (InteropError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    why = "the other files need not say the same"
    yield PartChange(path, own[path].kind, side=side, why=why)


def _within(part: Part, fast: Mapping[str, Json]) -> bool:
    """Whether a vocabulary or a list of merges says what the fast tokenizer's file says."""
    name, model = _name(part.path), fast["model"]
    if name in ("merges.txt", "vocab.bpe"):
        return [_pair(m) for m in _lines(part)] == [_pair(m) for m in model["merges"]]
    stated = _numbered(_lines(part)) if name == "vocab.txt" else _json(part)
    added = {t["content"]: t["id"] for t in fast.get("added_tokens") or ()}
    known = {**model["vocab"], **added}
    return bool(stated) and all(known.get(token) == n for token, n in stated.items())


def _says(stated: Mapping[str, Json], known: Mapping[str, Json]) -> bool:
    return all(k in known and _token_text(known[k]) == _token_text(v) for k, v in stated.items())


def _token_text(value: Json) -> Json:
    if isinstance(value, list):
        return [_token_text(v) for v in value]
    return value["content"] if isinstance(value, Mapping) and "content" in value else value


def _all_settings(folder: str, files: Mapping[str, Part]) -> dict[str, Json]:
    part = files.get(f"{folder}{SETTINGS}")
    settings = _settings(_json(part)) if part else {}
    if "extra_special_tokens" in settings:  # the newer name of the same list
        settings.setdefault("additional_special_tokens", settings["extra_special_tokens"])
    return settings


def _added_ids(folder: str, files: Mapping[str, Part]) -> dict[str, Json]:
    part = files.get(f"{folder}{FAST}")
    listed = _json(part).get("added_tokens") if part else None
    return {t["content"]: t["id"] for t in listed or ()}


def _template(a: Mapping[str, Part], b: Mapping[str, Part]) -> Iterator[PartChange]:
    """The chat template, wherever each side keeps it."""
    try:
        was, now = (_chat(side) for side in (a, b))
    except (InteropError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        yield PartChange(SETTINGS, PartKind.CHAT_TEMPLATE, why="a chat template cannot be read")
        return
    if was == now:
        return
    paths = [p for p in (*b, *a) if _name(p) in (*_TEMPLATES, SETTINGS)]
    side = Side.BOTH if was and now else Side.A if was else Side.B
    old, new = ("…" if v else None for v in (was, now))
    yield PartChange(paths[0], PartKind.CHAT_TEMPLATE, "chat template", side, old, new)


def _chat(files: Mapping[str, Part]) -> Json:
    by_name = {_name(path): part for path, part in files.items()}
    if (jinja := by_name.get(_TEMPLATES[0])) is not None:
        return reading.content(jinja).decode("utf-8").rstrip("\n")
    for name in (_TEMPLATES[1], SETTINGS):
        if (part := by_name.get(name)) is not None:
            template = _json(part).get("chat_template")
            if template is not None:
                return template.rstrip("\n") if isinstance(template, str) else template
    return None


# ---------------------------------------------------------------- SentencePiece


def _sentencepiece(one: Part, two: Part) -> Iterator[PartChange]:
    """A SentencePiece model: pieces with scores and types, then how texts are normalised."""
    was, now = (_model(reading.content(p)) for p in (one, two))
    (old, old_rest), (new, new_rest) = was, now
    ids = [{piece: n for n, (piece, _, _) in enumerate(v)} for v in (old, new)]
    changes = list(_vocabulary(one, ids[0], ids[1]))
    yield from changes
    if not changes and old != new:
        piece = next(x[0] for x, y in zip(old, new, strict=True) if x != y)
        yield _change(one, "scores", *(f"{piece!r} {v[ids[0][piece]][1:]}" for v in (old, new)))
    if old_rest.get(3) != new_rest.get(3):
        yield PartChange(one.path, one.kind, "normalizer")
    others = [{k: v for k, v in rest.items() if k != 3} for rest in (old_rest, new_rest)]
    if others[0] != others[1] or (not changes and old == new and old_rest == new_rest):
        yield PartChange(one.path, one.kind)  # how it was trained, or bytes of another kind


def _model(data: bytes) -> tuple[list[tuple[str, float, int]], dict[int, bytes]]:
    """The pieces of a ModelProto, and its other messages (2: training, 3: normaliser)."""
    pieces: list[tuple[str, float, int]] = []
    rest: dict[int, bytes] = {}
    for number, wire, start, end in fields(data, 0, len(data)):
        if number == 1 and wire == BYTES:
            pieces.append(_piece(data, start, end))
            if len(pieces) > _MOST_PIECES:
                raise ValueError("has too many pieces")
        elif wire == BYTES:
            rest[number] = rest.get(number, b"") + data[start:end]
    if not pieces:
        raise ValueError("has no pieces")
    return pieces, rest


def _piece(data: bytes, start: int, end: int) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, 1
    for number, wire, a, b in fields(data, start, end):
        if number == 1 and wire == BYTES:
            text = data[a:b].decode("utf-8", "surrogateescape")
        elif number == 2 and wire == NARROW:
            score = struct.unpack("<f", data[a:b])[0]
        elif number == 3 and wire == VARINT:
            kind = a
    return text, score, kind
