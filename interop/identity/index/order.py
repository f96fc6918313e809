"""Tensors in the order of a file -> the order in which their module defines them.

safetensors sorts its names. Which of a module's parts is defined first is nearly always a matter of
what its parts are called: the index holds the order of each set of sibling names that is not in
its natural order (numbers by value, then words), over all architectures that it was built from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from interop.facts import TensorSpec
from interop.identity.index import lookup as indexes


def in_definition_order(
    tensors: Sequence[TensorSpec], names: Sequence[str] = ()
) -> tuple[TensorSpec, ...]:
    """The tensors as their module defines them, as far as the index tells.

    `names` are the architectures that they may be of: a few define their parts in an order of
    their own.
    """
    stored = indexes.load()
    order: dict[frozenset[str], tuple[str, ...]] = {}
    own = [stored.orders[i] for n in names for i in stored.order_exceptions.get(n, ())]
    for siblings in (*own, *stored.orders):
        order.setdefault(frozenset(siblings), tuple(siblings))
    children: dict[str, set[str]] = defaultdict(set)
    for t in tensors:
        path = ""
        for token in t.name.split("."):
            children[path].add(token)
            path += "." + token
    rank: dict[str, int] = {}
    for path, tokens in children.items():
        for place, token in enumerate(_ordered(tokens, order)):
            rank[f"{path}.{token}"] = place
    return tuple(sorted(tensors, key=lambda t: _key(t.name, rank)))


def _ordered(tokens: set[str], order: dict[frozenset[str], tuple[str, ...]]) -> Sequence[str]:
    if (known := order.get(frozenset(tokens))) is None:
        known = _most_alike(tokens, order)
    place = {token: i for i, token in enumerate(known)}
    return sorted(tokens, key=lambda t: (place.get(t, len(place)), natural(t)))


def _most_alike(tokens: set[str], order: dict[frozenset[str], tuple[str, ...]]) -> tuple[str, ...]:
    """The order that most of the tokens are in: a head that was replaced is a token of its own."""
    named = {t for t in tokens if not t.isdigit()}
    if len(named) < 4:
        return ()
    best = max(order, key=lambda known: (len(known & named), -len(known)))
    return order[best] if len(best & named) >= len(named) - 1 else ()


def natural(token: str) -> tuple[int, int, str]:
    """Numbers by their value, before words by the alphabet."""
    return (0, int(token), "") if token.isdigit() else (1, 0, token)


def _key(name: str, rank: dict[str, int]) -> list[int]:
    path, key = "", []
    for token in name.split("."):
        path += "." + token
        key.append(rank[path])
    return key
