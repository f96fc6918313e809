"""Names and shapes of tensors -> the architectures that have just these, whatever the head is.

The stored index (`architectures.json`, rebuilt by `python -m interop.models.build_index`) holds for
each architecture an order-free sum of 64-bit hashes of its backbone's (name, shape) pairs. The sum
of a state dict without the tensors below one module is found by subtraction, so each module is
tried as the head in one pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from interop.facts import TensorSpec

STORED = Path(__file__).with_name("architectures.json")
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Index:
    """`backbones` maps a sum of hashes to (architecture, path of the head that was left out).

    `heads` maps an architecture to the path of its own head, `auxiliary` the module names of
    training-time side branches that a file may lack; `twins` says what tells names apart that
    share their weights. `built_from` names the libraries and their versions.
    """

    backbones: Mapping[int, Sequence[tuple[str, str]]]
    heads: Mapping[str, str]
    auxiliary: frozenset[str]
    twins: Mapping[str, str]
    built_from: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Match:
    """Architectures that fit, and the module that is the head in the file at hand."""

    names: tuple[str, ...]
    head_path: str
    standard_head: bool
    ambiguity: str = ""


@cache
def load(path: Path = STORED) -> Index:
    """Read a stored index."""
    return parse(json.loads(path.read_text("utf-8")))


def parse(document: Mapping[str, object]) -> Index:
    """An Index from the JSON that `interop.models.build_index` writes."""
    backbones: dict[int, list[tuple[str, str]]] = {}
    heads: dict[str, str] = {}
    entries = document["architectures"]
    assert isinstance(entries, Mapping)
    for name, entry in entries.items():
        heads[name] = entry["head"]
        for path, total in entry["backbones"].items():
            backbones.setdefault(int(total, 16), []).append((name, path))
    auxiliary, twins, built = document["auxiliary"], document["twins"], document["built_from"]
    assert isinstance(auxiliary, list) and isinstance(twins, dict) and isinstance(built, dict)
    return Index(backbones, heads, frozenset(auxiliary), twins, built)


def word(name: str, shape: Iterable[int]) -> int:
    """The 64-bit hash of one tensor's name and shape."""
    text = f"{name}:{','.join(map(str, shape))}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def module_sums(tensors: Iterable[tuple[str, Sequence[int]]]) -> dict[str, int]:
    """The sum of hashes below each module path, the whole under ""."""
    sums: dict[str, int] = {"": 0}
    for name, shape in tensors:
        if name.endswith("num_batches_tracked"):
            continue  # a counter that old files lack, and that says nothing about a structure
        value = word(name, shape)
        sums[""] = (sums[""] + value) & _WORD
        end = name.find(".")
        while end != -1:
            path = name[:end]
            sums[path] = (sums.get(path, 0) + value) & _WORD
            end = name.find(".", end + 1)
    return sums


def find(tensors: Sequence[TensorSpec], index: Index) -> Match | None:
    """The architectures whose backbone the tensors are, for some choice of the head."""
    sums = module_sums((t.name, t.shape) for t in tensors)
    whole = sums[""] - sum(sums.get(path, 0) for path in index.auxiliary)
    hits: dict[str, list[str]] = {}
    for path, total in sums.items():
        rest = (whole - (total if path else 0)) & _WORD
        for name, left_out in index.backbones.get(rest, ()):
            # The whole is a backbone where the head is gone; else the module that was left out
            # must be the one whose absence the index means, or one put in its place.
            if not path or path == left_out or not any(left_out == p for p in sums):
                hits.setdefault(name, []).append(path or left_out)
    if not hits:
        return None
    names = tuple(sorted(hits))
    head = index.heads[names[0]]
    paths = [p for n in names for p in hits[n]]
    # The library's own head is the best reading; else the deepest module that explains the file.
    path = head if head in paths else max(paths, key=lambda p: (p.count("."), p))
    ambiguity = ""
    if len(names) > 1:
        ambiguity = index.twins.get(
            names[0], "their weights have the same names and shapes; --model says which it is"
        )
    return Match(names, path, path == head, ambiguity)
