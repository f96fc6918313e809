"""Tensors and the index -> the architectures they are of, where the backbone lies, and its heads.

The backbone may lie under a module of somebody's own, and other modules beside it; what counts is
that all of it is there. What only comes near is the runner-up, never the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from interop.facts import Architecture, HeadInput, HeadRole, TensorSpec, family
from interop.identity.index import lookup as indexes
from interop.identity.index import sizes_from_shapes
from interop.identity.index.lookup import BUFFER_NAMES, BUFFERS, Group, Index, pattern_of, under
from interop.patterns import lazy
from interop.records import dataclass, replace

NAMES_AND_SHAPES = "names and shapes of its tensors"
_OLD = {"gamma": "weight", "beta": "bias"}
_DEEPEST = 6
_MANY = 10_000  # tensors, of which no model of one size in the index has so many
_MANY_PATTERNS = 1_000
_ROOT_SHARE = 0.2  # of all bytes, below which a module cannot be the backbone
_BESIDE_SHARE = 1 / 3  # of all bytes, above which what lies beside a backbone is no mere head
_BESIDE_TENSORS = 40  # above which it is no head either, but a network of its own (a decoder)
_NEAR = 0.02  # of the bytes, below which likeness says nothing
_FEWEST = 3  # tensors, below which it says nothing either: any model may have a "logit_scale"
# Stored twice by some versions of a library and once by others, being one tensor.
_TIED = lazy(r"(^|\.)(lm_head|decoder|proj_out|output_embeddings)\.(weight|bias)$")
# What a model may hold and need not, whatever its class: old GPT files keep their causal masks, and
# speech models a vector that stands for what is masked in training.
_IDLE = lazy(r"(^|\.)(masked_spec_embed|attn\.bias|attention\.bias)$")
_IDLE_ENDS = (*BUFFER_NAMES, "masked_spec_embed", "bias", "\n")  # a quick look before the patterns


@dataclass(frozen=True, slots=True)
class Match:
    """What fits.

    `architectures` are without evidence from outside, `apart` is what tells several of them apart.
    `root` is the module in which they lie; `heads` are (path in the file, role), the main one
    first, and `takes` is what that one is given. `beside` are the names of tensors that are neither
    backbone nor under a head's path.
    """

    architectures: tuple[Architecture, ...]
    apart: str
    root: str
    heads: tuple[tuple[str, HeadRole], ...]
    takes: HeadInput
    beside: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Hit:
    group: Group
    names: tuple[tuple[str, ...], ...]
    root: str
    heads: tuple[tuple[str, HeadRole], ...]
    body: int  # bytes of the backbone
    beside: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...] = ()


def find(tensors: Sequence[TensorSpec], index: Index, prefix: str = "") -> Match | None:
    """The architectures whose backbone is in the tensors, the heads aside.

    `prefix` is what was stripped from all names: "model." may be a wrapper, or a family's own.
    """
    stripped = prefix.rstrip(".")
    weights = [_modern(t) for t in tensors if not _idle(t)]
    if len(weights) > _MANY and not _may_be_a_family(weights, index):
        return None
    total = sum(t.nbytes for t in weights)
    size = {t.name: t.nbytes for t in weights}
    candidates: list[_Hit] = []
    for root in _roots(weights, total):
        hits = [*_exact(weights, root, index), *_free(weights, root, stripped, index)]
        candidates += (
            h for h in hits
            if len(h.beside) <= _BESIDE_TENSORS
            and sum(size[n] for n in h.beside) <= total * _BESIDE_SHARE
        )  # fmt: skip
        # What explains every tensor needs no further search; else the same backbone may be known
        # by a module within, with the heads that the file has.
        if any(not h.beside for h in candidates):
            break
    if not candidates:
        return None
    best = max((not h.beside, h.body) for h in candidates)
    good = [h for h in candidates if (not h.beside, h.body) == best]
    return _match([h for h in good if h.root == good[0].root])


def nearest(
    tensors: Sequence[TensorSpec], index: Index, known: Sequence[str] = ()
) -> Architecture | None:
    """The architecture that most of the weight bytes are like, apart from those `known`."""
    if len(tensors) > 2 * _MANY:
        return None
    weights = [_modern(t) for t in tensors if not _idle(t)]
    if not _FEWEST <= len(weights) <= _MANY:
        return None
    total = sum(t.nbytes for t in weights) or 1
    best: tuple[int, tuple[tuple[str, ...], ...]] = (0, ())
    families = {family(n) for n in known}
    for root in _roots(weights, total):
        inner = [t.named(_inside(t.name, root)) for t in weights if _is_in(t.name, root)]
        patterns: Counter[str] = Counter()
        for t in inner:
            patterns[pattern_of(t.name)] += t.nbytes
        for number, bytes_alike in indexes.closest(inner, index):
            names = index.group(number).names
            if bytes_alike > best[0] and not any(n in known for same in names for n in same):
                best = (bytes_alike, names)
                break
        alike: Counter[int] = Counter()
        for pattern, size in patterns.items():
            for table in index.tables_of.get(pattern, ()):
                alike[table] += size
        for template in index.templates:
            names = template.group.names
            # Another head on the same backbone is no other architecture.
            if any(family(n) in families for same in names for n in same):
                continue
            if alike[template.table] > best[0]:
                best = (alike[template.table], names)
        if best[0] > total / 2:
            break  # whatever is known by a module within has fewer of the bytes
    if best[0] < total * _NEAR:
        return None
    same = best[1][0]
    return Architecture(same[0], "the most weight bytes alike", best[0] / total, same[1:])


def _modern(spec: TensorSpec) -> TensorSpec:
    """The tensor under today's name: BERT's first releases called a norm's weight gamma."""
    front, _, leaf = spec.name.rpartition(".")
    if leaf not in _OLD or not front.endswith("LayerNorm"):
        return spec
    return spec.named(f"{front}.{_OLD[leaf]}")


