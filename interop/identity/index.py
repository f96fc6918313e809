"""Names and shapes of tensors -> the architectures that have just these, whatever the head is.

The stored index (`index.json.gz`, rebuilt by `interop index build`) holds for each architecture an
order-free sum of 64-bit hashes of its backbone's (name, shape) pairs. The sum of a state dict
without some of its modules is found by subtraction, so every way to lose or replace a head is tried
in one pass. Families of free sizes are known by the sum of their names without numbers, and their
sizes by solving for the dimensions (`templates`).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from array import array
from base64 import b64decode
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from interop.facts import TensorSpec

STORED = Path(__file__).with_name("index.json.gz")
_WORD = (1 << 64) - 1
# What is computed when a module is made, and is no weight: files have it or not, by version.
BUFFERS = re.compile(
    r"(^|\.)(num_batches_tracked|position_ids|relative_position_index|relative_coords_table|"
    r"relative_coords|attn_mask|inv_freq|original_inv_freq|masked_bias|attention_bias_idxs)$"
)
_NUMBER = re.compile(r"(?<![^.])[0-9]+(?![^.])")


@dataclass(frozen=True, slots=True)
class Group:
    """Names that no file tells apart: those of one computation together, and what tells the rest.

    `heads` are (path, role) of the library's own heads, the main one first; `takes` is what they
    are given. `ways` are (spec, sum): the number of a pair (first tokens of the backbone's names,
    modules that are not in it) and the sum of what remains.
    """

    names: tuple[tuple[str, ...], ...]
    apart: str
    heads: tuple[tuple[str, str], ...]
    takes: str
    ways: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A model of a family whose sizes are free.

    `root` is the path of its headless model within it, whose patterns of names the one way of
    `group` sums up; `around` are the patterns outside of that. `table` is the number of its table
    in the index: a line with the config's fields, and a line "pattern dim dim …" (see `templates`)
    for each pattern, in which a number stands for one of the fields.
    """

    group: Group
    root: str
    around: tuple[str, ...]
    table: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """The modules that the groups are made of: their sums, sorted; how many each group has, and
    which, one group after the other."""

    sums: array[int]
    counts: array[int]
    ids: array[int]

    def owners(self, wanted: Collection[int]) -> Iterator[tuple[int, int]]:
        """Each of the wanted pieces with each group that has it."""
        end, group = self.counts[0] if self.counts else 0, 0
        for place, piece in enumerate(self.ids):
            if piece in wanted:
                while place >= end:
                    group += 1
                    end += self.counts[group]
                yield piece, group


@dataclass(frozen=True)
class Index:
    """What the libraries hold, by the sums of their backbones.

    `bases` maps a class with a head to its headless one. `orders` and `order_exceptions` are those
    of `interop.identity.order`; `pieces` those of `closest`.
    """

    built_from: Mapping[str, str]
    specs: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    groups: tuple[Group, ...]
    templates: tuple[Template, ...]
    bases: Mapping[str, str]
    tables: Sequence[str]
    orders: tuple[tuple[str, ...], ...]
    order_exceptions: Mapping[str, Sequence[int]]
    pieces: Pieces

    @cached_property
    def backbones(self) -> Mapping[tuple[int, int], list[int]]:
        """(spec, sum) -> the numbers of the groups."""
        found: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, group in enumerate(self.groups):
            for way in group.ways:
                found[way].append(i)
        return found

    @cached_property
    def exact_specs(self) -> tuple[int, ...]:
        return tuple(sorted({spec for spec, _ in self.backbones}))

    @cached_property
    def families(self) -> Mapping[tuple[int, int], list[int]]:
        """(spec, sum of patterns) -> the numbers of the templates."""
        found: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, template in enumerate(self.templates):
            found[template.group.ways[0]].append(i)
        return found

    @cached_property
    def tables_of(self) -> Mapping[str, list[int]]:
        """A pattern of names -> the numbers of the tables that have it."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, table in enumerate(self.tables):
            for row in table.split("\n")[1:]:
                found[row.partition(" ")[0]].append(number)
        return found

    @cached_property
    def by_name(self) -> Mapping[str, Group]:
        """The group of each name; the first, where it has others on disk than in memory."""
        found: dict[str, Group] = {}
        for group in (*self.groups, *(t.group for t in self.templates)):
            for same in group.names:
                for name in same:
                    found.setdefault(name, group)
        return found


@cache
def load(path: Path = STORED) -> Index:
    """Read a stored index."""
    return parse(json.loads(gzip.decompress(path.read_bytes())))


def parse(document: Mapping[str, object]) -> Index:
    """An Index from the JSON that `interop.identity.compile` makes."""
    d: dict[str, object] = dict(document)
    specs = tuple((tuple(tops), tuple(removed)) for tops, removed in _list(d, "specs"))
    heads = [(tuple((p, r) for p, r in hs), takes) for hs, takes in _list(d, "heads")]

    def group(names: list[list[str]], apart: str, head: int, ways: list[list[Any]]) -> Group:
        same = tuple(map(tuple, names))
        return Group(same, apart, *heads[head], tuple((spec, int(x, 16)) for spec, x in ways))

    groups = tuple(group(*entry) for entry in _list(d, "exact"))
    templates = tuple(
        Template(group(names, apart, head, [[spec, total]]), root, tuple(around), table)
        for names, apart, head, root, spec, total, around, table in _list(d, "templates")
    )
    built, exceptions, bases = d["built_from"], d["order_exceptions"], d["bases"]
    assert isinstance(built, dict) and isinstance(exceptions, dict) and isinstance(bases, dict)
    pieces = d["pieces"]
    assert isinstance(pieces, dict)
    made = Pieces(
        *(_unpacked(k, pieces[n]) for k, n in (("Q", "sums"), ("H", "counts"), ("H", "ids")))
    )
    orders = tuple(map(tuple, _list(d, "orders")))
    return Index(
        built, specs, groups, templates, bases, _list(d, "tables"), orders, exceptions, made
    )  # fmt: skip


def _unpacked(kind: str, packed: str) -> array[int]:
    found = array(kind)
    found.frombytes(b64decode(packed))
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _list(document: Mapping[str, object], key: str) -> list[Any]:
    found = document[key]
    assert isinstance(found, list)
    return found


# ---------------------------------------------------------------- sums


def word(name: str, shape: Iterable[int]) -> int:
    """The 64-bit hash of one tensor's name and shape."""
    text = f"{name}:{','.join(map(str, shape))}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def module_sums(tensors: Iterable[tuple[str, Sequence[int]]]) -> dict[str, int]:
    """The sum of hashes below each module path and of each top-level tensor, the whole under "".

    What BUFFERS names must not be among the tensors.
    """
    sums: dict[str, int] = {"": 0}
    for name, shape in tensors:
        value = word(name, shape)
        sums[""] = (sums[""] + value) & _WORD
        end = name.find(".")
        if end == -1:
            sums[name] = value
        while end != -1:
            path = name[:end]
            sums[path] = (sums.get(path, 0) + value) & _WORD
            end = name.find(".", end + 1)
    return sums


