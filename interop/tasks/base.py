"""What every task tells of a model's outputs: answers, which are right, and the scores of all.

outputs -> answers (small, one a record, all that is kept) -> Scores. The metrics are those of
scikit-learn, torchmetrics and seqeval; what is ours is that each has an interval.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interop.data.base import Array, Preparation, Prepared
from interop.facts import TaskName, Unit
from interop.facts.sections.bench import ClassTables


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of a whole data set, with its 95 % interval; `unit` as of a Measurement.

    `better` is 1 where more is better and -1 where less is.
    """

    name: str
    unit: Unit
    value: float
    interval: tuple[float, float] | None = None
    better: int = 1


class Task(ABC):
    """One task, for a model of these labels (() where there are none).

    `name` is the Hub's word for it. `headline` names the score that a summary shows first.
    """

    name: TaskName
    headline: str
    # Whether two answers can be the same; numbers that are computed never are, to the last bit.
    discrete: bool = True

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels = tuple(labels)

    @abstractmethod
    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Any]:
        """What the outputs say, one compact answer a record of the batch, in order.

        Raises ModelError where the outputs are none of this task.
        """

    @abstractmethod
    def right(self, answer: Any, truth: Any) -> bool | None:
        """Whether an answer is right; None where a task knows no yes or no (perplexity)."""

    @abstractmethod
    def key(self, answer: Any) -> Hashable:
        """What two answers have alike where they are the same: label names, text, never numbers of
        a model's own order."""

    @abstractmethod
    def scores(self, answers: Sequence[Any], truths: Sequence[Any]) -> list[Score]:
        """The task's figures over all records, the headline first."""

    def figure(self, answers: Sequence[Any], truths: Sequence[Any]) -> float:
        """The headline alone, without an interval; overridden where that is much cheaper."""
        return self.scores(answers, truths)[0].value

    @abstractmethod
    def words(self, answer: Any) -> str:
        """An answer for people, in a few words."""

    @abstractmethod
    def truth_words(self, truth: Any) -> str:
        """The truth for people, in the same form."""

    def margin(self, answer: Any) -> float | None:
        """By how much the outputs may move before the answer becomes another; None if not known."""
        margin: float | None = getattr(answer, "margin", None)
        return margin

    def between(self, ours: Sequence[Any], theirs: Sequence[Any]) -> list[Score]:
        """Further figures of how far two runs' answers to the same records lie apart."""
        return []

    def tables(self, of: str, answers: Sequence[Any], truths: Sequence[Any]) -> ClassTables | None:
        """Tables of the answers of `of` for the report; None where a task has none."""
        return None
