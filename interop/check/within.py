"""Two identities -> where the whole backbone of the one lies within the other, beside other layers.

A detector has a classifier's backbone under "backbone.body.", a distilled model has two under
"student." and "teacher.". A place counts if each weight of the backbone is there by its name and
in its shape. What its values are is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from interop.facts import Identity, MapStep, Pair, Pairing, Side, TensorSpec, Within

__all__ = ["one_linear", "places"]

# Fewer layers than these have names and shapes that many models have somewhere.
FEWEST_LAYERS = 3
MOST_PLACES = 100
# A head that nothing told is one linear layer: a weight and a bias.
_MOST_OF_A_HEAD = 2


def places(a: Identity, b: Identity, pairing: Pairing) -> tuple[Within, ...]:
    """Each place in B that holds A's whole backbone; if there is none, each in A that holds B's.

    None if names alone pair a backbone already. Of a model whose head is not known, one linear
    layer need not be there.
    """
    paired = {p.a.name for p in pairing.matched}
    for side, bare, larger in ((Side.B, a, b), (Side.A, b, a)):
        weights = [t for t in (bare.tensors if bare.backbone is None else bare.backbone)
                   if not t.is_buffer]  # fmt: skip
        if len({t.name.rpartition(".")[0] for t in weights}) < FEWEST_LAYERS:
            continue
        if all(t.name in paired for t in weights):
            return ()
        found = tuple(_found(side, bare, larger, weights))
        if found:
            return found
    return ()


def one_linear(tensors: Sequence[TensorSpec]) -> bool:
    """Whether tensors are one linear layer, or none at all."""
    if not (shapes := sorted((t.shape for t in tensors), key=len)):
        return True
    paths = {t.name.rpartition(".")[0] for t in tensors}
    if len(paths) != 1 or len(shapes[-1]) != 2:
        return False
    return [len(s) for s in shapes] in ([2], [1, 2]) and shapes[0][0] == shapes[-1][0]


def _found(
    side: Side, bare: Identity, larger: Identity, weights: Sequence[TensorSpec]
) -> Iterator[Within]:
    there = {t.name: t for t in larger.tensors}
    seen: set[tuple[object, ...]] = set()
    for prefix in _prefixes(weights, there):
        left = _lacking(prefix, weights, there)
        known = bare.backbone is not None
        if len(left) == len(weights) or (left and known) or not one_linear(left):
            continue
        first = next(t for t in weights if t not in left)
        inside = [(t, there[prefix + t.name]) for t in bare.tensors if prefix + t.name in there]
        # A module that two names lead to is one place.
        where = tuple((y.storage, y.offset) if y.storage else y.name for _, y in inside)
        if where in seen:
            continue
        seen.add(where)
        used = {y.name for _, y in inside}
        both = [Pair(*((x, y) if side is Side.B else (y, x)), MapStep.PREFIX) for x, y in inside]
        yield Within(
            side=side,
            prefix=_in_file(prefix + first.name, first.name, larger),
            pairs=tuple(p for p in both if p.a.shape == p.b.shape),
            reshaped=tuple(p for p in both if p.a.shape != p.b.shape),
            beside=tuple(t for t in larger.tensors if t.name not in used),
        )
        if len(seen) == MOST_PLACES:
            return


def _prefixes(weights: Sequence[TensorSpec], there: Mapping[str, TensorSpec]) -> list[str]:
    """What may stand in front, by the longest names, which the fewest others end in: of two
    layers, since one may be a head that is not there."""
    first = max(weights, key=lambda t: (t.name.count("."), len(t.name)))
    path = first.name.rpartition(".")[0]
    others = [t for t in weights if t.name.rpartition(".")[0] != path]
    second = max(others, key=lambda t: (t.name.count("."), len(t.name)))
    found: dict[str, None] = {}
    for anchor in (first, second):
        end = "." + anchor.name
        for name, spec in there.items():
            if name.endswith(end) and spec.shape == anchor.shape:
                found[name[: -len(anchor.name)]] = None
    return list(found)


def _lacking(
    prefix: str, weights: Sequence[TensorSpec], there: Mapping[str, TensorSpec]
) -> list[TensorSpec]:
    """The weights that are not under a prefix in their shape; one too many is the last."""
    left: list[TensorSpec] = []
    for spec in weights:
        other = there.get(prefix + spec.name)
        if other is None or other.shape != spec.shape:
            left.append(spec)
            if len(left) > _MOST_OF_A_HEAD:
                break
    return left


def _in_file(name: str, rest: str, larger: Identity) -> str:
    """The prefix as the file has it, a wrapper's in front."""
    in_file = larger.file_names.get(name, name)
    return in_file.removesuffix(rest) if in_file.endswith(rest) else name.removesuffix(rest)