def pattern_of(name: str) -> str:
    """A tensor's name without the numbers of the layers: "layer.3.bias" -> "layer.#.bias"."""
    return _NUMBER.sub("#", name)


def under(name: str, path: str) -> bool:
    """Whether a name lies under a module path."""
    return name.startswith(path + ".")


def groups_of(tensors: Iterable[tuple[str, Sequence[int]]], index: Index) -> list[tuple[int, int]]:
    """The numbers of the groups whose backbone the tensors hold, with the specs that say how.

    Other modules may lie beside the backbone, under first tokens that it does not have.
    """
    sums = module_sums(tensors)
    found: list[tuple[int, int]] = []
    for spec in index.exact_specs:
        rest = _rest(sums, *index.specs[spec])
        found += ((number, spec) for number in index.backbones.get((spec, rest), ()))
    return found


def families_of(names: Iterable[str], index: Index) -> list[tuple[int, int]]:
    """The numbers of the templates whose patterns of names these are, with their specs."""
    patterns = dict.fromkeys(pattern_of(n) for n in names)
    sums = module_sums((p, ()) for p in patterns)
    return [
        (number, spec)
        for (spec, total), numbers in index.families.items()
        if _rest(sums, *index.specs[spec]) == total
        for number in numbers
    ]


def _rest(sums: Mapping[str, int], tops: Sequence[str], removed: Sequence[str]) -> int:
    kept = sum(sums.get(top, 0) for top in tops)
    # A removed module counts only where it lies under one of the tops.
    return (kept - sum(sums.get(p, 0) for p in removed if p.partition(".")[0] in tops)) & _WORD


def held(name: str, tops: Sequence[str], removed: Sequence[str]) -> bool:
    """Whether a tensor belongs to the backbone that a spec describes."""
    return name.partition(".")[0] in tops and not any(under(name, p) for p in removed)


# ---------------------------------------------------------------- what is only nearly known


def closest(tensors: Sequence[TensorSpec], index: Index) -> list[tuple[int, int]]:
    """The groups that have most bytes of the tensors in modules of their own, with those bytes.

    A module counts where it lies at the same path with the same names and shapes throughout.
    """
    known = index.pieces.sums
    mine: dict[int, str] = {}
    for path, total in module_sums((t.name, t.shape) for t in tensors).items():
        at = bisect_left(known, total)
        if path and at < len(known) and known[at] == total:
            mine[at] = path
    if not mine:
        return []
    size: Counter[str] = Counter()
    wanted = set(mine.values())
    for t in tensors:
        path = ""
        for token in t.name.split("."):
            path = f"{path}.{token}" if path else token
            if path in wanted:
                size[path] += t.nbytes
    found: Counter[int] = Counter()
    for piece, number in index.pieces.owners(mine):
        found[number] += size[mine[piece]]
    return sorted(found.items(), key=lambda f: (-f[1], f[0]))