def _may_be_a_family(weights: Sequence[TensorSpec], index: Index) -> bool:
    """Whether the names of very many tensors, without their numbers, are a family's.

    No model of one size has so many; a language model of many layers and experts may.
    """
    patterns = {pattern_of(t.name) for t in weights}
    for _ in range(_DEEPEST if len(patterns) <= _MANY_PATTERNS else 0):
        if indexes.families_of(patterns, index):
            return True
        if not (tokens := Counter(p.partition(".")[0] for p in patterns if "." in p)):
            break
        top = tokens.most_common(1)[0][0]
        patterns = {_inside(p, top) for p in patterns if under(p, top)}
    return False


def _roots(tensors: Sequence[TensorSpec], total: int) -> Iterator[str]:
    """The whole, then the largest module in it, and so on while it is most of the file."""
    path = ""
    yield path
    for _ in range(_DEEPEST):
        size: Counter[str] = Counter()
        for t in tensors:
            if _is_in(t.name, path):
                token, dot, _ = _inside(t.name, path).partition(".")
                if dot:
                    size[token] += t.nbytes
        if not size:
            return
        token, share = size.most_common(1)[0]
        if share < total * _ROOT_SHARE:
            return
        path = f"{path}.{token}" if path else token
        yield path


def _idle(spec: TensorSpec) -> bool:
    """Whether a tensor says nothing of the architecture."""
    if not spec.name.endswith(_IDLE_ENDS):
        return False
    if BUFFERS.search(spec.name):
        return True
    # A bias proper has one axis; a causal mask (1, 1, n, n) is called the same.
    mask = spec.shape[:2] == (1, 1) and len(spec.shape) == 4
    return bool(_IDLE.search(spec.name)) and (mask or not spec.name.endswith("bias"))


def _is_in(name: str, root: str) -> bool:
    return not root or under(name, root)


def _inside(name: str, root: str) -> str:
    return name[len(root) + 1 :] if root else name


def _join(root: str, path: str) -> str:
    return f"{root}.{path}" if root and path else root or path


# ---------------------------------------------------------------- one size


