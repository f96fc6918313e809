"""Two identities -> which tensor of B takes the place of which of A.

Names are compared after wrapper prefixes are off; a name that both have is a pair. Where names
differ, a map is sought: by prefixes, by known renames, by structure. It is given only if it covers
every weight of both backbones: half a map would look like help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interop.check import renames, strict
from interop.check.within import one_linear, places
from interop.facts import Identity, Mapped, MapStep, Pair, Pairing, TensorSpec
from interop.identity.index.order import in_definition_order
from interop.records import replace

__all__ = ["pair"]


def pair(a: Identity, b: Identity) -> Pairing:
    """Match tensors by name, and by shape within a name; then map those that names do not match."""
    there = {t.name: t for t in b.tensors}
    names = {t.name for t in a.tensors}
    step = MapStep.NAME if a.prefix == b.prefix else MapStep.UNPREFIXED
    matched: list[Pair] = []
    reshaped: list[Pair] = []
    missing: list[TensorSpec] = []
    for spec in a.tensors:
        if (other := there.get(spec.name)) is None:
            missing.append(spec)
        else:
            (matched if spec.shape == other.shape else reshaped).append(Pair(spec, other, step))
    extra = tuple(t for t in b.tensors if t.name not in names)
    pairing = Pairing(tuple(matched), tuple(reshaped), tuple(missing), extra)
    pairing = strict.loaded(a, b, pairing)
    mapped, basis = _map(a, b, pairing)
    pairing = replace(pairing, mapped=mapped, basis=basis)
    if not mapped:
        named = "onnx" not in (a.manifest.container, b.manifest.container)
        plain = all(not i.kind or i.kind.startswith("several models") for i in (a, b))
        left = pairing.missing and pairing.extra
        return (
            replace(pairing, within=places(a, b, pairing)) if named and plain and left else pairing
        )
    from interop.check import maps  # which in turn goes by what is left here

    return replace(pairing, fills=maps.filled(a, b, pairing))


# ---------------------------------------------------------------- the map


def _map(a: Identity, b: Identity, pairing: Pairing) -> tuple[tuple[Mapped, ...], str]:
    """The map and what vouches for it; ((), "") where none is needed, or none is complete."""
    if "onnx" in (a.manifest.container, b.manifest.container) or not _needed(a, b, pairing):
        return (), ""
    by_name = _by_names(a, b)
    if _complete(a, b, by_name):
        return _changed(by_name), _basis(a, b) or "the names agree after prefixes and known renames"
    from interop.check import structure  # a check of equal names has no need of it
    from interop.check.maps import comes_out

    by_structure = list(filter(comes_out, structure.pair(_in_order(a), _in_order(b))))
    by_structure += _ties(a, {m.a.name: m for m in by_structure})
    if _complete(a, b, by_structure):
        return _changed(by_structure), _basis(a, b)
    return (), ""


def _needed(a: Identity, b: Identity, pairing: Pairing) -> bool:
    """Whether the names leave over weights of a backbone; adapters and the like have none."""
    alone = [*pairing.missing, *pairing.extra, *(p.a for p in pairing.reshaped)]
    alone = [t for t in alone if not _aside(t)]
    if not alone or a.kind or b.kind or not (a.tensors and b.tensors):
        return False
    heads = _head(a) | _head(b)
    return any(t.name not in heads for t in alone)


def _by_names(a: Identity, b: Identity) -> list[Mapped]:
    """Pairs of one shape: by equal names, after prefixes, after known renames, after both."""
    mine = {t.name: t for t in a.tensors if not _aside(t)}
    theirs = {t.name: t for t in b.tensors if not _aside(t)}
    by_name: dict[str, Mapped] = {}

    def take(pairs: Mapping[str, str], step: MapStep) -> None:
        for one, other in pairs.items():
            spec, counterpart = mine.get(one), theirs.get(other)
            if spec and counterpart and spec.shape == counterpart.shape:
                by_name[one] = Mapped(spec, (counterpart,), "", step)
                del mine[one], theirs[other]

    take({name: name for name in mine}, MapStep.NAME)
    take(renames.prefixes(mine, theirs), MapStep.PREFIX)
    # Under their new names all tensors of a file must be looked at: gamma needs its beta.
    new = renames.canonical([t.name for t in a.tensors]), renames.canonical(
        [t.name for t in b.tensors]
    )  # fmt: skip
    old = {new[1][name]: name for name in theirs}
    take({name: old[new[0][name]] for name in mine if new[0][name] in old}, MapStep.RENAME)
    renamed = {new[0][n]: t for n, t in mine.items()}, {new[1][n]: t for n, t in theirs.items()}
    both = renames.prefixes(*renamed)
    take(
        {renamed[0][one].name: renamed[1][other].name for one, other in both.items()},
        MapStep.RENAME,
    )
    return [*by_name.values(), *_ties(a, by_name)]


def _ties(a: Identity, by_name: Mapping[str, Mapped]) -> list[Mapped]:
    """Names of A that share their bytes with one that has its counterpart: they take it too."""
    return [
        Mapped(
            replace(by_name[owner].a, name=name),
            by_name[owner].b,
            by_name[owner].how,
            MapStep.RENAME,
        )
        for name, owner in renames.tied(a.tensors).items()
        if owner in by_name and name not in by_name
    ]


def _changed(mapped: Iterable[Mapped]) -> tuple[Mapped, ...]:
    """Without the tensors that keep both their name and their layout."""
    return tuple(m for m in mapped if m.how or m.b[0].name != m.a.name)


def _basis(a: Identity, b: Identity) -> str:
    """What vouches for a map by structure: an architecture that both are known to be of."""
    if a.architecture is None or b.architecture is None:
        return ""
    one, other = a.architectures[0], b.architectures[0]
    return f"both are {one.name}" if {one.name, *one.also} & {other.name, *other.also} else ""


# ---------------------------------------------------------------- is it whole?


def _complete(a: Identity, b: Identity, mapped: Sequence[Mapped]) -> bool:
    """Whether every weight of both backbones is in the map, and heads map to heads alone."""
    mine, theirs = _head(a), _head(b)
    used = {t.name for m in mapped for t in m.b}
    used |= {name for name, owner in renames.tied(b.tensors).items() if owner in used}
    accounted = {m.a.name for m in mapped} | mine, used | theirs
    left = [t for t in a.tensors if not _aside(t) and t.name not in accounted[0]]
    over = [t for t in b.tensors if not _aside(t) and t.name not in accounted[1]]
    crossed = a.head and b.head and any((m.a.name in mine) != (t.name in theirs)
                                        for m in mapped for t in m.b)  # fmt: skip
    if crossed or not any(m.a.name not in mine for m in mapped):
        return False
    widths = {h.in_width for h in (a.head, b.head) if h is not None}
    widths |= {w for rest in (left, over) for w in _widths(rest)}
    # A head that nothing told may be left over: one linear layer, as wide as the other's.
    allowed = (a.head is None or not left) and (b.head is None or not over)
    return allowed and all(one_linear(rest) for rest in (left, over)) and (
        not left + over or len(widths) == 1
    )  # fmt: skip


def _widths(rest: Sequence[TensorSpec]) -> set[int]:
    return {t.shape[1] for t in rest if len(t.shape) == 2}


def _head(identity: Identity) -> set[str]:
    """The heads' tensors; not those that are the backbone's too, as tied embeddings are."""
    heads = (identity.head, *identity.side_heads)
    ties = renames.tied(identity.tensors)
    shared = ties.keys() | set(ties.values())
    return {name for h in heads if h is not None for name in h.tensors} - shared


def _aside(spec: TensorSpec) -> bool:
    from interop.check import structure

    return structure.is_derived(spec)


def _in_order(identity: Identity) -> Sequence[TensorSpec]:
    """The tensors as their module defines them, those that are tied once."""
    again = renames.tied(identity.tensors)
    tensors = tuple(t for t in identity.tensors if t.name not in again)
    place = identity.place
    chosen = next((s for s in identity.manifest.state_dicts if s.place == place), None)
    if chosen is None or chosen.ordered:
        return tensors
    return in_definition_order(tensors, [x.name for x in identity.architectures])
