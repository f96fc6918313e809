"""A map of tensors between two files -> its JSON, and back; and the views by which it is checked.

The document, of schema 1:

    from, to      the two files' paths; `from` is the one whose tensors are used
    prefix        {"from": ..., "to": ...}: what was taken off their names
    place         {"from": ..., "to": ...}: where in the files the state dicts lie
    basis         what vouches for the map; "" where nothing does, and it is unproved
    tensors       a list, one entry for each tensor of `to` that can be made:
                  {"to": name, "from": [names], "how": ..., "step": ...}, with `how` and `step` as
                  in interop.facts.Mapped; step "name" is a tensor that both have
    unmapped      {"from": [names not used], "to": [names not filled]}, weights alone
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from interop.check import renames
from interop.check.structure import is_derived
from interop.errors import ConfigError
from interop.facts import HeadKind, Identity, Mapped, MapStep, Pairing, TensorSpec
from interop.facts.sections.check import FromTo, MappedTensor, TensorMap, Unmapped
from interop.reading.bytes import json_text
from interop.records import replace

SCHEMA = 1
_MOST_HEADS = 2  # DeiT's class and distillation heads
_FIX = "write it with interop check A B --map-out MAP"


def whole(pairing: Pairing) -> list[Mapped]:
    """The map with the tensors that both files have under one name and in one shape."""
    given = {m.a.name for m in pairing.mapped}
    equal = [p for p in pairing.matched if p.a.name not in given]
    return [*pairing.mapped, *(Mapped(p.a, (p.b,), "", MapStep.NAME) for p in equal)]


def with_heads(mapped: Sequence[Mapped], a: Identity, b: Identity) -> list[Mapped]:
    """The map with the heads that it leaves over, one by one, each in the width that B's has.

    Layers left over on both sides pair in their order where they are linear, have the same parts
    and input width, and are heads as far as that is known; else the map stays as it is.
    """
    mapped = [*mapped, *_tied_head(mapped, a, b)]
    left = _by_path(a, {m.a.name for m in mapped})
    over = _by_path(b, {t.name for m in mapped for t in m.b})
    pairs = list(zip(left.values(), over.values(), strict=False))
    alike = len(left) == len(over) and all(_form(x) == _form(y) for x, y in pairs)
    if not alike or not (_are_heads(left, a) and _are_heads(over, b)):
        return list(mapped)
    more = [
        Mapped(mine, (theirs[part],), "", MapStep.HEAD)
        for ours, theirs in pairs
        for part, mine in ours.items()
    ]
    return [*mapped, *more]


def filled(a: Identity, b: Identity, pairing: Pairing) -> float:
    """The share of A's weight bytes that the map makes of B's, a head of another width aside.

    0 where weights of either side are left over: then nothing can be written of it.
    """
    mapped = with_heads(whole(pairing), a, b)
    if any(left_over(a, b, mapped)):
        return 0.0
    names = {m.a.name for m in mapped if m.step != MapStep.HEAD}
    weights = [t for t in a.tensors if not is_derived(t)]
    size = sum(t.nbytes for t in weights)
    return sum(t.nbytes for t in weights if t.name in names) / size if size else 0.0


def unmapped(a: Identity, b: Identity, mapped: Iterable[Mapped]) -> tuple[list[str], list[str]]:
    """Weights of A that a map with the tensors of equal name does not fill, and of B unused."""
    given = {m.a.name: m for m in mapped}
    shapes = {t.name: t.shape for t in b.tensors}
    equal = {t.name for t in a.tensors if t.name not in given and shapes.get(t.name) == t.shape}
    used = {t.name for m in given.values() for t in m.b} | equal
    used |= {name for name, owner in renames.tied(b.tensors).items() if owner in used}
    accounted = given.keys() | equal
    return (
        [t.name for t in a.tensors if not is_derived(t) and t.name not in accounted],
        [t.name for t in b.tensors if not is_derived(t) and t.name not in used],
    )


def left_over(
    target: Identity, source: Identity, mapped: Sequence[Mapped]
) -> tuple[list[str], list[str]]:
    """Weights of the target that a whole map does not fill, and of the source that it leaves."""
    names, used = {m.a.name for m in mapped}, {t.name for m in mapped for t in m.b}
    used |= {n for n, owner in renames.tied(source.tensors).items() if owner in used}
    return (
        [t.name for t in target.tensors if not is_derived(t) and t.name not in names],
        [t.name for t in source.tensors if not is_derived(t) and t.name not in used],
    )


def _tied_head(mapped: Sequence[Mapped], a: Identity, b: Identity) -> list[Mapped]:
    """A head of A that B's file leaves out, since it is B's embedding once more."""
    if b.head is None or b.head.kind != HeadKind.TIED:
        return []
    left, over = left_over(a, b, mapped)
    spec = next((t for t in a.tensors if [t.name] == left), None)
    owners = [t for t in b.tensors if spec is not None and t.shape == spec.shape]
    if spec is None or over or len(owners) != 1 or len(spec.shape) != 2:
        return []
    return [Mapped(spec, (owners[0],), "", MapStep.TIED_HEAD)]


def _by_path(side: Identity, without: set[str]) -> dict[str, dict[str, TensorSpec]]:
    """The layers that a map leaves over: their tensors by path and part."""
    layers: dict[str, dict[str, TensorSpec]] = {}
    for t in side.tensors:
        if t.name not in without and not is_derived(t):
            path, _, leaf = t.name.rpartition(".")
            layers.setdefault(path, {})[leaf] = t
    return layers


def _are_heads(layers: Mapping[str, Mapping[str, TensorSpec]], side: Identity) -> bool:
    heads = {n for h in (side.head, *side.side_heads) if h is not None for n in h.tensors}
    if heads:
        return all(t.name in heads for layer in layers.values() for t in layer.values())
    weights = [layer.get("weight") for layer in layers.values()]
    linear = all(w is not None and (w.shape[2:] or (1, 1)) == (1, 1) for w in weights)
    return linear and len(layers) <= _MOST_HEADS


def _form(layer: Mapping[str, TensorSpec]) -> list[tuple[str, int, tuple[int, ...], bool]]:
    """Each part's axes but the first, and whether it has as many rows as the weight has."""
    weight = layer.get("weight")
    rows = weight.shape[:1] if weight is not None else ()
    return sorted(
        (leaf, len(t.shape), t.shape[1:] if rows else t.shape, t.shape[:1] == rows)
        for leaf, t in layer.items()
    )


