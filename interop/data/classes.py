"""The class names that a data set has, and those of the model -> which is which, or what is amiss.

Always by name, never by order: two lists of the same classes are seldom in the same one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from interop.errors import DataError

_SHOWN = 5


def matched(
    found: Iterable[Hashable], labels: Sequence[str], *, what: str, where: str, fix: str
) -> dict[Hashable, int]:
    """Each class name that was found -> its place among the labels.

    A name may be a tuple of spellings, of which one is a label ("0 - zero", "0", "zero"). A label
    that no sample has is no fault. Raises DataError, naming both sides, for a name that is none.
    """
    index = {name: i for i, name in enumerate(labels)}
    places: dict[Hashable, int] = {}
    strange = []
    for name in found:
        spellings = name if isinstance(name, tuple) else (name,)
        place = next((index[s] for s in spellings if s in index), None)
        if place is None:
            strange.append(str(spellings[0]))
        else:
            places[name] = place
    if strange:
        raise DataError(
            f"{what} do not match the labels: {some(sorted(strange))} {verb(strange)} no label of "
            f"the model, which has {some(labels)}",
            where=where,
            fix=fix,
        )
    return places


def some(names: Sequence[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    shown = ", ".join(repr(n) for n in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def verb(names: Sequence[object]) -> str:
    return "is" if len(names) == 1 else "are each"


def in_range(number: int, labels: Sequence[str] | None, *, where: str) -> int:
    """The class number, if there is a label for it. Raises DataError."""
    if number < 0 or (labels and number >= len(labels)):
        what = f"its class is number {number}, and the model has {len(labels or ())} labels"
        fix = "correct the number, or give the model's labels with --labels"
        raise DataError(what, where=where, fix=fix)
    return number
