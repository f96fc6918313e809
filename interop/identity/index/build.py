"""What the libraries' models look like -> the document of the index. Pure: no library is loaded.

`interop.models.catalog` makes the entries; `interop.identity.index.lookup` reads the document.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

from interop.facts import HeadInput, HeadRole, Json
from interop.identity.index.lookup import BUFFERS, module_sums, pattern_of, under, word
from interop.identity.index.order import natural
from interop.patterns import lazy
from interop.records import dataclass, field, replace

Shapes = Mapping[str, tuple[int, ...]]
_WORD = (1 << 64) - 1
_COUNT = lazy("layer|block|depth")
_PIECES = 12  # of an architecture, by which one that differs a little is still recognised
# A classifier's module is often replaced as a whole; what is left must still say whose it was.
_REPLACED_WHOLE = ("classes",)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One model of a library.

    `name` is "library/name". `shapes` are its state dict's, in definition order. `heads` are the
    (module path, role) of its heads, the main one first; roles are those of `facts.Head`. `takes`
    is what the backbone hands to the main head, as in `facts.Head`. `optional` are module paths
    that a file may lack (side branches that serve training alone). `root` is the path of the
    library's own headless model within it ("bert" of BertForSequenceClassification; "" of
    BertModel and wherever there is none), and `base` that model's own name. `sizes` are the config
    fields that shapes follow, with the values this instance was built with: all different, so that
    a dimension tells its field; it is empty for models of one fixed size.
    """

    name: str
    shapes: Shapes
    heads: tuple[tuple[str, HeadRole], ...] = ()
    takes: HeadInput = HeadInput.UNKNOWN
    optional: tuple[str, ...] = ()
    root: str = ""
    base: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def library(self) -> str:
        return self.name.partition("/")[0]

    @property
    def removed(self) -> tuple[str, ...]:
        """The paths that are no part of the backbone: heads and side branches."""
        return _outermost((*(path for path, _ in self.heads), *self.optional))


@dataclass(frozen=True, slots=True)
class Twins:
    """Names whose backbones have the same names and shapes.

    `same` are groups of names whose outputs agree on the same input with the same weights, each
    group's first the one it goes by; `apart` says in a few words what tells the groups apart
    ("padding, epsilon").
    """

    same: Sequence[tuple[str, ...]]
    apart: str = ""


Words = Mapping[frozenset[str], Twins]


def document(
    entries: Sequence[IndexEntry], twins: Sequence[Twins], built_from: Mapping[str, str]
) -> dict[str, Json]:
    """The index as JSON: see `interop.identity.index.lookup.parse` for what each part is."""
    entries = _with_tied_heads(entries)
    fixed = _groups(e for e in entries if not _free(e))
    words = {frozenset(n for same in t.same for n in same): t for t in twins}
    numbered = _Numbered()
    tables: dict[tuple[str, ...], int] = {}
    families = _groups(filter(_free, entries))
    ways = [(i, *way) for i, g in enumerate(fixed) for way in _ways_of(g[0], numbered)]
    body = [_body_of(g[0], numbered) for g in families]
    exact = [[*_named(g, words), numbered.head(g[0])] for g in fixed]
    free = [_template(g, words, numbered, tables) for g in families]
    orders, exceptions = _orders(entries)
    return {
        "built_from": dict(built_from),
        "specs": [[list(tops), list(removed)] for tops, removed in numbered.specs],
        "heads": [[[list(h) for h in heads], takes] for heads, takes in numbered.heads],
        "exact": exact,
        "ways": _packed_ways(ways),
        "templates": free,
        "families": _packed_ways([(i, *way) for i, way in enumerate(body)]),
        "bases": {e.name: e.base for e in entries if e.base},
        "tables": ["\n".join(rows) for rows in tables],
        "orders": orders,
        "order_exceptions": exceptions,
        "pieces": _pieces(fixed),
    }