def document(a: Identity, b: Identity, pairing: Pairing) -> TensorMap:
    """The map from B's tensors to A's, as a report has it."""
    left, over = unmapped(a, b, pairing.mapped)
    place = {t.name: i for i, t in enumerate(a.tensors)}
    return TensorMap(
        schema=SCHEMA,
        b=b.manifest.path,
        a=a.manifest.path,
        prefix=FromTo(b.prefix, a.prefix),
        place=FromTo(b.place, a.place),
        basis=pairing.basis,
        tensors=tuple(
            MappedTensor(a=m.a.name, b=tuple(t.name for t in m.b), how=m.how, step=m.step)
            for m in sorted(whole(pairing), key=lambda m: place[m.a.name])
        ),
        unmapped=Unmapped(tuple(over), tuple(left)),
    )


def read(path: Path, a: Sequence[TensorSpec], b: Sequence[TensorSpec]) -> list[Mapped]:
    """The map that a file holds, of tensors of A made of B's.

    Raises ConfigError where it is no map, or names tensors that are not there.
    """
    try:
        document: Any = json_text.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), fix=_FIX) from None
    except ValueError as error:
        raise ConfigError(f"is not JSON ({error})", where=str(path), fix=_FIX) from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ConfigError("is no map of schema 1", where=str(path), fix=_FIX)
    mine, theirs = ({t.name: t for t in side} for side in (a, b))
    mapped = []
    try:
        for row in document["tensors"]:
            sources = tuple(theirs[name] for name in row["from"])
            mapped.append(Mapped(mine[row["to"]], sources, str(row["how"]), str(row["step"])))
            check_how(mapped[-1].how)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"does not fit these two: {error}", where=str(path), fix=_FIX) from None
    return mapped


def check_how(how: str) -> list[tuple[str, int, int]]:
    """The operations of `Mapped.how` as (name, first row, last row); ValueError for another."""
    operations = []
    for word in (w for w in how.split(", ") if w):
        name, _, rows = word.partition(" ")
        first, _, last = rows.partition(":")
        if name not in ("reshape", "transpose", "join", "rows") or (name == "rows") != bool(rows):
            raise ValueError(f"no operation {word!r}")
        operations.append((name, int(first or 0), int(last or 0)))
    return operations


def comes_out(mapped: Mapped) -> bool:
    """Whether the operations give a tensor of the target's shape; head rows may be others."""
    shapes = [t.shape for t in mapped.b]
    for name, first, last in check_how(mapped.how):
        if name == "transpose":
            if any(len(shape) != 2 for shape in shapes):
                return False
            shapes = [shape[::-1] for shape in shapes]
        elif name == "join":
            if len({shape[1:] for shape in shapes}) > 1 or not all(shapes):
                return False
            shapes = [(sum(shape[0] for shape in shapes), *shapes[0][1:])]
        elif name == "rows":
            if not all(shapes):
                return False
            shapes = [(min(last, n) - first, *rest) for n, *rest in shapes]
        elif prod(shapes[0]) != mapped.a.numel:
            return False
        else:
            shapes = [mapped.a.shape]
    return shapes[0][1:] == mapped.a.shape[1:] and len(shapes[0]) == len(mapped.a.shape)


def views(mapped: Mapped) -> Iterator[tuple[TensorSpec, TensorSpec]]:
    """Views of A's tensor and of B's that hold the same numbers if the map is right.

    Nothing is copied: rows, another shape and turned axes are strides over the same bytes.
    """
    steps = check_how(mapped.how)
    if any(name == "join" for name, *_ in steps):
        whole_a, start = mapped.a, 0
        if steps[-1][0] == "transpose":
            whole_a = _turned(whole_a)
        for part in mapped.b:
            piece = _turned(part) if steps[0][0] == "transpose" else part
            yield _rows(whole_a, start, start + piece.shape[0]), piece
            start += piece.shape[0]
        return
    view = mapped.b[0]
    for name, first, last in steps:
        if name == "transpose":
            view = _turned(view)
        elif name == "rows":
            view = _rows(view, first, last)
        else:
            view = replace(view, shape=mapped.a.shape, stride=_squeezed(view, mapped.a.shape))
    yield mapped.a, view


def _stride(spec: TensorSpec) -> tuple[int, ...]:
    if spec.stride is not None:
        return spec.stride
    strides, step = [], 1
    for n in reversed(spec.shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def _turned(spec: TensorSpec) -> TensorSpec:
    return replace(spec, shape=spec.shape[::-1], stride=_stride(spec)[::-1])


def _rows(spec: TensorSpec, first: int, last: int) -> TensorSpec:
    stride = _stride(spec)
    offset = spec.offset + first * stride[0]
    return replace(spec, shape=(last - first, *spec.shape[1:]), stride=stride, offset=offset)


def _squeezed(spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of the same elements with axes of length 1 put in or left out."""
    long = iter([s for n, s in zip(spec.shape, _stride(spec), strict=True) if n != 1])
    return tuple(next(long) if n != 1 else 1 for n in shape)
