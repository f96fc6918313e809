"""Two identities -> which tensor of B takes the place of which of A.

Names are compared after wrapper prefixes are off; a name that both have is a pair.
"""

from __future__ import annotations

from interop.facts import Identity, Pair, Pairing, TensorSpec


def pair(a: Identity, b: Identity) -> Pairing:
    """Match tensors by name, and by shape within a name."""
    there = {t.name: t for t in b.tensors}
    names = {t.name for t in a.tensors}
    step = "name" if a.prefix == b.prefix else "name without its prefix"
    matched: list[Pair] = []
    reshaped: list[Pair] = []
    missing: list[TensorSpec] = []
    for spec in a.tensors:
        other = there.get(spec.name)
        if other is None:
            missing.append(spec)
        else:
            (matched if spec.shape == other.shape else reshaped).append(Pair(spec, other, step))
    extra = tuple(t for t in b.tensors if t.name not in names)
    return Pairing(tuple(matched), tuple(reshaped), tuple(missing), extra)
