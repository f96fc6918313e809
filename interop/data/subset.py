"""Some of a data set's records -> a data set of its own: a fold, a part that is held back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interop.data.base import Data, Record
from interop.facts import Json


class Subset(Data):
    """The records of `data` at `picks` (ascending)."""

    def __init__(self, data: Data, picks: Sequence[int]) -> None:
        self.data, self.picks = data, tuple(int(i) for i in picks)
        self.kind, self.path, self.ignored = data.kind, data.path, data.ignored

    def __len__(self) -> int:
        return len(self.picks)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        return self.data.records(self.picks if picks is None else [self.picks[i] for i in picks])

    def about(self) -> dict[str, Json]:
        return {**self.data.about(), "samples": len(self), "of": len(self.data)}


class InMemory(Data):
    """The records of `data` in memory, in whichever order they are asked for: what is small and
    gone over often."""

    def __init__(self, data: Data) -> None:
        self._records = tuple(data.records())
        self.kind, self.path, self.ignored = data.kind, data.path, data.ignored
        self._about = data.about()

    def __len__(self) -> int:
        return len(self._records)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        return iter(self._records if picks is None else [self._records[i] for i in picks])

    def about(self) -> dict[str, Json]:
        return self._about