def _exact(tensors: Sequence[TensorSpec], root: str, index: Index) -> Iterator[_Hit]:
    inner = [(_inside(t.name, root), t.shape) for t in tensors if _is_in(t.name, root)]
    for number, spec in indexes.groups_of(inner, index):
        yield _hit(tensors, root, index.group(number), index.specs[spec])


def _hit(
    tensors: Sequence[TensorSpec],
    root: str,
    group: Group,
    spec: tuple[Sequence[str], Sequence[str]],
) -> _Hit:
    tops, removed = spec
    body, beside = 0, []
    # A head replaced by a whole module of one's own lies where the library's head lay in it.
    gone = [_join(root, p) for p in removed]
    for t in tensors:
        if _is_in(t.name, root) and indexes.held(_inside(t.name, root), tops, removed):
            body += t.nbytes
        elif not any(under(t.name, p) for p in gone):
            beside.append(t.name)
    heads = []
    for number, (path, role) in enumerate(group.heads):
        outer = next((p for p in removed if p == path or under(path, p)), path)
        full = _join(root, path)
        around = [t.name for t in tensors if under(t.name, _join(root, outer))]
        inside = [n for n in around if under(n, full)]
        # In a module of somebody's own a layer may lie at the library's path and not be the last.
        kept = inside and (number > 0 or len(inside) == len(around))
        heads.append((full if kept else _join(root, outer), role))
    return _Hit(group, group.names, root, tuple(dict.fromkeys(heads)), body, tuple(beside))


# ---------------------------------------------------------------- any size


def _free(tensors: Sequence[TensorSpec], root: str, stripped: str, index: Index) -> Iterator[_Hit]:
    inner = [t for t in tensors if _is_in(t.name, root)]
    families = indexes.families_of((_inside(t.name, root) for t in inner), index)
    if not families:
        return
    hits = []
    for number, spec in families:
        template = index.template(number)
        tops, removed = index.specs[spec]
        body = [
            (_inside(t.name, root), t)
            for t in inner
            if indexes.held(pattern_of(_inside(t.name, root)), tops, removed)
        ]
        table = index.tables[template.table]
        sizes = sizes_from_shapes.fit(table, [(name, t.shape) for name, t in body])
        if sizes is None:
            continue
        names = {t.name for _, t in body}
        outside = [t for t in tensors if t.name not in names]
        hits.append((template, sizes, sum(t.nbytes for _, t in body), outside))
    yield from _classes(hits, root, stripped, index)


_Fit = tuple[indexes.Template, dict[str, int], int, list[TensorSpec]]


def _classes(fits: Sequence[_Fit], root: str, stripped: str, index: Index) -> Iterator[_Hit]:
    """The classes whose heads the file has; else the headless models, with what lies beside."""
    # Where the path of the backbone is what a family calls it, it is no other family's.
    whole = _join(stripped, root)
    named = [f for f in fits if f[0].root and f".{whole}".endswith(f".{f[0].root}")]
    graded: list[tuple[int, _Hit]] = []
    for template, sizes, body, outside in named or [f for f in fits if not f[0].root]:
        group = template.group
        wrap = root.removesuffix(template.root).rstrip(".") if template.root else root
        heads = tuple((_join(wrap, p), r) for p, r in group.heads)
        if grade := _grade(template, outside, wrap, heads):
            beside = tuple(
                t.name for t in outside if not any(under(t.name, p) for p, _ in heads)
                and pattern_of(_inside(t.name, wrap)) not in template.around
            )  # fmt: skip
            # The root of a class with its head is the class's own top, not its backbone's.
            hit = _Hit(group, group.names, wrap, heads, body, beside, tuple(sizes.items()))
            graded.append((grade, hit))
    best = max((grade for grade, _ in graded), default=0)
    if best and (named or any(hit.heads for _, hit in graded)):
        yield from (hit for grade, hit in graded if grade == best)
        return
    yield from _headless(named or fits, root, index)


