"""A Pairing -> the same with how the values of each pair differ; and the sentence that sums it up.

The one part of a check that reads the tensors' values: both files in one pass, in bounded memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from interop.check.heads import match_rows
from interop.check.maps import views
from interop.facts import Identity, MapStep, Pair, Pairing, Stats, TensorSpec
from interop.facts.sections.check import MovedTensor, ValueComparison
from interop.reading import values_module
from interop.records import replace

Progress = Callable[[str], None]
_STATISTICS = ("running_mean", "running_var")
_ROUNDING = 1e-5  # of a tensor's largest value: what another order of additions may leave


def compare(
    a: Identity, b: Identity, pairing: Pairing, progress: Progress | None = None
) -> tuple[Identity, Identity, Pairing]:
    """Both identities with statistics on their tensors, and the pairs with their differences.

    Tensors that only one side has are looked at too, and paired where they hold the very same
    bytes under another name. Raises ReadError where values cannot be had, ExtraMissing on the
    light install, which has no numpy.
    """
    values = values_module()
    left: dict[str, Stats | None] = {}
    right: dict[str, Stats | None] = {}
    matched = []
    whole = sum(p.a.nbytes for p in pairing.matched) or 1
    done = 0
    rows = values.compared([(p.a, p.b) for p in pairing.matched])
    for pair, (_, x, y, difference) in zip(pairing.matched, rows, strict=True):
        left[pair.a.name], right[pair.b.name] = x, y
        seen = replace(pair.a, stats=x), replace(pair.b, stats=y)
        matched.append(Pair(*seen, pair.step, difference))
        done += pair.a.nbytes
        if progress is not None:
            progress(f"values: {100 * done // whole} %")
    mine = [*pairing.missing, *(p.a for p in pairing.reshaped)]
    theirs = [*pairing.extra, *(p.b for p in pairing.reshaped)]
    for side, alone in ((left, mine), (right, theirs)):
        side.update({spec.name: stats for spec, stats in values.values(alone)})
    renamed = _renamed(pairing, values.digest)
    basis = pairing.basis
    if not basis and pairing.mapped and _same_under(pairing, values.digest):
        basis = "both hold the same bytes"
    paired = replace(pairing, matched=tuple(matched), renamed=tuple(renamed), basis=basis)
    paired = replace(paired, rows=match_rows(a, b, pairing))
    return _with(a, left), _with(b, right), paired


def _same_under(pairing: Pairing, digest: Callable[[TensorSpec], str]) -> bool:
    """Whether every mapped tensor of A holds the very bytes that the map makes of B's."""
    return all(
        x.storage is not None
        and y.storage is not None
        and (x.dtype, x.shape) == (y.dtype, y.shape)
        and digest(x) == digest(y)
        for x, y in (piece for m in pairing.mapped for piece in views(m))
    )


def _with(identity: Identity, stats: dict[str, Stats | None]) -> Identity:
    tensors = tuple(replace(t, stats=stats.get(t.name)) for t in identity.tensors)
    return replace(identity, tensors=tensors, values_read=True)