def alike(entries: Sequence[IndexEntry]) -> list[list[IndexEntry]]:
    """The groups of two names or more whose tensors no file tells apart.

    Of models of one size those whose backbones have the same names and shapes; of free sizes those
    whose names and relations of sizes are the same, heads included.
    """
    return [g for g in _groups(_with_tied_heads(entries)) if len({e.name for e in g}) > 1]


def _with_tied_heads(entries: Sequence[IndexEntry]) -> list[IndexEntry]:
    """A head that is one with the embeddings is in no file, and a head all the same."""
    heads = {e.name: e.heads for e in reversed(entries) if e.heads and _free(e)}
    return [e if e.heads else replace(e, heads=heads.get(e.name, ())) for e in entries]


def _free(entry: IndexEntry) -> bool:
    return entry.library == "transformers"


def _groups(entries: Iterable[IndexEntry]) -> list[list[IndexEntry]]:
    """Entries that no file tells apart, together; each name once in a group."""
    groups: dict[object, dict[str, IndexEntry]] = defaultdict(dict)
    for e in entries:
        key: object = (_free(e) and _structure(e)) or (_backbone_sum(e, e.removed), e.heads)
        groups[key].setdefault(e.name, e)
    return [list(group.values()) for group in groups.values()]


# ---------------------------------------------------------------- one size


class _Numbered:
    """What many architectures have in common, each once, by number."""

    def __init__(self) -> None:
        self.specs: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        self.heads: dict[tuple[tuple[tuple[str, str], ...], str], int] = {}

    def spec(self, tops: Iterable[str], removed: Iterable[str]) -> int:
        key = tuple(sorted(tops)), tuple(sorted(removed))
        return self.specs.setdefault(key, len(self.specs))

    def head(self, entry: IndexEntry) -> int:
        return self.heads.setdefault((entry.heads, entry.takes), len(self.heads))


def _ways_of(entry: IndexEntry, numbered: _Numbered) -> Iterator[tuple[int, int]]:
    """The number of a spec and the sum of what is left, for each way to lose a head."""
    for removed in _ways(entry):
        if tops := _tops(entry.shapes, removed):
            yield numbered.spec(tops, removed), _backbone_sum(entry, removed)


def _packed_ways(ways: Sequence[tuple[int, int, int]]) -> dict[str, str]:
    """(number of a group or template, spec, sum) as three columns."""
    columns = zip(("groups", "specs", "sums"), (2, 2, 8), zip(*ways, strict=True), strict=False)
    return {name: _packed(values, width) for name, width, values in columns}


def _packed(values: Iterable[int], width: int) -> str:
    """Whole numbers of a few bytes each, little-endian, in base64."""
    return b64encode(b"".join(v.to_bytes(width, "little") for v in values)).decode()


def _named(group: Sequence[IndexEntry], words: Words) -> list[Json]:
    """The names of a group, those of one computation together; and what tells the rest apart."""
    names = [e.name for e in group]
    if (twins := words.get(frozenset(names))) is None:
        return [[[name] for name in names], ""]
    return [[list(same) for same in twins.same], twins.apart]


def _ways(entry: IndexEntry) -> Iterator[tuple[str, ...]]:
    """What may be left out or replaced: the heads, or a module around the main one."""
    yield entry.removed
    if not entry.heads or entry.heads[0][1] not in _REPLACED_WHOLE:
        return
    parts = entry.heads[0][0].split(".")
    for n in range(len(parts) - 1, 0, -1):
        yield _outermost((*entry.removed, ".".join(parts[:n])))


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    unique = sorted(set(paths))
    return tuple(p for p in unique if not any(under(p, q) for q in unique))


def _tops(shapes: Shapes, removed: Sequence[str]) -> list[str]:
    """The first tokens of the names that are left."""
    return list(dict.fromkeys(n.partition(".")[0] for n in _kept(shapes, removed)))


