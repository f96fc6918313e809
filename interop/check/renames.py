"""Names of tensors -> the names that the same tensors go by elsewhere, where the field knows both.

Old and new forms of one name become one: BERT's gamma and beta, weight norm before and after
torch's parametrizations, torchvision's and transformers' own renames. What only looks alike is left
to `interop.check.structure`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from interop.facts import TensorSpec
from interop.patterns import lazy

# (what an older version or a file has, what it is called now), applied in this order.
_KNOWN = tuple(
    (lazy(pattern), instead)
    for pattern, instead in (
        # torch.nn.utils.weight_norm -> torch.nn.utils.parametrizations.weight_norm
        (r"(^|\.)weight_g$", r"\1parametrizations.weight.original0"),
        (r"(^|\.)weight_v$", r"\1parametrizations.weight.original1"),
        # torchvision: vision transformers until 0.12, densenets until 0.2
        (r"(encoder_layer_\d+\.mlp)\.linear_1\.", r"\1.0."),
        (r"(encoder_layer_\d+\.mlp)\.linear_2\.", r"\1.3."),
        (r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2."),
        # transformers 5: on disk -> in memory
        (r"\battention\.(?:attention|self)\.query\.", "attention.q_proj."),
        (r"\battention\.(?:attention|self)\.key\.", "attention.k_proj."),
        (r"\battention\.(?:attention|self)\.value\.", "attention.v_proj."),
        (
            r"\battention\.self\.(relative_position_bias_table)",
            r"attention.relative_position_bias.\1",
        ),
        (r"\battention\.output\.dense\.", "attention.o_proj."),
        (r"\bintermediate\.dense\.", "mlp.fc1."),
        (r"(?<!attention\.)\boutput\.dense\.", "mlp.fc2."),
        (r"\bencoder\.layer\.(\d+)\.", r"layers.\1."),
    )
)  # fmt: skip
# Nine names in ten hold none of the words that the patterns begin with.
_HINT = lazy(r"weight_[gv]$|\.linear_|denselayer|attention\.|\.dense\.|encoder\.layer\.")


def canonical(names: Sequence[str]) -> dict[str, str]:
    """Each name and what it is called now; the name itself where two would become one."""
    there = frozenset(names)
    renames = {name: _renamed(name, there) for name in names}
    often = Counter(renames.values())
    return {name: new if often[new] == 1 else name for name, new in renames.items()}


def _renamed(name: str, there: frozenset[str]) -> str:
    path, _, leaf = name.rpartition(".")
    front = path + "." if path else ""
    # A lone gamma is a layer scale (ConvNeXt's): it is the weight only beside a beta.
    if leaf in ("gamma", "beta") and {front + "gamma", front + "beta"} <= there:
        name = front + {"gamma": "weight", "beta": "bias"}[leaf]
    if _HINT.search(name):
        for pattern, instead in _KNOWN:
            name = pattern.sub(instead, name)
    return name


def tied(tensors: Iterable[TensorSpec]) -> dict[str, str]:
    """Each name whose bytes an earlier name has too -> that earlier name."""
    first: dict[object, str] = {}
    owners = {}
    for t in tensors:
        if t.storage is None or not t.numel:
            continue
        owner = first.setdefault((t.storage, t.offset, t.shape, t.stride, t.dtype), t.name)
        if owner != t.name:
            owners[t.name] = owner
    return owners


def prefixes(mine: Mapping[str, TensorSpec], theirs: Mapping[str, TensorSpec]) -> dict[str, str]:
    """Names of `mine` -> names of `theirs` that differ by one module path in front, on one side.

    Each path ("bert.", "backbone.body.") must serve several tensors: a single one may be chance.
    """
    votes: Counter[tuple[str, bool]] = Counter()
    pairs: dict[tuple[str, bool], dict[str, str]] = {}
    for longer, shorter, on_mine in ((mine, theirs, True), (theirs, mine, False)):
        for name, spec in longer.items():
            for front, rest in _cuts(name):
                counterpart = shorter.get(rest)
                if counterpart is not None and counterpart.shape == spec.shape:
                    key = front, on_mine
                    votes[key] += 1
                    pairs.setdefault(key, {})[name] = rest
    prefixes: dict[str, str] = {}
    taken: set[str] = set()
    for key, count in votes.most_common():
        for long, short in pairs[key].items():
            one, other = (long, short) if key[1] else (short, long)
            if count > 1 and one not in prefixes and other not in taken:
                prefixes[one] = other
                taken.add(other)
    return prefixes


def _cuts(name: str) -> Iterable[tuple[str, str]]:
    at = name.find(".")
    while at != -1:
        yield name[: at + 1], name[at + 1 :]
        at = name.find(".", at + 1)