def _renamed(pairing: Pairing, digest: Callable[[TensorSpec], str]) -> Iterator[Pair]:
    """Tensors that only A has with those that only B has and that hold the same bytes."""

    def kind(spec: TensorSpec) -> tuple[object, ...]:
        return spec.dtype, spec.shape, spec.quantizer

    def plain(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
        return [t for t in specs if t.storage is not None and t.numel and not t.is_counter]

    missing, extra = plain(pairing.missing), plain(pairing.extra)
    common = {kind(t) for t in missing} & {kind(t) for t in extra}
    there: dict[str, list[TensorSpec]] = defaultdict(list)
    for spec in extra:
        if kind(spec) in common:
            there[digest(spec)].append(spec)
    for spec in missing:
        if kind(spec) in common and (twins := there.get(digest(spec))):
            yield Pair(spec, twins.pop(0), MapStep.SAME_BYTES)


# ---------------------------------------------------------------- in words


def summary(a: Identity, b: Identity, pairing: Pairing) -> ValueComparison:
    """What a report shows of the values: the sentence, counts, and each pair that differs."""
    pairs = [p for p in pairing.matched if p.difference is not None]
    changed = [p for p in pairs if p.difference and not p.difference.equal]
    moved = sorted((p for p in changed if not p.a.is_counter), key=_alikeness)
    return ValueComparison(
        sentence=sentence(a, b, pairing),
        compared=len(pairs),
        equal=len(pairs) - len(changed),
        counters_moved=len(changed) - len(moved),
        not_compared=tuple(p.a.name for p in pairing.matched if p.difference is None),
        moved=tuple(map(_row, moved)),
        renamed=tuple((p.a.name, p.b.name) for p in pairing.renamed),
    )


def _alikeness(pair: Pair) -> tuple[float, float]:
    d = pair.difference
    assert d is not None
    return (d.cosine if d.cosine is not None else 2.0), -(d.largest or 0.0)


def _row(pair: Pair) -> MovedTensor:
    d = pair.difference
    assert d is not None
    return MovedTensor(
        name=pair.a.name,
        elements=pair.a.numel,
        unequal=d.unequal,
        largest=d.largest,
        mean=d.mean,
        cosine=d.cosine,
        cast=d.cast,
    )


def sentence(a: Identity, b: Identity, pairing: Pairing) -> str:
    """What became of A's values in B, in one sentence to act on."""
    weights = [p for p in pairing.matched if not p.a.is_counter]
    blind = [p for p in weights if p.difference is None]
    alone = [t for t in (*pairing.missing, *pairing.extra) if not t.is_counter]
    renamed = len(pairing.renamed)
    if not weights and not pairing.reshaped:
        if pairing.mapped and pairing.basis.startswith("both hold"):
            return f"identical weights under other names: all {len(pairing.mapped)} tensors"
        if renamed and 2 * renamed == len(alone):
            return f"identical weights under other names: all {renamed} tensors"
        some = f"; {renamed} tensors hold the same bytes under another name" * bool(renamed)
        return f"no tensor has a counterpart by name{some}"
    if weights and len(blind) == len(weights):
        return f"the values of {_tensors(len(blind))} cannot be compared"
    text = _said(a, b, pairing, [p for p in weights if p.difference is not None], bool(alone))
    if renamed:
        text += f"; {_tensors(renamed)} moved to another name with the same bytes"
    if blind:
        text += f"; {_tensors(len(blind))} could not be compared"
    return text


def _said(a: Identity, b: Identity, pairing: Pairing, weights: list[Pair], alone: bool) -> str:
    moved = [p for p in weights if p.difference and not p.difference.equal]
    names = [p.a.name for p in (*moved, *pairing.reshaped)]
    same = len(weights) - len(moved)
    if not names:
        return _unchanged(a, b, pairing, same, alone)
    if moved and all(p.difference and p.difference.cast for p in moved) and not pairing.reshaped:
        return _cast(moved, same)
    statistics = [n for n in names if n.rpartition(".")[2] in _STATISTICS]
    head = {t for i in (a, b) if i.head is not None for t in i.head.tensors}
    in_head = [n for n in names if n in head]
    rest = len(names) - len(in_head) - len(statistics)
    others = f"the other {_tensors(same)}" if same != 1 else "the other tensor"
    left = f"{others} {_are(same)} the same bit by bit" if same else ""
    if rest == 0 and in_head:
        also = " and batch normalisation's statistics" if statistics else ""
        listed = ", ".join(in_head[:4]) + (", …" if len(in_head) > 4 else "")
        return f"only the head{also} moved: {listed}" + (f"; {left}" if left else "")
    modules = list(dict.fromkeys(n.rpartition(".")[0] for n in names))
    if rest and same and len(modules) <= 2 and all(modules) and not statistics:
        return f"only {' and '.join(modules)} moved: {', '.join(names[:4])}; {left}"
    if rest == 0:
        return f"only batch normalisation's statistics moved; {left or 'there is nothing else'}"
    if not pairing.reshaped and all(_is_rounding(p) for p in moved):
        verb = "differs" if len(moved) == 1 else "differ"
        return f"{_tensors(len(moved))} {verb} by rounding alone; {left or 'none is the same'}"
    return _moved(weights, moved, pairing.reshaped, left)


def _unchanged(a: Identity, b: Identity, pairing: Pairing, same: int, alone: bool) -> str:
    if alone:
        return f"the {_tensors(same)} that both have {_are(same)} the same bit by bit"
    moved = (p.a for p in pairing.matched if p.difference and not p.difference.equal)
    counters = any(spec.is_counter for spec in moved)
    but = "; only batch normalisation's counters moved" if counters else ""
    # What lies elsewhere in the file may be weights too: a dynamically quantized layer's do.
    beside = len(a.manifest.state_dicts) > 1 or len(b.manifest.state_dicts) > 1
    if beside:
        return f"all {same} tensors here are the same bit by bit{but}; the file holds others"
    return f"fine-tuning changed nothing: all {same} tensors are the same bit by bit{but}"


def _cast(moved: list[Pair], same: int) -> str:
    kinds = ", ".join(sorted({p.b.dtype for p in moved}))
    if same:
        return (
            f"{_tensors(len(moved))} of B {_are(len(moved))} A's cast to {kinds}; the other "
            f"{same} {_are(same)} the same bit by bit"
        )
    return f"B is A cast to {kinds}: each of its {_tensors(len(moved))} holds what A's rounds to"


def _moved(weights: list[Pair], moved: list[Pair], reshaped: tuple[Pair, ...], left: str) -> str:
    parts: dict[str, list[bool]] = defaultdict(list)
    for p in weights:
        parts[p.a.name.partition(".")[0]].append(bool(p.difference and p.difference.equal))
    for p in reshaped:
        parts[p.a.name.partition(".")[0]].append(False)
    frozen = [name for name, equal in parts.items() if all(equal)]
    if frozen and len(parts) > 1:
        shown = ", ".join(frozen[:5]) + (", …" if len(frozen) > 5 else "")
        left = f"{shown} did not move"
    phrases = []
    if moved:
        furthest = max(moved, key=lambda p: (p.difference and p.difference.largest) or 0.0)
        far = furthest.difference.largest if furthest.difference else None
        most = f", by at most {far:.3g} ({furthest.a.name})" if far is not None else ""
        phrases.append(f"{_tensors(len(moved))} moved{most}")
    if reshaped:
        names = ", ".join(p.a.name for p in reshaped[:4]) + (", …" if len(reshaped) > 4 else "")
        phrases.append(f"{_tensors(len(reshaped))} changed shape ({names})")
    return "; ".join([*phrases, *([left] if left else [])])


def _is_rounding(pair: Pair) -> bool:
    """May another order of additions have left the difference? In the mean, not at most: what is
    small beside one great outlier may be all of the others."""
    d, x, y = pair.difference, pair.a.stats, pair.b.stats
    if d is None or d.largest is None or d.cosine is None or x is None or y is None:
        return False
    if pair.a.dtype != pair.b.dtype or "float" not in pair.a.dtype or x.maximum is None:
        return False
    return (x.nan, x.inf) == (y.nan, y.inf) and d.largest <= _ROUNDING * d.scale


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _tensors(count: int) -> str:
    return f"{count} tensor" + "s" * (count != 1)
