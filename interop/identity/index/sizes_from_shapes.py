"""A family's template and tensors -> the sizes that the shapes tell, or that they do not fit.

A row of a template is a pattern of names ("layer.#.attention.query.weight") with its dimensions and
then, for each number in the name, how many values it takes: "3*0" is three times the first field,
"1+2" the second field plus 2, "?" any number, "*" any shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from interop.identity.index.lookup import BUFFERS, pattern_of
from interop.patterns import lazy

_TERM = lazy(r"(?:(\d+)\*)?(\d+)(?:\+(\d+))?")
_MISFIT = "!"
Shaped = Sequence[tuple[str, tuple[int, ...]]]


def fit(table: str, tensors: Shaped) -> dict[str, int] | None:
    """The sizes by config field; None where two dimensions of one field disagree.

    `table` is one of the index's; `tensors` are the backbone's, named as within its root.
    """
    fields, *rows = table.split("\n")
    names = fields.split("; ")
    seen: dict[int, int] = {}
    for term, value in _equations(rows, tensors):
        if term == _MISFIT:
            return None
        if (match := _TERM.fullmatch(term)) is None:
            continue
        factor, field, plus = int(match[1] or 1), int(match[2]), int(match[3] or 0)
        if (value - plus) % factor or value <= plus:
            return None
        if seen.setdefault(field, (value - plus) // factor) != (value - plus) // factor:
            return None
    return {names[field]: value for field, value in sorted(seen.items())}


def _equations(rows: Sequence[str], tensors: Shaped) -> Iterator[tuple[str, int]]:
    """Each dimension that a field decides, as the table writes it, and as the tensors have it."""
    terms = {pattern: dims for pattern, *dims in (row.split(" ") for row in rows)}
    numbers: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name, shape in tensors:
        if BUFFERS.search(name):
            continue
        pattern = pattern_of(name)
        if (dims := terms.get(pattern, [])) == ["*"]:
            continue
        numbers[pattern].add(tuple(t for t in name.split(".") if t.isdigit()))
        # The rank is what a row has beyond its counts; a tensor of another rank fits nothing.
        if len(dims) != len(shape) + pattern.split(".").count("#"):
            yield _MISFIT, 0
            return
        yield from zip(dims, shape, strict=False)
    for pattern, occurrences in numbers.items():
        dims = terms[pattern]
        counts = pattern.split(".").count("#")
        for place in range(counts):
            term, values = dims[len(dims) - counts + place], {int(n[place]) for n in occurrences}
            # Layers that a field counts are numbered from 0 on; with one lost the rest is no model.
            lost = term != "?" and max(values) >= len(values)
            yield (_MISFIT, 0) if lost else (term, len(values))
