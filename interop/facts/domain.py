"""The input sizes at which a graph was shown to be its module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interop.facts.enums import AxisState
from interop.facts.model import Json
from interop.records import dataclass


@dataclass(frozen=True, slots=True)
class AxisDomain:
    """The sizes of one axis of one input at which a graph was shown to be its module.

    `axis` counts from 0; `name` is "" for an axis that has none. From `min` to `max` (None: no end
    is known) in multiples of `multiple_of`, equal or never equal to another axis by name. `tried`
    are the sizes that were seen to hold; `why` says what keeps it from more. `gaps` says that the
    sizes between those tried are assumed: nothing told where the module may go another way.
    """

    input: str
    axis: int
    name: str
    state: AxisState
    min: int | None = None
    max: int | None = None
    multiple_of: int | None = None
    equal_to: str | None = None
    not_equal_to: str | None = None
    tried: tuple[int, ...] = ()
    why: str = ""
    gaps: bool = False

    def json(self) -> dict[str, Json]:
        """The axis as a receipt has it."""
        return {
            "input": self.input, "axis": self.axis, "name": self.name, "state": str(self.state),
            "min": self.min, "max": self.max, "multiple_of": self.multiple_of,
            "equal_to": self.equal_to, "not_equal_to": self.not_equal_to,
            "tried": list(self.tried), "why": self.why, "gaps": self.gaps,
        }  # fmt: skip

    @classmethod
    def from_json(cls, stated: Mapping[str, Json]) -> AxisDomain:
        """What `json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        if not isinstance(stated, Mapping):
            raise TypeError("an axis is no object")
        rest = {"why": "", **stated, "state": AxisState(stated["state"])}
        rest["tried"] = tuple(stated["tried"])
        axis = cls(**rest)
        axis.check()
        return axis

    def check(self) -> None:
        """Raises ValueError where a size is no size, or the last comes before the first."""
        sizes = (self.min, self.max, self.multiple_of, *self.tried)
        if any(n is not None and (type(n) is not int or n < 1) for n in sizes):
            raise ValueError(f"a size of {self.name or 'an axis'} is no positive number")
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"{self.name or 'an axis'} ends before it begins")

    def refuses(self, size: int, sizes: Mapping[str, int]) -> str:
        """Why an input of this size is outside; "" if it is not. `sizes` are those of all axes."""
        what = f"{self.name or f'axis {self.axis}'} is {size}; the graph was proved"
        if size < (self.min or size) or size > (self.max or size):
            bounds = f"{self.min} to {self.max}" if self.max else f"{self.min} or more"
            wanted = str(self.min) if self.min == self.max else bounds
            return f"{what} for {wanted}"
        if self.multiple_of and size % self.multiple_of:
            return f"{what} for multiples of {self.multiple_of}"
        if self.equal_to and size != sizes.get(self.equal_to, size):
            return f"{what} where it equals {self.equal_to}"
        if self.not_equal_to and size == sizes.get(self.not_equal_to):
            return f"{what} where it differs from {self.not_equal_to}"
        return ""

    def words(self) -> str:
        """The sizes in words: "multiples of 4, 20 or more; 20 to 64 tried"."""
        if self.state is AxisState.FIXED:
            return f"fixed at {self.min}"
        parts = []
        if self.multiple_of:
            parts.append(f"multiples of {self.multiple_of}")
        if self.max is not None:
            parts.append(f"{self.min} to {self.max}")
        elif (self.min or 1) > 1:
            parts.append(f"{self.min} or more")
        if self.equal_to:
            parts.append(f"equal to {self.equal_to}")
        if self.not_equal_to:
            parts.append(f"not equal to {self.not_equal_to}")
        ends = sorted({self.tried[0], self.tried[-1]}) if self.tried else []
        seen = f" ({' to '.join(map(str, ends))} tried)" if ends else ""
        if self.gaps:
            seen = f" ({', '.join(map(str, self.tried))} tried; sizes between them are assumed)"
        return f"{self.state}{': ' * bool(parts)}{', '.join(parts)}{seen}"


def outside(domain: Sequence[AxisDomain], shapes: Mapping[str, Sequence[int]]) -> str:
    """Why inputs of these shapes, by name, are outside of a domain; "" where they are inside."""
    sizes = {
        (d.input, d.axis): shapes[d.input][d.axis]
        for d in domain
        if d.input in shapes and d.axis < len(shapes[d.input])
    }
    named = {d.name: sizes[d.input, d.axis] for d in domain if (d.input, d.axis) in sizes}
    for d in domain:
        size = sizes.get((d.input, d.axis))
        if size is not None and (why := d.refuses(size, named)):
            return f"{d.input}: {why}"
    return ""
