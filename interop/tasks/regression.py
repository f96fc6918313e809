"""Numbers -> how far they lie from the true ones."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Array, Preparation, Prepared
from interop.facts import TaskName, Unit
from interop.facts.sections.bench import ClassTables, Figures
from interop.tasks.base import Score, Task
from interop.tasks.shared import library, pick, refuse, rows_of, score

Numbers = NDArray[np.float32]
_SHOWN = 4


class Regression(Task):
    """One number a record, or several. An answer is float32 (outputs,).

    Of a record that became several rows it is their mean. The labels, where there are any, name the
    outputs.
    """

    name = TaskName.REGRESSION
    headline = "MAE"
    discrete = False

    def answers(
        self, outputs: Mapping[str, Array], batch: Prepared, prepare: Preparation
    ) -> list[Numbers]:
        rows = len(batch.rows)
        wide = np.size(batch.records[0].truth)
        needs = f"one output ({rows}, {wide}), or ({rows},) for one number,"

        def fits(shape: tuple[int, ...]) -> bool:
            return shape in ((rows, wide), (rows,) if wide == 1 else (rows, wide))

        numbers = pick(outputs, ("logits",), fits, needs).astype(np.float32).reshape(rows, wide)
        if self.labels and len(self.labels) != wide:
            raise refuse(outputs, f"a number for each of {len(self.labels)} labels")
        return [numbers[own].mean(axis=0) for own in rows_of(batch)]

    def right(self, answer: Numbers, truth: float | Array) -> None:
        """No yes or no: a number is near or far."""

    def key(self, answer: Numbers) -> Hashable:
        """The very bytes."""
        return answer.tobytes()

    def scores(self, answers: Sequence[Numbers], truths: Sequence[float | Array]) -> list[Score]:
        """The mean absolute error, the root of the mean squared one, in the outputs' own unit, and
        the share of variance explained, R2 = 1 - sum (y - f)^2 / sum (y - mean y)^2; of several
        outputs the plain mean of each. R2 is left out where all true numbers are the same."""
        numbers, truth = _both(answers, truths)
        far = np.abs(truth - numbers)
        count = len(far)

        def rmse(drawn: NDArray[np.int64]) -> float:
            return float(np.sqrt((far[drawn] ** 2).mean(axis=0)).mean())

        def r2(drawn: NDArray[np.int64]) -> float:
            spread = ((truth[drawn] - truth[drawn].mean(axis=0)) ** 2).sum(axis=0)
            left = (far[drawn] ** 2).sum(axis=0)
            return float((1 - left / spread).mean()) if spread.all() else float("nan")

        scores = [
            score("MAE", Unit.ABS, count, lambda drawn: float(far[drawn].mean()), better=-1),
            score("RMSE", Unit.ABS, count, rmse, better=-1),
        ]
        if truth.std(axis=0).all():
            scores.append(score("R2", Unit.RATIO, count, r2, bounds=(-float("inf"), 1.0)))
        return scores

    def figure(self, answers: Sequence[Numbers], truths: Sequence[float | Array]) -> float:
        numbers, truth = _both(answers, truths)
        return float(np.abs(truth - numbers).mean())

    def words(self, answer: Numbers) -> str:
        return _shown(answer)

    def truth_words(self, truth: float | Array) -> str:
        return _shown(np.atleast_1d(np.asarray(truth, dtype=np.float64)))

    def between(self, ours: Sequence[Numbers], theirs: Sequence[Numbers]) -> list[Score]:
        """The mean and the largest absolute difference."""
        a, b = _both(ours, theirs)
        apart = np.abs(a - b)
        mean = apart.mean(axis=1)
        return [
            score("mean difference", Unit.ABS, len(a), lambda p: float(mean[p].mean()), better=-1),
            Score("largest difference", Unit.ABS, float(apart.max()), better=-1),
        ]

    def tables(
        self, of: str, answers: Sequence[Numbers], truths: Sequence[float | Array]
    ) -> ClassTables | None:
        """Of several outputs a row each: MAE, RMSE and R2, None where all true numbers are the
        same."""
        library("sklearn")
        from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

        numbers, truth = _both(answers, truths)
        if numbers.shape[1] == 1:
            return None
        names = self.labels or tuple(f"output {i}" for i in range(numbers.shape[1]))
        rows: tuple[Figures, ...] = tuple(
            {
                "output": name,
                "mae": float(mean_absolute_error(y, f)),
                "rmse": float(root_mean_squared_error(y, f)),
                "r2": float(r2_score(y, f)) if y.std() else None,
            }
            for name, y, f in zip(names, truth.T, numbers.T, strict=True)
        )
        return ClassTables(of=of, labels=self.labels, outputs=rows)


def _both(
    one: Sequence[float | Array], other: Sequence[float | Array]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as (records, outputs)."""
    a, b = (np.stack([np.ravel(np.asarray(v, np.float64)) for v in side]) for side in (one, other))
    return a, b


def _shown(numbers: Array) -> str:
    shown = ", ".join(f"{v:.4g}" for v in numbers[:_SHOWN])
    return shown if len(numbers) <= _SHOWN else f"{shown}, … ({len(numbers)} numbers)"