def _kept(shapes: Shapes, removed: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {
        n: s
        for n, s in shapes.items()
        if not any(under(n, p) for p in removed) and not BUFFERS.search(n)
    }


def _backbone_sum(entry: IndexEntry, removed: Sequence[str]) -> int:
    return module_sums(_kept(entry.shapes, removed).items())[""]


# ---------------------------------------------------------------- what differs a little


def _pieces(groups: Sequence[Sequence[IndexEntry]]) -> dict[str, str]:
    """Sums of the modules that architectures are made of, sorted; and which of them each has."""
    cuts = [sorted(set(_cut(g[0]))) for g in groups]
    sums = sorted({s for pieces in cuts for s in pieces})
    number = {s: i for i, s in enumerate(sums)}
    return {
        "sums": _packed(sums, 8),
        "counts": _packed(map(len, cuts), 2),
        "ids": _packed((number[s] for pieces in cuts for s in pieces), 2),
    }


def _cut(entry: IndexEntry) -> list[int]:
    """Cuts a backbone into modules by always opening the largest; their sums, shortened."""
    shapes = _kept(entry.shapes, entry.removed)
    sums = module_sums(shapes.items())
    size: Counter[str] = Counter()
    children: dict[str, dict[str, None]] = defaultdict(dict)
    for name, shape in shapes.items():
        path = ""
        for token in name.split(".")[:-1]:
            inner = f"{path}.{token}" if path else token
            children[path][inner] = None
            path = inner
            size[path] += prod(shape)
    pieces = list(children[""])
    while pieces and len(pieces) < _PIECES:
        largest = max((p for p in pieces if children[p]), key=lambda p: size[p], default="")
        if not largest:
            break
        pieces.remove(largest)
        pieces += children[largest]
    pieces.sort(key=lambda p: -size[p])
    return [sums[p] for p in pieces[: 2 * _PIECES]]


# ---------------------------------------------------------------- definition order


def _orders(entries: Sequence[IndexEntry]) -> tuple[list[list[str]], dict[str, list[int]]]:
    """Each set of sibling names whose order of definition is not the natural one; and who differs.

    Where a set is defined in several orders, the most frequent comes first, and an architecture of
    another one is an exception: its name, and the numbers of its orders.
    """
    seen: dict[frozenset[str], Counter[tuple[str, ...]]] = defaultdict(Counter)
    by_entry: list[tuple[str, set[tuple[str, ...]]]] = []
    for e in entries:
        own = set()
        for siblings in _siblings(e.shapes):
            seen[frozenset(siblings)][siblings] += 1
            own.add(siblings)
        by_entry.append((e.name, own))
    unnatural = {
        key: [o for o, _ in orders.most_common()]
        for key, orders in seen.items()
        if any(list(o) != sorted(o, key=natural) for o in orders)
    }
    numbered = {o: i for i, o in enumerate(o for os in unnatural.values() for o in os)}
    usual = {os[0] for os in unnatural.values()}
    exceptions = {}
    for name, own in by_entry:
        if odd := sorted(numbered[o] for o in own if o in numbered and o not in usual):
            exceptions[name] = odd
    return [list(o) for o in numbered], exceptions


def _siblings(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    children: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        path, rest = "", name
        while rest:
            token, _, rest = rest.partition(".")
            children[path][token] = None
            path = f"{path}.{token}"
    return (tuple(c) for c in children.values())


# ---------------------------------------------------------------- any size


def _structure(entry: IndexEntry) -> tuple[object, ...]:
    """Names without numbers, and how their sizes hang together, whatever the fields are called."""
    symbols: dict[str, int] = {}
    rows = []
    # By the alphabet: two families may define the same parts in another order.
    for pattern, dims in sorted(_dims(entry, entry.shapes)):
        canonical = []
        for dim in dims:
            name, factor, plus = dim
            canonical.append((symbols.setdefault(name, len(symbols)) if name else -1, factor, plus))
        rows.append((pattern, tuple(canonical)))
    return entry.root, entry.heads, tuple(rows)


def _template(
    group: Sequence[IndexEntry],
    words: Words,
    numbered: _Numbered,
    tables: dict[tuple[str, ...], int],
) -> list[Json]:
    """[names, what tells them apart, heads, root, patterns around, table]

    A table is the fields, then a row for each pattern; classes on one backbone share it.
    """
    first = group[0]
    body, _ = _body(first)
    rows = list(_dims(first, body))
    fields = sorted({dim[0] for _, dims in rows for dim in dims if dim[0]})
    names = {n for n in first.shapes if not BUFFERS.search(n)}
    mine = {f"{first.root}.{n}" if first.root else n for n in body}
    around = sorted({pattern_of(n) for n in names - mine})
    lines = [" ".join([p, *(_dim_text(d, fields) for d in dims)]) for p, dims in rows]
    table = tables.setdefault(("; ".join(fields), *sorted(lines)), len(tables))
    return [*_named(group, words), numbered.head(first), first.root, around, table]


def _body(entry: IndexEntry) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The tensors of the headless model, named as within its root; the heads' paths within it."""
    root = entry.root

    def inside(name: str) -> str:
        return name.removeprefix(f"{root}.") if root else name

    inner = {inside(n): s for n, s in entry.shapes.items() if not root or under(n, root)}
    removed = [inside(p) for p in entry.removed if not root or under(p, root)]
    return _kept(inner, removed), removed


def _body_of(entry: IndexEntry, numbered: _Numbered) -> tuple[int, int]:
    """The number of a spec, and the sum of the backbone's patterns of names."""
    body, removed = _body(entry)
    return numbered.spec(_tops(body, ()), removed), sum(pattern_sums(body).values()) & _WORD


def pattern_sums(shapes: Iterable[str]) -> dict[str, int]:
    """Each pattern of names once, with its word."""
    return {p: word(p, ()) for p in dict.fromkeys(map(pattern_of, shapes))}


Dim = tuple[str, int, int]  # field, factor, summand; ("", 0, 0) is any number
ANY_RANK: Dim = ("", -1, 0)  # of layers that share a pattern and nothing else


def _dims(entry: IndexEntry, shapes: Shapes) -> Iterator[tuple[str, list[Dim]]]:
    """Each pattern of names with its dimensions, then how often its numbers count on."""
    by_pattern: dict[str, list[tuple[tuple[str, ...], tuple[int, ...]]]] = defaultdict(list)
    for name, shape in shapes.items():
        if not BUFFERS.search(name):
            numbers = tuple(t for t in name.split(".") if t.isdigit())
            by_pattern[pattern_of(name)].append((numbers, shape))
    # No dimension of a tensor is a number of layers, and no number of layers is one.
    counts = {v: k for k, v in entry.sizes.items() if _COUNT.search(k)}
    sizes = {v: k for k, v in entry.sizes.items() if not _COUNT.search(k)}
    for pattern, members in by_pattern.items():
        all_shapes = {shape for _, shape in members}
        rank = max(map(len, all_shapes))
        dims: list[Dim] = []
        if any(len(s) != rank for s in all_shapes):
            yield pattern, [ANY_RANK]
            continue
        for axis in range(rank):
            values = {s[axis] for s in all_shapes}
            dims.append(_expression(values.pop(), sizes) if len(values) == 1 else ("", 0, 0))
        for place in range(len(members[0][0])):
            count = len({numbers[place] for numbers, _ in members})
            dims.append((counts[count], 1, 0) if count in counts else ("", 0, 0))
        yield pattern, dims


def _expression(value: int, sizes: Mapping[int, str]) -> Dim:
    """A dimension as field * k + c; ("", 0, 0) where it follows no field."""
    if value in sizes:
        return sizes[value], 1, 0
    for plus in (1, 2):
        if value - plus in sizes and value > 8:
            return sizes[value - plus], 1, plus
    for factor in (2, 3, 4):
        if value % factor == 0 and value // factor in sizes and value > 8:
            return sizes[value // factor], factor, 0
    return "", 0, 0


def _dim_text(dim: Dim, fields: Sequence[str]) -> str:
    """ "3*0", "1+2", "4": the field by its number; "?" for any number."""
    name, factor, plus = dim
    if not name:
        return "*" if dim == ANY_RANK else "?"
    text = str(fields.index(name))
    return (f"{factor}*" if factor != 1 else "") + text + (f"+{plus}" if plus else "")