def _headless(fits: Sequence[_Fit], root: str, index: Index) -> Iterator[_Hit]:
    hits: dict[tuple[tuple[str, ...], ...], _Hit] = {}
    for template, sizes, body, outside in fits:
        names = tuple(
            tuple(dict.fromkeys(index.bases.get(n, n) for n in same))
            for same in template.group.names
        )
        # What a head of somebody's own is given of them (one token, their mean, all) is not known.
        bare = Group(names, template.group.apart, (), HeadInput.UNKNOWN)
        beside = tuple(t.name for t in outside)
        hits.setdefault(names, _Hit(bare, names, root, (), body, beside, tuple(sizes.items())))
    yield from hits.values()


def _grade(
    template: indexes.Template,
    outside: Sequence[TensorSpec],
    wrap: str,
    heads: Sequence[tuple[str, HeadRole]],
) -> int:
    """2 where the file has the class's own head, 1 where another stands in its place, else 0."""
    wanted = {p for p in template.around if not _TIED.search(p)}
    there = {pattern_of(_inside(t.name, wrap)) for t in outside if _is_in(t.name, wrap)}
    if len(outside) != sum(_is_in(t.name, wrap) for t in outside):
        return 0
    if (there := {p for p in there if not _TIED.search(p) or p in wanted}) == wanted:
        if template.group.heads and template.group.heads[0][1] == HeadRole.CHOICE:
            rows = [t.shape[0] for t in outside if under(t.name, heads[0][0]) and len(t.shape) == 2]
            return 2 if rows[-1:] == [1] else 0
        return 2
    # What leads to the head, or stands beside it, is the class's too.
    own = [pattern_of(p) for p, _ in template.group.heads[:1]]
    rest = {p for p in there if not any(under(p, h) for h in own)}
    same = rest == {p for p in wanted if not any(under(p, h) for h in own)}
    if not same or not own:
        return 0
    # Where all is there that leads to a head, and the head is not, the class is the same.
    sides = [pattern_of(p) for p, role in template.group.heads[1:] if role != HeadRole.PROJECTION]
    leading = any(not any(under(p, side) for side in sides) for p in rest)
    return 1 if leading or any(under(p, own[0]) for p in there) else 0


# ---------------------------------------------------------------- together


def _match(hits: Sequence[_Hit]) -> Match:
    first = hits[0]
    architectures: dict[str, Architecture] = {}
    for hit in hits:
        for same in hit.names:
            architecture = Architecture(same[0], NAMES_AND_SHAPES, 1.0, same[1:], dict(hit.sizes))
            architectures.setdefault(same[0], architecture)
    others = {n for a in architectures.values() for n in a.also}
    architectures = {n: a for n, a in architectures.items() if n not in others}
    words = dict.fromkeys(w for h in hits for w in h.group.apart.split(", ") if w)
    if len(architectures) > 1 and not words:
        words = dict.fromkeys(["what each computes around them"])
    # One file may fit a class twice, by its names in memory and on disk.
    several = len(architectures) > 1
    return Match(
        tuple(architectures.values()),
        ", ".join(words) if several else "",
        first.root,
        first.heads,
        first.group.takes,
        first.beside,
    )


def resolved(match: Match, name: str, evidence: str) -> Match:
    """The match with the one architecture that evidence from outside the tensors names.

    Where the tensors leave no choice, it is they that are the evidence.
    """
    if len(match.architectures) == 1:
        return match
    chosen = [a for a in match.architectures if is_called(a, name)]
    one = tuple(replace(a, evidence=evidence) for a in chosen[:1])
    return replace(match, architectures=one, apart="") if len(chosen) == 1 else match


def is_called(architecture: Architecture, name: str) -> bool:
    """Whether a person or a file that says `name` may mean this architecture."""
    return any(is_name(name, full) for full in (architecture.name, *architecture.also))


def is_name(said: str, full: str) -> bool:
    """Whether "ResNet-18", "resnet18.a1_in1k" or "timm/resnet18" is what "timm/resnet18" is called.

    Case and signs between words are of no matter, nor is timm's tag of the weights after the dot.
    """
    own = {_bare(full), _bare(full.partition("/")[2])}
    return not own.isdisjoint((_bare(said), _bare(said.partition(".")[0])))


def _bare(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum() or c == "/")
