"""Names and shapes of tensors -> the architectures that have just these, whatever the head is.

The stored index (`index.json.gz`, rebuilt by `interop index build`) holds for each architecture an
order-free sum of 64-bit hashes of its backbone's (name, shape) pairs. The sum of a state dict
without some of its modules is found by subtraction, so every way to lose or replace a head is tried
in one pass. Families of free sizes are known by the sum of their names without numbers, and their
sizes by solving for the dimensions (`templates`).
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from binascii import a2b_base64
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from interop.facts import HeadInput, HeadRole, TensorSpec
from interop.patterns import lazy
from interop.records import dataclass

STORED = Path(__file__).with_name("index.json.gz")
_WORD = (1 << 64) - 1
# What is computed when a module is made, and is no weight: files have it or not, by version.
BUFFER_NAMES = (
    "num_batches_tracked", "position_ids", "relative_position_index", "relative_coords_table",
    "relative_coords", "total_ops", "total_params", "attn_mask", "inv_freq", "original_inv_freq",
    "masked_bias", "attention_bias_idxs",
)  # fmt: skip
BUFFERS = lazy(rf"(^|\.)({'|'.join(BUFFER_NAMES)})$")
_NUMBER = lazy(r"(?<![^.])[0-9]+(?![^.])")


@dataclass(frozen=True, slots=True)
class Group:
    """Names that no file tells apart: those of one computation together, and what tells the rest.

    `heads` are (path, role) of the library's own heads, the main one first; `takes` is what they
    are given.
    """

    names: tuple[tuple[str, ...], ...]
    apart: str
    heads: tuple[tuple[str, HeadRole], ...]
    takes: HeadInput


@dataclass(frozen=True, slots=True)
class Template:
    """A model of a family whose sizes are free.

    `root` is the path of its headless model within it, whose patterns of names `Index.families`
    sums up; `around` are the patterns outside of that. `table` is the number of its table
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


@dataclass(frozen=True, slots=True)
class Ways:
    """How a backbone is known: columns of (number of a group or template, spec, sum).

    A spec is the number of a pair: the first tokens of the backbone's names, and the modules that
    are not in it. The sum is that of the hashes of what remains.
    """

    groups: array[int]
    specs: array[int]
    sums: array[int]

    def numbers(self) -> dict[tuple[int, int], list[int]]:
        """(spec, sum) -> the numbers of the groups."""
        groups: dict[tuple[int, int], list[int]] = {}
        for group, spec, total in zip(self.groups, self.specs, self.sums, strict=True):
            groups.setdefault((spec, total), []).append(group)
        return groups

    def of(self, number: int) -> list[tuple[int, int]]:
        """The (spec, sum) of one group."""
        return [
            (s, t)
            for g, s, t in zip(self.groups, self.specs, self.sums, strict=True)
            if g == number
        ]


@dataclass(frozen=True)
class Index:
    """What the libraries hold, by the sums of their backbones.

    `exact` and `free` are the groups and templates as they are stored, made into records when they
    are asked for: a file needs few of them. `bases` maps a class with a head to its headless one.
    `orders` and `order_exceptions` are those of `interop.identity.index.order`; `pieces` those of
    `closest`.
    """

    built_from: Mapping[str, str]
    specs: Sequence[tuple[Sequence[str], Sequence[str]]]
    heads: Sequence[tuple[Sequence[Sequence[str]], str]]
    exact: Sequence[tuple[list[list[str]], str, int]]
    free: Sequence[tuple[list[list[str]], str, int, str, list[str], int]]
    ways: Ways
    family_ways: Ways
    bases: Mapping[str, str]
    tables: Sequence[str]
    orders: Sequence[Sequence[str]]
    order_exceptions: Mapping[str, Sequence[int]]
    pieces: Pieces

    def group(self, number: int) -> Group:
        return self._group(*self.exact[number])

    def template(self, number: int) -> Template:
        names, apart, head, root, around, table = self.free[number]
        return Template(self._group(names, apart, head), root, tuple(around), table)

    def _group(self, names: list[list[str]], apart: str, head: int) -> Group:
        heads, takes = self.heads[head]
        return Group(
            tuple(map(tuple, names)),
            apart,
            tuple((path, HeadRole(role)) for path, role in heads),
            HeadInput(takes),
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return tuple(map(self.group, range(len(self.exact))))

    @cached_property
    def templates(self) -> tuple[Template, ...]:
        return tuple(map(self.template, range(len(self.free))))

    @cached_property
    def backbones(self) -> Mapping[tuple[int, int], list[int]]:
        """(spec, sum) -> the numbers of the groups."""
        return self.ways.numbers()

    @cached_property
    def exact_specs(self) -> Sequence[int]:
        return sorted(set(self.ways.specs))

    @cached_property
    def families(self) -> Mapping[tuple[int, int], list[int]]:
        """(spec, sum of patterns) -> the numbers of the templates."""
        return self.family_ways.numbers()

    @cached_property
    def tables_of(self) -> Mapping[str, list[int]]:
        """A pattern of names -> the numbers of the tables that have it."""
        tables: dict[str, list[int]] = defaultdict(list)
        for number, table in enumerate(self.tables):
            for row in table.split("\n")[1:]:
                tables[row.partition(" ")[0]].append(number)
        return tables

    @cached_property
    def by_name(self) -> Mapping[str, Group]:
        """The group of each name; the first, where it has others on disk than in memory."""
        groups: dict[str, Group] = {}
        for group in (*self.groups, *(t.group for t in self.templates)):
            for same in group.names:
                for name in same:
                    groups.setdefault(name, group)
        return groups


@cache
def load(path: Path = STORED) -> Index:
    """Read a stored index."""
    return parse(json.loads(zlib.decompress(path.read_bytes(), wbits=31)))  # 31: as gzip packs


def parse(document: Mapping[str, Any]) -> Index:
    """An Index from the JSON that `interop.identity.index.build` makes."""
    d = document
    return Index(
        d["built_from"], d["specs"], d["heads"], d["exact"], d["templates"],
        Ways(*_columns(d["ways"], groups="H", specs="H", sums="Q")),
        Ways(*_columns(d["families"], groups="H", specs="H", sums="Q")),
        d["bases"], d["tables"], d["orders"], d["order_exceptions"],
        Pieces(*_columns(d["pieces"], sums="Q", counts="H", ids="H")),
    )  # fmt: skip


def _columns(packed: Mapping[str, str], **kinds: str) -> Iterator[array[int]]:
    """Columns of whole numbers, from base64; `kinds` are the letters of the array module."""
    for name, kind in kinds.items():
        column = array(kind)
        column.frombytes(a2b_base64(packed.get(name, "")))
        if sys.byteorder == "big":
            column.byteswap()
        yield column


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
        if (end := name.find(".")) == -1:
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
    groups: list[tuple[int, int]] = []
    for spec in index.exact_specs:
        rest = _rest(sums, *index.specs[spec])
        groups += ((number, spec) for number in index.backbones.get((spec, rest), ()))
    return groups


def families_of(names: Iterable[str], index: Index) -> list[tuple[int, int]]:
    """The numbers of the templates whose patterns of names these are, with their specs."""
    sums = module_sums((p, ()) for p in dict.fromkeys(pattern_of(n) for n in names))
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
    totals: Counter[int] = Counter()
    for piece, number in index.pieces.owners(mine):
        totals[number] += size[mine[piece]]
    return sorted(totals.items(), key=lambda f: (-f[1], f[0]))
