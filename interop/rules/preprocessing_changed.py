"""B's inputs are prepared in another way than A's.

What
    Of images the size, crop, colour, scale, interpolation, mean or standard deviation differ; of
    texts the tokenizer, length, padding or lower case; of sounds the sampling rate, channels,
    normalisation or window. A field that one side alone states is reported as unknown.

Why
    Where the service prepares the input as A wants it, B is fed something that it was not trained
    on: it answers, a few points worse.

Example
    mean (0.485, 0.456, 0.406) -> (0.5, 0.5, 0.5)

Fix
    Deploy B with its own preprocessing, or train it with A's.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import (
    Answer,
    AnyPreprocessing,
    Case,
    Finding,
    Identity,
    Intent,
    Level,
    PartKind,
    Rule,
)
from interop.rules import finding

RULE = Rule("preprocessing-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))
_ABOUT = ("source", "evidence")  # where a fact comes from is no part of it
_ORDER = ("color", "resize", "crop", "interpolation", "mean", "std")


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.preprocessing, case.b.preprocessing
    if old is None or new is None or old == new:
        return
    if old.kind != new.kind:
        facts = {"kind": [old.kind, new.kind]}
        yield finding(RULE, f"inputs were {old.kind} and are {new.kind}", facts=facts)
        return
    differ = _names(old, new)
    if old.kind == "text" and all(map(_has_tokenizer, (case.a, case.b))):
        # tokenizer-changed reads what the hash, and the settings beside it, stand for.
        beside = all(p in _paths(i) for i, p in ((case.a, old.source), (case.b, new.source)))
        differ = [] if beside else [n for n in differ if n != "tokenizer"]
    # Of images "not cropped" is said by None, of the others that nothing is stated.
    open_ = [n for n in differ if old.kind != "image" and None in _both(old, new, n)]
    for names, answer in (([n for n in differ if n not in open_], Answer.NO),
                          (open_, Answer.UNKNOWN)):  # fmt: skip
        if names:
            shown = {n: _both(old, new, n) for n in names}
            what = ", ".join(f"{n} {was} -> {now}" for n, (was, now) in shown.items())
            pairs = {n: list(pair) for n, pair in shown.items()}
            yield finding(RULE, what, facts=pairs, answer=answer)


def _has_tokenizer(identity: Identity) -> bool:
    return any(p.kind is PartKind.TOKENIZER for p in identity.manifest.parts)


def _paths(identity: Identity) -> set[str]:
    return {p.path for p in identity.manifest.parts}


def _names(old: AnyPreprocessing, new: AnyPreprocessing) -> list[str]:
    from dataclasses import fields

    names = [f.name for f in fields(old) if f.name not in _ABOUT]
    names.sort(key=lambda n: _ORDER.index(n) if n in _ORDER else len(_ORDER))
    return [n for n in names if getattr(old, n) != getattr(new, n)]


def _both(old: AnyPreprocessing, new: AnyPreprocessing, name: str) -> tuple[object, object]:
    return getattr(old, name), getattr(new, name)
